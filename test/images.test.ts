import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { throughEveryFace } from './support/faces.ts';
import { busyboxEntries, busyboxImage, dockerArchive, ociArchive } from './support/image.ts';
import { tar } from './support/tar.ts';

interface InspectedImage {
  Id: string;
  RepoTags: string[];
  Config: { Cmd: string[]; Env: string[]; Labels: Record<string, string>; ExposedPorts: Record<string, object> };
  RootFS: { Layers: string[] };
  Size: number;
}

throughEveryFace('images from disk', (engine, face) => {
  const cli = (...args: string[]) => engine().cli(args);
  const inspect = async (name: string): Promise<InspectedImage> =>
    (JSON.parse((await cli('image', 'inspect', name)).stdout) as InspectedImage[])[0]!;
  const written = (name: string, content: Uint8Array): string => {
    const path = join(engine().root, name);
    writeFileSync(path, content);
    return path;
  };

  test('import makes an image of a root file system, with changes', async () => {
    const { rootfs } = busyboxImage();
    const changes = ['CMD ["echo", "imported"]', 'ENV A=b', 'LABEL kind=test', 'EXPOSE 80', 'ENV PATH=/bin'];
    const flags = changes.flatMap((change) => ['--change', change]);
    const { stdout } = await cli('import', ...flags, '--message', 'from a test', rootfs, 'made:one');
    const image = await inspect('made:one');
    expect(stdout.trim()).toBe(image.Id);
    expect(image.Config).toMatchObject({
      Cmd: ['echo', 'imported'],
      Labels: { kind: 'test' },
      ExposedPorts: { '80/tcp': {} },
    });
    expect(image.Config.Env).toContain('A=b');
    expect((await cli('run', '--rm', 'made:one')).stdout).toBe('imported\n');
    expect((await cli('history', '--format', '{{.Comment}}', 'made:one')).stdout).toContain('from a test');
    await cli('rmi', 'made:one');
  });

  test.each([
    { from: 'gzip', pack: (bytes: Uint8Array) => gzipSync(bytes) },
    { from: 'zstd', pack: (bytes: Uint8Array) => zstdCompressSync(bytes) },
  ])('import reads $from from standard input', async ({ from, pack }) => {
    const input = pack(readFileSync(busyboxImage().rootfs));
    await engine().cli(['import', '-', `packed:${from}`], { input });
    expect((await cli('run', '--rm', `packed:${from}`, '/bin/cat', '/www/index.html')).stdout).toBe(
      'Hello from Tare\n',
    );
    await cli('rmi', `packed:${from}`);
  });

  test.each(['docker', 'oci'] as const)('load reads a %s archive, plain and compressed', async (form) => {
    await cli('rmi', '--force', busybox);
    expect((await cli('load', '--input', busyboxImage()[form])).stdout).toContain(`Loaded image: ${busybox}`);
    const { Id } = await inspect(busybox);
    await cli('rmi', '--force', busybox);
    const input = gzipSync(readFileSync(busyboxImage()[form]));
    await engine().cli(['load'], { input });
    expect((await inspect(busybox)).Id).toBe(Id);
    expect((await cli('run', '--rm', busybox, 'true')).code).toBe(0);
  });

  test('what save writes can be loaded again, by us and by others', async () => {
    const archive = join(engine().root, 'saved.tar');
    const before = await inspect(busybox);
    await cli('tag', busybox, 'second:name');
    await cli('save', '--output', archive, busybox, 'second:name');
    await cli('rmi', '--force', busybox, 'second:name');
    await cli('load', '--input', archive);
    expect((await inspect(busybox)).Id).toBe(before.Id);
    expect((await inspect('second:name')).RootFS).toEqual(before.RootFS);
    const layout = await engine().run(['skopeo', 'inspect', '--raw', `docker-archive:${archive}:${busybox}`]);
    expect(JSON.parse(layout.stdout)).toMatchObject({ schemaVersion: 2 });
    await cli('rmi', 'second:name');
  });

  test('tag, images, rmi', async () => {
    await cli('tag', busybox, 'registry.example:5000/team/app:v1');
    const list = (await cli('images', '--format', '{{.Repository}}:{{.Tag}}')).stdout.split('\n');
    expect(list).toEqual(expect.arrayContaining([busybox, 'registry.example:5000/team/app:v1']));
    const reference = await cli('images', '--quiet', '--filter', 'reference=registry.example:5000/team/*');
    expect(reference.stdout.trim().split('\n')).toHaveLength(1);
    expect((await cli('rmi', 'registry.example:5000/team/app:v1')).stdout).toContain(
      'Untagged: registry.example:5000/team/app:v1',
    );
    await cli('create', '--name', 'user', busybox);
    const { stderr } = await engine().cli(['rmi', busybox], { expect: 1 });
    expect(stderr).toMatch(/user|container/);
    await cli('rm', 'user');
  });

  test('layers: whiteouts, opaque folders, hard links, ownership, long names, sparse sizes, xattrs', async () => {
    const long = `deep/${'n'.repeat(90)}/${'m'.repeat(120)}`;
    const base = tar([
      ...busyboxEntries(),
      { path: 'gone', content: 'x' },
      { path: 'swept', type: 'directory' },
      { path: 'swept/old', content: 'x' },
      { path: 'owned', content: 'x', uid: 4242, gid: 100_000, mode: 0o4750 },
      { path: 'original', content: 'linked' },
      { path: 'hard', type: 'link', target: 'original' },
      { path: 'deep', type: 'directory' },
      { path: long, content: 'far' },
      { path: 'tagged', content: 'x', pax: { 'SCHILY.xattr.user.colour': 'blue' } },
      { path: 'null', type: 'character', device: [1, 3], mode: 0o666 },
      { path: 'pipe', type: 'fifo' },
    ]);
    const top = tar([
      { path: '.wh.gone' },
      { path: 'swept', type: 'directory' },
      { path: 'swept/.wh..wh..opq' },
      { path: 'swept/new', content: 'x' },
    ]);
    const archive = written('layers.tar', ociArchive({ name: 'layered:test', layers: [base, top] }));
    await cli('load', '--input', archive);
    const script = [
      'test ! -e /gone',
      'ls /swept',
      "stat -c '%u:%g %a' /owned",
      '[ /hard -ef /original ] && echo same',
      `cat /${long}`,
      "stat -c '%F %t:%T' /null",
      'test -p /pipe && echo pipe',
    ].join(' && ');
    const { stdout } = await cli('run', '--rm', '--cap-add', 'SYS_ADMIN', 'layered:test', 'sh', '-c', script);
    expect(stdout).toBe('new\n4242:100000 4750\nsame\nfarcharacter special file 1:3\npipe\n');
    await cli('create', '--name', 'look', 'layered:test');
    const exported = await engine().run(['sh', '-c', `${exportCommand()} | tar --xattrs -tvvf - tagged`]);
    expect(exported.stdout).toMatch(/^-rw-r--r--\*? .* tagged/m);
    await cli('rm', 'look');
    await cli('rmi', 'layered:test');

    function exportCommand(): string {
      const words = engine().command(['export', 'look']);
      const env = face === 'docker' ? `DOCKER_HOST=unix://${engine().socket} ` : '';
      return env + words.map((word) => `'${word}'`).join(' ');
    }
  });

  test('two images share the layers they have in common', async () => {
    const base = tar(busyboxEntries());
    const one = dockerArchive({ name: 'share:one', layers: [base, tar([{ path: 'one', content: '1' }])] });
    const two = dockerArchive({ name: 'share:two', layers: [base, tar([{ path: 'two', content: '2' }])] });
    await cli('load', '--input', written('one.tar', one));
    await cli('load', '--input', written('two.tar', two));
    expect((await cli('run', '--rm', 'share:two', 'cat', '/two')).stdout).toBe('2');
    await cli('rmi', 'share:one');
    expect((await cli('run', '--rm', 'share:two', 'cat', '/two')).stdout).toBe('2');
    await cli('rmi', 'share:two');
  });

  test('prune removes images without a name that nothing uses', async () => {
    await engine().cli(['import', busyboxImage().rootfs]);
    await cli('image', 'prune', '--force');
    expect((await cli('images', '--quiet', '--filter', 'dangling=true')).stdout).toBe('');
    expect((await cli('images', '--format', '{{.Repository}}:{{.Tag}}')).stdout.trim()).toBe(busybox);
  });
});
