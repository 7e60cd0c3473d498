import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { node, project } from '../support/built.ts';
import { withEngine } from '../support/faces.ts';
import { busyboxImage } from '../support/image.ts';
import { Namespaces } from '../support/namespaces.ts';
import { pictureOf, withoutHabits } from './differential/picture.ts';

const engine = withEngine({ face: 'in-process' });
const tare = (...args: string[]) => engine().cli(args);
const refused = (...args: string[]) => engine().cli(args, { expect: 1 });
/** What a command prints, without the end of the line. */
const told = async (...args: string[]) => (await tare(...args)).stdout.trimEnd();
let folders = 0;

/** A folder with files. */
function folderWith(files: Record<string, string>): string {
  folders += 1;
  const folder = join(engine().root, `files${folders}`);
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** Ids of all images, those too that only containers use. */
async function imagesOnRecord(): Promise<string> {
  const query = `
    const { DatabaseSync } = require('node:sqlite');
    const rows = new DatabaseSync(process.argv[1]).prepare('SELECT id FROM images ORDER BY id').all();
    console.log(rows.map(({ id }) => id).join());
  `;
  return (await engine().run([node, '-e', query, join(engine().dataRoot, 'tare.db')])).stdout;
}

/** Runs a script in a shell for which `tare` is this engine's. */
async function script(text: string, cwd: string, env: Record<string, string> = {}): Promise<string> {
  const bin = folderWith({ tare: `#!/bin/sh\nexec ${engine().tareCommand([]).join(' ')} "$@"\n` });
  await engine().run(['chmod', '755', join(bin, 'tare')]);
  const path = `${bin}:${process.env['PATH']}`;
  return (await engine().run(['sh', '-euc', text], { cwd, env: { ...env, PATH: path } })).stdout;
}

test('the documented sequence makes an image that runs', async () => {
  const chapter = readFileSync(join(project, 'docs/build.md'), 'utf8').split('\n## Without a Dockerfile\n')[1]!;
  const [, text] = /```sh\n(.*?)```/s.exec(chapter)!;
  const folder = folderWith({ 'app.sh': '#!/bin/sh\necho "$GREETING, $(cat /etc/built) $(cat /etc/host)"\n' });
  expect(await script(text!, folder, { BASE: 'busybox:test' })).toMatch(/hello, built on Linux from the host\n$/);
  expect(await told('from', '--list', '--quiet')).toBe('');
});

/** One sequence for both: `$b` is the program, `$run` its word for running in a container. */
const sequence = `
c=$($b from busybox:test); echo "$c"
$b copy "$c" d /dst
$b copy --chown 1000:1000 --chmod 640 "$c" d/f d/sub /owned/
$b copy --chown app "$c" d/f /named
$b add "$c" t.tar /unpacked
$b copy "$c" t.tar /packed
$b config --workingdir /work "$c"
$b copy "$c" d/f relative
$b $run "$c" -- sh -c 'echo "$(pwd) $(id -u) $HOME" > ran; rm /www/index.html; ln -s ran link'
$b config --user app --env A=1 --env B=2 --label x=y --port 80 --port 90/udp --volume /home --stop-signal 9 --author me \\
  --shell '/bin/sh -c' --entrypoint '["/e","f"]' --cmd "a 'b c'" "$c"
$b $run "$c" -- sh -c 'echo "$A $(id -u) $HOME" > /tmp/user'
$b config --env A- --label x- --label z=1 --port 80- "$c"
m=$($b mount "$c"); echo mounted > "$m/mounted"; $b umount "$c" >&2
$b config --add-history --env Z=1 --cmd foo "$c"
$b commit --format docker "$c" made:test >&2
d=$($b from --name second made:test); echo "$d"
$b config --user root "$d"
$b $run "$d" -- rm -r /dst
$b config --onbuild 'RUN true' "$d"
$b commit --format docker --rm "$d" second:test >&2
$b from made:test
$b rm "$c" made-working-container >&2
`;

describe('beside buildah', () => {
  let space: Namespaces;
  beforeAll(async () => {
    space = await Namespaces.open((root) => `tare-test-buildah-${basename(root)}`);
    await space.run(['mount', '-t', 'tmpfs', 'tmpfs', '/run']);
  });
  afterAll(async () => {
    await space[Symbol.asyncDispose]();
  });

  test('the same sequence makes equal images', async () => {
    const files = folderWith({ 'd/f': 'hi\n', 'd/sub/g': 'x\n' });
    await engine().run(['sh', '-c', 'tar cf t.tar --owner=5 --group=6 d'], { cwd: files });
    const buildah = `buildah --root ${join(space.root, 'data')} --runroot /run/buildah --storage-driver vfs`;
    const options = { cwd: files, timeoutMs: 120_000 };
    await space.run(['sh', '-c', `${buildah} pull docker-archive:${busyboxImage().docker}`], options);
    const run = 'run --runtime crun --isolation oci --network none';
    const theirs = await space.run(['sh', '-euc', sequence], { ...options, env: { b: buildah, run } });
    const ours = await script(sequence, files, { b: 'tare', run: 'run --network none --in' });
    const names = (text: string) => text.split('\n').filter((line) => /^[a-z-]+$/.test(line));
    expect(names(ours)).toEqual(['busybox-working-container', 'second', 'made-working-container']);
    expect(names(ours)).toEqual(names(theirs.stdout));
    for (const name of ['made:test', 'second:test']) {
      const archive = join(space.root, 'image.tar');
      await space.run(['sh', '-c', `rm -f ${archive}; ${buildah} push ${name} docker-archive:${archive}:${name}`]);
      const reference = await pictureOf((await space.run(['cat', archive])).bytes);
      const picture = await pictureOf((await tare('save', name)).bytes);
      expect(withoutHabits(picture)).toEqual(withoutHabits(reference));
      expect(picture.history).toEqual(reference.history);
    }
  }, 120_000);
});

test('a step runs as RUN does: with caches, secrets, images, this machine’s folders, and its exit code', async () => {
  const files = folderWith({ secret: 'hidden', 'shared/x': 'x' });
  const c = await told('from', 'busybox:test');
  const run = (...args: string[]) => tare('run', '--network', 'none', ...args);
  const cache = ['--mount', 'type=cache,target=/cache'];
  await run('--in', c, ...cache, '--', 'sh', '-c', 'echo kept > /cache/kept');
  expect((await run('--in', c, ...cache, 'cat', '/cache/kept')).stdout).toBe('kept\n');
  const secret = ['--secret', `id=s,src=${join(files, 'secret')}`, '--mount', 'type=secret,id=s'];
  expect((await run('--in', c, ...secret, 'cat', '/run/secrets/s')).stdout).toBe('hidden');
  const image = ['--mount', 'type=bind,from=busybox:test,source=/www,target=/mnt'];
  expect((await run('--in', c, ...image, 'cat', '/mnt/index.html')).stdout).toBe('Hello from Tare\n');
  const bound = ['--volume', `${join(files, 'shared')}:/shared`];
  await run('--in', c, ...bound, '--user', '0', 'sh', '-c', 'cp /shared/x /shared/y');
  expect(readFileSync(join(files, 'shared/y'), 'utf8')).toBe('x');
  expect((await run('--in', c, '--env', 'A=1', 'sh', '-c', 'echo $A')).stdout).toBe('1\n');
  // Of this command alone.
  expect((await run('--in', c, 'sh', '-c', 'echo 192.0.2.1 one >> /etc/hosts; grep -c one /etc/hosts')).stdout).toBe(
    '1\n',
  );
  const failing = ['run', '--network', 'none', '--in', c];
  expect((await engine().cli([...failing, 'sh', '-c', 'exit 7'], { expect: 7 })).stderr).toBe('');
  await engine().cli([...failing, 'nothing-of-this-name'], { expect: 127 });
  await engine().cli([...failing, '--publish', '80:80', 'true'], { expect: 125 });
  const piped = await engine().run([
    'sh',
    '-c',
    `echo typed | ${engine().tareCommand(['run', '--network', 'none', '-i', '--in', c, 'cat']).join(' ')}`,
  ]);
  expect(piped.stdout).toBe('typed\n');
  // Of all of these nothing stays but what a command changed.
  await tare('commit', '--rm', c, 'untouched:test');
  expect((await tare('history', '--quiet', 'untouched:test')).stdout.split('\n').length).toBe(3);
  // As a RUN, it leaves the folders that every Linux container has.
  expect(await told('diff', 'busybox:test', 'untouched:test')).toBe('A /dev\nA /proc\nA /sys');
});

test('what was made for a command’s mounts goes, too, when its process is killed', async () => {
  const c = await told('from', 'busybox:test');
  const mount = ['--volume', `${folderWith({ f: 'f' })}:/made/for/it`];
  const killed = engine().spawnCli(['run', '--network', 'none', ...mount, '--in', c, 'sh', '-c', 'echo; sleep 1000']);
  const ended = once(killed, 'exit');
  await once(killed.stdout, 'data');
  killed.kill('SIGKILL');
  await ended;
  await tare('commit', '--rm', c, 'killed:test');
  expect(await told('diff', 'busybox:test', 'killed:test')).toBe('A /dev\nA /proc\nA /sys');
  await tare('rmi', 'killed:test');
});

test('files come from images, other working containers, a context without what is ignored', async () => {
  const files = folderWith({ 'a.txt': 'a', 'b.log': 'b', 'deep/c.log': 'c', ignore: '**/*.log\nignore\n' });
  const [one, other] = [await told('from', 'scratch'), await told('from', '--name', 'other', 'scratch')];
  expect(one).toBe('working-container');
  await tare('copy', '--contextdir', files, '--ignorefile', join(files, 'ignore'), one, '.', '/context');
  await tare('copy', '--from', 'busybox:test', one, '/data', '/data');
  await tare('copy', '--from', one, '--chmod', '600', other, '/context/a.txt', '/copied');
  await tare('add', '--from', one, other, '/data/kept');
  const root = await told('mount', other);
  const listed = await engine().run(['sh', '-c', `cd ${root} && find . -exec stat -c '%n %a %u' {} + | sort`]);
  expect(listed.stdout).toBe('. 755 0\n./copied 600 0\n./kept 644 1000\n');
  expect(await told('mount')).toContain(root);
  await tare('umount', '--all');
  await tare('commit', one, 'one:test');
  const shown = await told('image', 'mount', 'one:test');
  expect((await engine().run(['sh', '-c', `cd ${shown} && find . | sort`])).stdout.split('\n')).toEqual([
    ...['.', './context', './context/a.txt', './context/deep', './data', './data/kept', ''],
  ]);
  await tare('image', 'unmount', 'one:test');
  expect((await refused('copy', one, join(files, 'nothing'), '/x')).stderr).toMatch(/nothing: no such file/);
  expect((await refused('copy', '--chown', 'nobody-here', one, join(files, 'a.txt'), '/x')).stderr).toMatch(
    /nobody-here/,
  );
  await tare('rm', one, other);
});

test('several files come into a folder, and nothing is copied unless all are there', async () => {
  const files = folderWith({ a: 'a', b: 'b', 'deep/c': 'c' });
  await engine().run(['ln', '-s', 'a', 'link'], { cwd: files });
  const c = await told('from', 'busybox:test');
  const copied = (...names: string[]) => names.map((name) => join(files, name));
  await tare('copy', '--quiet', '--chown', '7:8', c, ...copied('a', 'link', 'deep'), '/several');
  await tare('copy', c, join(files, '?'), '/matched');
  expect((await refused('copy', c, ...copied('a', 'b'), '/etc/passwd')).stderr).toMatch(
    /cannot copy 2 files to \/etc\/passwd: it is there, and no folder/,
  );
  expect((await refused('copy', c, ...copied('a', 'nothing'), '/half/')).stderr).toMatch(/nothing: no such file/);
  const address = 'http://127.0.0.1:1/a';
  expect((await refused('copy', c, address, '/half/')).stderr).toMatch(/1\/a is an address.*add does/);
  const misused = ['copy', '--ignorefile', join(files, 'a'), c, join(files, 'a'), '/half/'];
  expect((await engine().cli(misused, { expect: 'any' })).stderr).toMatch(/--ignorefile.*--contextdir/);
  const root = await told('mount', c);
  const script = "test ! -e half && find several matched etc/passwd -type f -exec stat -c '%n %s %u' {} + | sort";
  expect((await engine().run(['sh', '-c', script], { cwd: root })).stdout.split('\n')).toEqual([
    ...['etc/passwd 203 0', 'matched/a 1 0', 'matched/b 1 0'],
    ...['several/a 1 7', 'several/c 1 7', 'several/link 1 7', ''],
  ]);
  await tare('umount', c);
  await tare('rm', c);
});

test('no link leads a copy out of a container, a context or an image', async () => {
  const files = folderWith({ outside: 'of the host', 'context/in': 'in', plain: 'plain' });
  await engine().run(['sh', '-c', `ln -s ${files}/outside context/absolute; ln -s ../outside context/relative`], {
    cwd: files,
  });
  const c = await told('from', 'busybox:test');
  const run = (script: string) => tare('run', '--network', 'none', '--in', c, 'sh', '-c', script);
  await run(`ln -s ${files} /evil; ln -s ../../../../..${files} /up; ln -s ${files}/outside /file`);
  for (const place of ['/evil/planted', '/up/planted2', '/file']) await tare('copy', c, join(files, 'plain'), place);
  expect((await engine().run(['sh', '-c', 'cat outside; ls'], { cwd: files })).stdout).toBe(
    'of the hostcontext\noutside\nplain\n',
  );
  expect((await run(`cat ${files}/planted ${files}/planted2 ${files}/outside`)).stdout).toBe('plainplainplain');
  const beneath = ['--contextdir', join(files, 'context'), c];
  expect((await refused('copy', ...beneath, 'absolute', '/x')).stderr).toMatch(/absolute|outside/);
  expect((await refused('copy', ...beneath, 'relative', '/x')).stderr).toMatch(/relative|outside/);
  expect((await refused('copy', ...beneath, '../outside', '/x')).stderr).toMatch(/outside/);
  await run(`rm -r ${files} /etc/passwd; ln -s ${files}/outside /etc/passwd; echo > /out`);
  const other = await told('from', 'scratch');
  expect((await refused('copy', '--from', c, other, '/evil/outside', '/x')).stderr).toMatch(/outside/);
  expect((await refused('copy', '--chown', 'root-of-host', c, join(files, 'plain'), '/x')).stderr).toMatch(
    /root-of-host/,
  );
  await tare('rm', c, other);
});

test('instructions that an image has for those who begin with it are done', async () => {
  const files = folderWith({ f: 'of the context\n', kept: 'not asked for' });
  const c = await told('from', 'busybox:test');
  const triggers = ['ENV A=one', 'RUN --network=none echo $A > /ran', 'COPY f /copied'];
  await tare('config', ...triggers.flatMap((one) => ['--onbuild', one]), c);
  await tare('commit', '--rm', c, 'triggers:test');
  const before = await told('images', '--all', '--quiet');
  expect((await refused('from', 'triggers:test')).stderr).toMatch(/"\/f": not found.*--contextdir names the folder/);
  const next = await tare('from', '--contextdir', files, 'triggers:test');
  expect(next.stderr).toMatch(/RUN --network=none echo one > \/ran/);
  const name = next.stdout.trim();
  expect(name).toBe('triggers-working-container');
  const shown = await tare('run', '--network', 'none', '--in', name, 'sh', '-c', 'echo $A; cat /ran /copied');
  expect(shown.stdout).toBe('one\none\nof the context\n');
  // What was made for it alone is nobody else's.
  expect(await told('images', '--all', '--quiet')).toBe(before);
  // Neither is what was made for one that did not come to be.
  const recorded = await imagesOnRecord();
  const again = (container: string) => ['from', '--contextdir', files, '--name', container, 'triggers:test'];
  expect((await refused(...again(name))).stderr).toMatch(/another working container's/);
  expect(await imagesOnRecord()).toBe(recorded);
  const killed = engine().spawnCli(again('killed'));
  killed.stderr.on('data', (said: Buffer) => /export/.test(said.toString()) && killed.kill('SIGKILL'));
  await once(killed, 'exit');
  // It may have been quicker than we.
  if ((await told('from', '--list', '--quiet')) !== name) await tare('rm', 'killed');
  expect(await told('images', '--all', '--quiet')).toBe(before);
  expect(await imagesOnRecord()).toBe(recorded);
  const id = await told('commit', '--rm', name);
  expect(await told('image', 'inspect', '--format', '{{json .Config.OnBuild}} {{.Config.Env}}', id)).toMatch(
    /^null \[.*A=one\]$/,
  );
  await tare('rmi', id, 'triggers:test');
});

test('what it was made of stays as long as it does', async () => {
  await tare('tag', 'busybox:test', 'base:test');
  const c = await told('from', 'base:test');
  expect((await refused('rmi', 'base:test', 'busybox:test')).stderr).toMatch(
    /container [0-9a-f]{12} is using its referenced image/,
  );
  await tare('rmi', '--force', 'busybox:test');
  await tare('image', 'prune', '--all', '--force');
  expect((await tare('run', '--network', 'none', '--in', c, 'cat', '/www/index.html')).stdout).toBe(
    'Hello from Tare\n',
  );
  await tare('commit', '--rm', c, 'busybox:test');
  expect(await told('from', '--list', '--quiet')).toBe('');
  expect((await tare('run', '--rm', '--network', 'none', 'busybox:test', 'cat', '/data/kept')).stdout).toBe(
    'from the image\n',
  );
});

test('two that are made alike with one time are one image; who works in the files keeps them from being committed', async () => {
  const files = folderWith({ f: 'f' });
  const ids: string[] = [];
  for (const name of ['one', 'two']) {
    await tare('from', '--name', name, 'busybox:test');
    await tare('run', '--network', 'none', '--in', name, 'sh', '-c', 'date > /dev/null; echo made > /made; mkdir /d');
    await tare('copy', name, join(files, 'f'), '/d/');
    ids.push(await told('commit', '--timestamp', '1700000000', '--iidfile', join(files, 'iid'), name, `${name}:test`));
    expect(readFileSync(join(files, 'iid'), 'utf8')).toBe(ids.at(-1));
  }
  expect(ids[0]).toBe(ids[1]);
  expect(await told('image', 'inspect', '--format', '{{.Created}}', ids[0]!)).toBe('2023-11-14T22:13:20Z');
  const root = await told('mount', 'one');
  await engine().run(['sh', '-c', `printf new > ${root}/new`]);
  const inside = engine().spawn(['sh', '-c', `cd ${root} && echo there && exec sleep 1000`]);
  await new Promise((resolve) => inside.stdout.once('data', resolve));
  expect((await refused('commit', 'one', 'one:test')).stderr).toMatch(/the files of one are in use at/);
  inside.kill();
  await new Promise((resolve) => inside.once('exit', resolve));
  await tare('commit', '--squash', 'one', 'one:test');
  expect((await engine().run(['cat', join(await told('mount', 'one'), 'new')])).stdout).toBe('new');
  expect((await tare('run', '--rm', '--network', 'none', 'one:test', 'cat', '/new', '/data/kept')).stdout).toBe(
    'newfrom the image\n',
  );
  expect(await told('image', 'inspect', '--format', '{{len .RootFS.Layers}}', 'one:test')).toBe('1');
  await tare('rm', 'one', 'two');
});

test('the library has the same, with types', async () => {
  const program = `
    import { readFileSync, writeFileSync } from 'node:fs';
    import { Engine, loadConfig } from '${project}/src/engine/index.ts';
    const [dataRoot, execRoot] = process.argv.slice(2);
    await using engine = await Engine.open(loadConfig({ dataRoot, execRoot }, ['/bin/true']));
    const container = await engine.builds.from('busybox:test');
    await container.config({ env: { A: '1', PATH: null }, cmd: ['cat', '/made'], labels: { x: 'y' } });
    const code = await container.run(['sh', '-c', 'echo $A > /made; exit 3'], { network: 'none' });
    let path;
    {
      await using mounted = await container.mount();
      path = mounted.path;
      writeFileSync(path + '/made', readFileSync(path + '/made', 'utf8') + 'mounted');
    }
    const { mountPath } = await container.inspect();
    const { imageID } = await container.commit('typed:test', { remove: true });
    const left = await engine.builds.workingContainers();
    const missing = await engine.builds.workingContainer(container.name).catch(({ kind }) => kind);
    console.log(JSON.stringify({ code, isShown: mountPath !== undefined, imageID, left, missing }));
  `;
  const folder = folderWith({ 'program.ts': program });
  const { dataRoot, execRoot } = engine();
  const { stdout } = await engine().run([node, join(folder, 'program.ts'), dataRoot, execRoot]);
  const told = JSON.parse(stdout) as { imageID: string };
  expect(told).toMatchObject({ code: 3, isShown: false, left: [], missing: 'NotFound' });
  expect((await tare('run', '--rm', '--network', 'none', told.imageID)).stdout).toBe('1\nmounted');
});

test('an image is committed to an archive or a layout, and is not kept', async () => {
  const c = await told('from', '--name', 'elsewhere', 'scratch');
  await tare('copy', c, join(folderWith({ f: 'f' }), 'f'), '/f');
  await tare('config', '--env', 'A=1', c);
  const [layout, archive] = [join(engine().root, 'layout'), join(engine().root, 'made.tar')];
  const before = await told('images', '--all', '--quiet');
  const id = await told('commit', '--quiet', c, `oci:${layout}:made:here`);
  const [named] = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests;
  expect(named.annotations['org.opencontainers.image.ref.name']).toBe('here');
  expect(JSON.parse(readFileSync(join(layout, 'blobs', named.digest.replace(':', '/')), 'utf8')).config.digest).toBe(
    id,
  );
  await tare('commit', c, `docker-archive:${archive}:made:there`);
  expect(await told('images', '--all', '--quiet')).toBe(before);
  expect(await told('inspect', '--type', 'working', '--format', '{{.name}} {{.config.Env}}', c)).toBe(
    'elsewhere [A=1]',
  );
  await tare('rm', c);
  await tare('load', '--quiet', '--input', archive);
  expect(await told('image', 'inspect', '--format', '{{.Config.Env}}', 'made:there')).toBe('[A=1]');
  const built = join(engine().root, 'built');
  const context = folderWith({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  await tare('build', '--quiet', '--output', `type=oci,tar=false,dest=${built}`, context);
  expect(JSON.parse(readFileSync(join(built, 'index.json'), 'utf8')).manifests).toHaveLength(1);
  await tare('rmi', 'made:there');
});

test('lists for scripts, and refusals that name what is wrong', async () => {
  const c = await told('from', '--name', 'listed', 'scratch');
  const [view] = JSON.parse(await told('from', '--json')) as { name: string; config: object }[];
  expect(view).toMatchObject({ name: 'listed', platform: { os: 'linux' } });
  expect(await told('from', '--list', '--format', '{{.Name}} {{.Image}}')).toBe('listed scratch');
  expect((await refused('from', '--name', 'listed', 'scratch')).stderr).toMatch(/listed.*another working container/);
  expect((await refused('from', '--pull', 'never', 'nothing:here')).stderr).toMatch(/No such image: nothing:here/);
  const archived = await engine().cli(['from', 'docker-archive:x.tar'], { expect: 'any' });
  expect(archived.stderr).toMatch(/none of this engine's images: tare image copy/);
  expect((await refused('config', '--port', 'x', c)).stderr).toMatch(/x/);
  expect((await refused('config', '--user', 'x', 'no-such')).stderr).toMatch(/no working container "no-such"/);
  expect((await refused('commit', 'no-such', 'x:y')).stderr).toMatch(/No such container: no-such/);
  expect((await refused('umount', c)).stderr).toMatch(/listed is not mounted/);
  const there = await engine().cli(['-H', 'tcp://127.0.0.1:1', 'from', 'scratch'], { expect: 'any' });
  expect(there.stderr).toMatch(/tcp:\/\/127.0.0.1:1 is named/);
  await tare('rm', c);
});
