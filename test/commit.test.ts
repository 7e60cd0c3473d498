import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';

interface InspectedImage {
  Id: string;
  Author: string;
  Comment: string;
  Parent: string;
  Config: Record<string, unknown>;
  RootFS: { Layers: string[] };
}

throughEveryFace('commit', (engine, face) => {
  const cli = (...args: string[]) => engine().cli(args);
  const inspect = async (name: string): Promise<InspectedImage> =>
    (JSON.parse((await cli('image', 'inspect', name)).stdout) as InspectedImage[])[0]!;

  test('an image has what a container added, changed and deleted, and what was said of it', async () => {
    const change =
      'echo new > /added; echo more >> /etc/passwd; rm /www/index.html; mkdir -p /deep/er; ' +
      'ln -s /added /link; ln /added /second; chown 1000:1000 /deep; chmod 4711 /deep/er; rm -r /data; mkdir /data; ' +
      'mknod /pipe p; chmod 700 /';
    await cli('run', '--name', 'changed', busybox, 'sh', '-c', change);
    const { stdout } = await cli(
      ...['commit', '-a', 'Somebody <s@example>', '-m', 'said why', '-c', 'ENV ADDED=yes', '-c', 'LABEL kind=test'],
      ...['--change', 'CMD ["cat", "/added"]', 'changed', 'made/by:commit'],
    );
    const image = await inspect('made/by:commit');
    expect(stdout.trim()).toBe(image.Id);
    const base = await inspect(busybox);
    expect(image).toMatchObject({ Author: 'Somebody <s@example>', Comment: 'said why', Parent: base.Id });
    expect(image.Config).toMatchObject({
      Cmd: ['cat', '/added'],
      Env: ['PATH=/bin', 'ADDED=yes'],
      Labels: { kind: 'test' },
    });
    expect(image.RootFS.Layers).toHaveLength(base.RootFS.Layers.length + 1);
    expect(image.RootFS.Layers.slice(0, -1)).toEqual(base.RootFS.Layers);
    expect((await cli('run', '--rm', 'made/by:commit')).stdout).toBe('new\n');
    const look =
      'tail -n 1 /etc/passwd; ls /www /data; readlink /link; stat -c %h /added; stat -c "%u %g %a" /deep /deep/er; ' +
      'test -p /pipe && stat -c %a /';
    expect((await cli('run', '--rm', 'made/by:commit', 'sh', '-c', look)).stdout).toBe(
      'more\n/data:\n\n/www:\n/added\n2\n1000 1000 755\n0 0 4711\n700\n',
    );
    const history = (await cli('history', '--no-trunc', '--format', '{{.CreatedBy}}|{{.Comment}}', 'made/by:commit'))
      .stdout;
    expect(history.split('\n')[0]).toBe(`sh -c ${change}|said why`);
    await cli('rm', 'changed');
    await cli('rmi', 'made/by:commit');
  });

  test('what a commit made is saved, loaded and committed again', async () => {
    await cli('run', '--name', 'first', busybox, 'sh', '-c', 'echo one > /one');
    await cli('commit', 'first', 'one:1');
    await cli('run', '--name', 'second', 'one:1', 'sh', '-c', 'echo two > /two');
    const id = (await cli('commit', 'second', 'two:1')).stdout.trim();
    await cli('rm', 'first', 'second');
    const archive = join(engine().root, 'committed.tar');
    await cli('save', '--output', archive, 'two:1');
    await cli('rmi', 'two:1', 'one:1');
    await cli('load', '--input', archive);
    expect((await inspect('two:1')).Id).toBe(id);
    expect((await cli('run', '--rm', 'two:1', 'cat', '/one', '/two')).stdout).toBe('one\ntwo\n');
    const copied = await engine().run(['skopeo', 'inspect', '--raw', `docker-archive:${archive}:two:1`]);
    expect((JSON.parse(copied.stdout) as { layers: unknown[] }).layers).toHaveLength(3);
    await cli('rmi', 'two:1');
  });

  test('nothing changed: no layer is made, and the image has no name', async () => {
    await cli('create', '--name', 'same', busybox, 'true');
    const id = (await cli('commit', 'same')).stdout.trim();
    const [image, base] = [await inspect(id), await inspect(busybox)];
    expect(image.RootFS.Layers).toEqual(base.RootFS.Layers);
    expect(image.Config['Cmd']).toEqual(['true']);
    expect((await cli('images', '--filter', 'dangling=true', '--quiet', '--no-trunc')).stdout.trim()).toBe(id);
    await cli('rm', 'same');
    await cli('rmi', id);
  });

  test('a running container stands still while it is read, and runs on', async () => {
    await cli('run', '-d', '--name', 'busy', busybox, 'sh', '-c', 'dd if=/dev/zero of=/big bs=1M count=40; sleep 1000');
    await eventually('the file is written', async () =>
      (await cli('exec', 'busy', 'stat', '-c', '%s', '/big')).stdout.startsWith('41943040'),
    );
    await cli('commit', 'busy', 'busy:1');
    expect((await cli('inspect', '-f', '{{.State.Status}}', 'busy')).stdout.trim()).toBe('running');
    expect((await cli('exec', 'busy', 'echo', 'alive')).stdout).toBe('alive\n');
    const events = async () =>
      (
        await cli(
          ...['events', '--since', '1', '--until', String(Math.ceil(Date.now() / 1000)), '--filter', 'container=busy'],
          ...['--format', '{{.Action}}'],
        )
      ).stdout
        .split('\n')
        .filter((action) => ['pause', 'unpause', 'commit'].includes(action));
    expect(await events()).toEqual(['pause', 'unpause', 'commit']);
    await cli('commit', '--pause=false', 'busy', 'busy:2');
    expect(await events()).toEqual(['pause', 'unpause', 'commit', 'commit']);
    // What its user paused stays paused.
    await cli('pause', 'busy');
    await cli('commit', 'busy', 'busy:3');
    expect((await cli('inspect', '-f', '{{.State.Status}}', 'busy')).stdout.trim()).toBe('paused');
    await cli('unpause', 'busy');
    await cli('rm', '-f', 'busy');
    await cli('rmi', 'busy:1', 'busy:2', 'busy:3');
  });

  test('volumes and binds are no part of it', async () => {
    writeFileSync(join(engine().root, 'bound'), 'from the host');
    await cli(
      ...['run', '--name', 'mounted', '-v', 'kept:/volume', '-v', `${join(engine().root, 'bound')}:/etc/bound`],
      ...['--tmpfs', '/memory', '--mount', 'type=volume,dst=/anonymous', busybox],
      ...['sh', '-c', 'echo x > /volume/x; echo y > /memory/y; echo z > /anonymous/z; echo own > /own'],
    );
    await cli('commit', 'mounted', 'mounted:1');
    const look = 'ls /volume /memory /anonymous; wc -c < /etc/bound; cat /own';
    expect((await cli('run', '--rm', 'mounted:1', 'sh', '-c', look)).stdout).toBe(
      '/anonymous:\n\n/memory:\n\n/volume:\n0\nown\n',
    );
    await cli('rm', '-v', 'mounted');
    await cli('volume', 'rm', 'kept');
    await cli('rmi', 'mounted:1');
  });

  test.each([
    { what: 'a container that is not there', args: ['absent', 'x:1'], want: /No such container: absent/ },
    { what: 'a name in capitals', args: ['refused', 'Name'], want: /repository name.*must be lowercase/ },
    { what: 'an unknown instruction', args: ['-c', 'RUN true', 'refused', 'x:1'], want: /RUN is not a valid change/ },
  ])('$what is refused, and nothing stays', async ({ args, want }) => {
    await cli('create', '--name', 'refused', busybox, 'true');
    const before = (await cli('images', '--all', '--quiet')).stdout;
    const { stderr } = await engine().cli(['commit', ...args], { expect: face === 'docker' ? 'any' : 1 });
    expect(stderr).toMatch(want);
    expect((await cli('images', '--all', '--quiet')).stdout).toBe(before);
    await cli('rm', 'refused');
  });

  test('a file whose name would mean a deletion is refused by its name', async () => {
    await cli('run', '--name', 'hostile', busybox, 'sh', '-c', 'mkdir /a; touch /a/.wh.passwd');
    const { stderr } = await engine().cli(['commit', 'hostile', 'x:1'], { expect: 1 });
    expect(stderr).toContain('/a/.wh.passwd cannot go into a layer');
    await cli('rm', 'hostile');
  });
});

test('with the vfs driver, too', async () => {
  await using engine = await TestEngine.start({ face: 'docker', serve: ['--storage-driver', 'vfs'] });
  await engine.cli([
    'run',
    '--name',
    'box',
    busybox,
    'sh',
    '-c',
    'echo new > /new; rm /www/index.html; chmod 700 /tmp',
  ]);
  await engine.cli(['commit', 'box', 'box:1']);
  const vfs = ['--storage-driver', 'vfs'];
  expect((await engine.tare([...vfs, 'diff', busybox, 'box:1'])).stdout).toBe(
    'A /new\nC /tmp\nC /www\nD /www/index.html\n',
  );
  expect((await engine.tare([...vfs, 'diff', 'box:1', 'box'])).stdout).toBe('');
  const path = (await engine.tare([...vfs, 'image', 'mount', 'box:1'])).stdout.trim();
  expect((await engine.run(['cat', join(path, 'new')])).stdout).toBe('new\n');
  expect((await engine.run(['touch', join(path, 'x')], { expect: 'any' })).stderr).toMatch(/Read-only/);
  await engine.tare([...vfs, 'image', 'unmount', 'box:1']);
  expect((await engine.cli(['run', '--rm', 'box:1', 'cat', '/new'])).stdout).toBe('new\n');
});
