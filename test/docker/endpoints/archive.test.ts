import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type DockerEndpoint, shows } from '../../support/compatibility.ts';
import { busybox } from '../../support/engine.ts';
import { withEngine } from '../../support/faces.ts';
import { type TarEntry, tar } from '../../support/tar.ts';
import { Caller } from './caller.ts';

const endpoints: readonly DockerEndpoint[] = [
  'HEAD /containers/{id}/archive',
  'GET /containers/{id}/archive',
  'PUT /containers/{id}/archive',
];

interface PathStat {
  name: string;
  size: number;
  mode: number;
  mtime: string;
  linkTarget: string;
}

describe('files of containers, as the API describes them', shows({ endpoints }), () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);
  const create = async (name: string, config: object = {}): Promise<string> => {
    const body = { Image: busybox, Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'none' }, ...config };
    return (await api.call<{ Id: string }>('POST /containers/create', { query: { name }, body })).body.Id;
  };
  const start = (of: string) => api.call('POST /containers/{id}/start', { of });
  const remove = (of: string) => api.call('DELETE /containers/{id}', { of, query: { force: true, v: true } });
  const stat = async (of: string, path: string): Promise<PathStat> => {
    const { headers, bytes } = await api.call('HEAD /containers/{id}/archive', { of, query: { path } });
    expect(bytes).toHaveLength(0);
    return JSON.parse(Buffer.from(String(headers['x-docker-container-path-stat']), 'base64').toString()) as PathStat;
  };
  const get = async (of: string, path: string): Promise<string[]> => {
    const { bytes, headers } = await api.call('GET /containers/{id}/archive', { of, query: { path } });
    expect(headers['content-type']).toBe('application/x-tar');
    expect(headers).toHaveProperty('x-docker-container-path-stat');
    const listed = await engine().run(['tar', '-t'], { input: bytes });
    return listed.stdout.trim().split('\n');
  };
  const put = (of: string, path: string, entries: TarEntry[], expected = 200, more: Record<string, boolean> = {}) =>
    api.call('PUT /containers/{id}/archive', { of, query: { path, ...more }, body: tar(entries), expect: expected });
  const inside = async (of: string, ...command: string[]) => (await engine().docker(['exec', of, ...command])).stdout;

  test('what a path is', async () => {
    await create('plain');
    expect(await stat('plain', '/etc/passwd')).toMatchObject({ name: 'passwd', mode: 0o644, linkTarget: '' });
    expect(await stat('plain', '/data')).toMatchObject({ name: 'data', mode: 2 ** 31 + 0o750 });
    expect(await stat('plain', '/tmp')).toMatchObject({ mode: 2 ** 31 + 2 ** 20 + 0o777 });
    expect(await stat('plain', 'bin/sh')).toMatchObject({
      name: 'sh',
      mode: 2 ** 27 + 0o777,
      linkTarget: '/bin/busybox',
    });
    for (const endpoint of endpoints) {
      const body = endpoint.startsWith('PUT') ? { body: tar([]) } : {};
      const missing = (of: string, path: string, status: number) =>
        api.call(endpoint, { of, query: { path }, expect: status, ...body });
      await missing('plain', '', 400);
      await missing('plain', '/no/such', 404);
      const { message } = await missing('nope', '/', 404);
      if (!endpoint.startsWith('HEAD')) expect(message).toBe('No such container: nope');
    }
    const { message } = await api.call('GET /containers/{id}/archive', {
      of: 'plain',
      query: { path: '/no' },
      expect: 404,
    });
    expect(message).toMatch(/^Could not find the file \/no in container [0-9a-f]{64}$/);
    await remove('plain');
  });

  test.each([false, true])('in and out, running: %s', async (isRunning) => {
    await create('copied', { User: 'app' });
    if (isRunning) await start('copied');
    const of = 'copied';
    await put(of, '/', [
      { path: 'made/', type: 'directory', mode: 0o711, uid: 5, gid: 6 },
      { path: 'made/file', content: 'text', mode: 0o4755, uid: 5, gid: 6, mtimeSeconds: 1_600_000_000 },
      { path: 'made/link', type: 'symlink', target: '/etc/passwd' },
      { path: 'made/same', type: 'link', target: 'made/file' },
      { path: 'made/pipe', type: 'fifo', mode: 0o600 },
      { path: 'etc/added', content: 'x' },
    ]);
    expect(await stat(of, '/made/file')).toMatchObject({
      size: 4,
      mode: 2 ** 23 + 0o755,
      mtime: '2020-09-13T12:26:40Z',
    });
    expect(await stat(of, '/made')).toMatchObject({ mode: 2 ** 31 + 0o711 });
    expect(await get(of, '/made')).toEqual(['made/', 'made/file', 'made/link', 'made/pipe', 'made/same']);
    expect(await get(of, '/made/.')).toEqual(['./', './file', './link', './pipe', './same']);
    expect(await get(of, '/made/link')).toEqual(['link']);
    expect(await get(of, '/etc/passwd')).toEqual(['passwd']);
    const owners = async (path: string) => {
      const { bytes } = await api.call('GET /containers/{id}/archive', { of, query: { path } });
      return (await engine().run(['tar', '-tv', '--numeric-owner'], { input: bytes })).stdout;
    };
    expect(await owners('/made/file')).toMatch(/^-rwsr-xr-x 5\/6 +4 2020-09-13 12:26 file\n$/);
    await put(of, '/made', [{ path: 'mine', content: '', uid: 5, gid: 6 }], 200, { copyUIDGID: true });
    expect(await owners('/made/mine')).toMatch(/ 1000\/1000 /);
    await remove(of);
  });

  test('a large archive, however it is sent', async () => {
    const of = await create('large');
    const content = Buffer.alloc(3_000_001, 'what is in it ');
    const archive = tar([{ path: 'big', content }]);
    const path = `/containers/${of}/archive?path=/`;
    const ask = (headers: Record<string, string>) =>
      request({ socketPath: engine().socket, method: 'PUT', path, headers });
    const answerOf = async (asking: ClientRequest) => {
      const [response] = (await once(asking, 'response')) as [IncomingMessage];
      return { status: response.statusCode, body: await text(response) };
    };
    const bodies = {
      'in chunks': { headers: {}, bytes: archive },
      'with its length': { headers: { 'content-length': String(archive.length) }, bytes: archive },
      'when it is asked for': { headers: { expect: '100-continue' }, bytes: archive },
      compressed: { headers: {}, bytes: gzipSync(archive, { level: 0 }) },
    };
    for (const [how, { headers, bytes }] of Object.entries(bodies)) {
      const asking = ask(headers);
      if ('expect' in headers) {
        asking.flushHeaders();
        await once(asking, 'continue');
      }
      const answer = answerOf(asking);
      for (let at = 0; at < bytes.length; at += 100_001) asking.write(bytes.subarray(at, at + 100_001));
      asking.end();
      expect(await answer, how).toEqual({ status: 200, body: '' });
      const sent = await api.call('GET /containers/{id}/archive', { of, query: { path: '/big' } });
      expect(sent.bytes.subarray(512, 512 + content.length).equals(content), how).toBe(true);
      await put(of, '/', [{ path: 'big', content: 'small' }]);
    }
    const broken = tar([{ path: 'next', content }, { path: '../out' }]);
    const refused = ask({ 'content-length': String(broken.length) }).end(broken);
    expect(await answerOf(refused)).toMatchObject({
      status: 400,
      body: expect.stringContaining('leads out of the root'),
    });
    // Whoever leaves in the middle takes nothing with him.
    const leaving = ask({});
    leaving.on('error', () => {}); // that nobody answered
    const left = new Promise((resolve) => leaving.once('close', resolve));
    leaving.write(archive.subarray(0, 2_000_000), () => leaving.destroy());
    await left;
    expect(await stat(of, '/big')).toMatchObject({ name: 'big' });
    await remove(of);
  });

  test('what is in the way, and what no archive may do', async () => {
    const of = await create('refused');
    const kept = { noOverwriteDirNonDir: true };
    expect((await put(of, '/', [{ path: 'etc', content: 'x' }], 400, kept)).message).toBe(
      'cannot overwrite directory "/etc" with non-directory',
    );
    expect((await put(of, '/etc', [{ path: 'passwd/', type: 'directory' }], 400, kept)).message).toBe(
      'cannot overwrite non-directory "/etc/passwd" with directory',
    );
    expect((await put(of, '/etc/passwd', [], 400)).message).toBe('extraction point is not a directory');
    expect((await put(of, '/etc', [{ path: '../../../out', content: 'x' }], 400)).message).toMatch(/out of the root/);
    const broken = { query: { path: '/' }, body: Buffer.alloc(5000, 'no archive'), expect: 400, of };
    expect((await api.call('PUT /containers/{id}/archive', broken)).message).toMatch(/tar|archive/);
    // Links that an archive plants lead back into the container.
    await put(of, '/', [
      { path: 'way', type: 'symlink', target: '/../../../../../etc' },
      { path: 'way/planted', content: 'x' },
    ]);
    expect(await stat(of, '/etc/planted')).toMatchObject({ size: 1 });
    await put(of, '/', [{ path: 'etc', content: 'now a file' }]);
    expect(await stat(of, '/etc')).toMatchObject({ size: 10 });
    await remove(of);
  });

  test.each([false, true])('volumes, binds and tmpfs, running: %s', async (isRunning) => {
    const folder = join(engine().root, `bound-${isRunning}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'there'), 'on the host');
    const of = await create('mounted', {
      HostConfig: {
        NetworkMode: 'none',
        ReadonlyRootfs: true,
        Binds: [`${folder}:/bound`, `${folder}:/sealed:ro`, 'kept:/volume'],
        Mounts: [{ Type: 'tmpfs', Target: '/scratch' }],
      },
    });
    if (isRunning) await start(of);
    expect(await get(of, '/bound')).toEqual(['bound/', 'bound/there']);
    await put(of, '/bound', [{ path: 'new', content: 'from the client', uid: 7, gid: 8 }]);
    expect(readFileSync(join(folder, 'new'), 'utf8')).toBe('from the client');
    await put(of, '/volume', [{ path: 'new', content: 'kept' }]);
    expect(await stat(of, '/volume/new')).toMatchObject({ size: 4 });
    expect((await put(of, '/sealed', [{ path: 'x', content: 'x' }], 403)).message).toBe(
      'mounted volume is marked read-only: /sealed',
    );
    expect((await put(of, '/etc', [{ path: 'x', content: 'x' }], 403)).message).toBe(
      'container rootfs is marked read-only',
    );
    if (isRunning) {
      await put(of, '/scratch', [{ path: 'new', content: 'fleeting' }]);
      expect(await inside(of, 'cat', '/scratch/new')).toBe('fleeting');
      expect(await get(of, '/scratch')).toEqual(['scratch/', 'scratch/new']);
      // Past the mount point, through a link in a volume.
      await inside(of, 'ln', '-s', '/etc', '/volume/way');
      expect((await put(of, '/volume', [{ path: 'way/x', content: 'x' }], 403)).message).toMatch(/read-only/);
    }
    await remove(of);
  });

  test('docker’s client: links followed and kept, owners kept or not', async () => {
    const of = await create('linked', { User: '1000' });
    await start(of);
    const folder = join(engine().root, 'from');
    mkdirSync(folder);
    const cp = (...args: string[]) => engine().docker(['cp', ...args]);
    await engine().run([
      'sh',
      '-c',
      `echo text > ${folder}/file; ln -s file ${folder}/link; chown -h 55:66 ${folder}/*`,
    ]);
    await cp(`${folder}/link`, 'linked:/tmp/kept');
    await cp('--follow-link', `${folder}/link`, 'linked:/tmp/followed');
    await cp('--archive', `${folder}/file`, 'linked:/tmp/owned');
    await cp(`${folder}/file`, 'linked:/tmp/given');
    const shown = await inside(
      of,
      'stat',
      '-c',
      '%n %F %u:%g',
      '/tmp/kept',
      '/tmp/followed',
      '/tmp/owned',
      '/tmp/given',
    );
    expect(shown.trim().split('\n')).toEqual([
      '/tmp/kept symbolic link 55:66',
      '/tmp/followed regular file 55:66',
      '/tmp/owned regular file 1000:1000',
      '/tmp/given regular file 55:66',
    ]);
    await cp('linked:/tmp/kept', `${folder}/back`);
    expect((await engine().run(['readlink', `${folder}/back`])).stdout).toBe('file\n');
    await inside(of, 'ln', '-s', 'owned', '/tmp/way');
    await cp('--follow-link', 'linked:/tmp/way', `${folder}/through`);
    expect(readFileSync(join(folder, 'through'), 'utf8')).toBe('text\n');
    await remove(of);
  });

  test('nothing of these endpoints is left out', () => {
    expect(api.leftOut(endpoints)).toEqual([]);
  });
});
