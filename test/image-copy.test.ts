import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { startFaultProxy } from './support/fault-proxy.ts';
import { busyboxImage, sha256 } from './support/image.ts';
import { startRegistry, type TestRegistry } from './support/registry.ts';
import { tunnel } from './support/registry-tunnel.ts';
import { tar } from './support/tar.ts';

let engine: TestEngine;
let registry: TestRegistry;
const stack = new AsyncDisposableStack();
const layer = tar([{ path: 'etc/greeting', content: 'hello\n' }]);

beforeAll(async () => {
  registry = stack.use(await startRegistry());
  engine = stack.use(await TestEngine.start());
  stack.use(await tunnel(engine, registry.port));
});
afterAll(() => stack.disposeAsync());

const tare = async (...args: string[]) => (await engine.tare(args)).stdout;
const refused = async (...args: string[]) => (await engine.tare(args, { expect: 1 })).stderr;
const skopeo = async (...args: string[]) => (await engine.run(['skopeo', ...args])).stdout;
const at = (path: string) => `docker://${registry.address}/${path}`;
const folder = (name: string) => join(engine.root, name);

test('an image is copied into the engine, runs, and is copied out to where docker can load it', async () => {
  await tare('image', 'copy', '--quiet', `oci-archive:${busyboxImage().oci}`, 'local:copied:1');
  expect((await engine.cli(['run', '--rm', '--network', 'none', 'copied:1', 'cat', '/www/index.html'])).stdout).toBe(
    'Hello from Tare\n',
  );
  const archive = folder('out.tar');
  await tare('image', 'copy', '--additional-tag', 'more:2', 'local:copied:1', `docker-archive:${archive}:out:1`);
  const [entry] = JSON.parse((await engine.run(['tar', '-xOf', archive, 'manifest.json'])).stdout) as [
    { RepoTags: string[] },
  ];
  expect(entry.RepoTags).toEqual(['out:1', 'more:2']);
  const loaded = (await engine.cli(['load', '--input', archive])).stdout;
  expect(loaded).toContain('Loaded image: out:1');
  expect(await refused('image', 'copy', 'local:copied:1', `docker-archive:${archive}:out:1`)).toContain('file exists');
  const id = async (name: string) => (await engine.cli(['image', 'inspect', '--format', '{{.Id}}', name])).stdout;
  expect(await id('more:2')).toBe(await id('copied:1'));
});

test('a registry takes an image of this engine, and inspect shows what skopeo shows', async () => {
  const digestFile = folder('digest');
  await tare('image', 'copy', '--digestfile', digestFile, `local:${busybox}`, at('a/busybox:v1'));
  const raw = await skopeo('inspect', '--tls-verify=false', '--raw', at('a/busybox:v1'));
  expect(readFileSync(digestFile, 'utf8')).toBe(sha256(Buffer.from(raw)));
  expect(await tare('image', 'inspect', '--raw', at('a/busybox:v1'))).toBe(raw);
  const config = await skopeo('inspect', '--tls-verify=false', '--config', '--raw', at('a/busybox:v1'));
  expect(await tare('image', 'inspect', '--raw', '--config', at('a/busybox:v1'))).toBe(config);
  expect(JSON.parse(await tare('image', 'inspect', '--config', at('a/busybox:v1')))).toEqual(JSON.parse(config));
  const ours = JSON.parse(await tare('image', 'inspect', at('a/busybox:v1'))) as Record<string, unknown>;
  const theirs = JSON.parse(await skopeo('inspect', '--tls-verify=false', at('a/busybox:v1'))) as object;
  expect(ours).toMatchObject(theirs);
  expect(ours['LayersData']).toHaveLength(1);
  const format = '{{.Name}} {{.Digest}}';
  expect(await tare('image', 'inspect', '--format', format, at('a/busybox:v1'))).toBe(
    await skopeo('inspect', '--tls-verify=false', '--format', format, at('a/busybox:v1')),
  );
  // A plain name is docker's inspect, as ever.
  const [local] = JSON.parse(await tare('image', 'inspect', busybox)) as [{ RepoTags: string[] }];
  expect(local.RepoTags).toContain(busybox);
});

test('manifest inspect prints what docker prints', async () => {
  const { manifest } = await registry.seed('m/one', 'v1', { layers: [layer], isDocker: true });
  const platform = { architecture: 'amd64', os: 'linux' };
  await registry.putManifest(
    'm/one',
    {
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json',
      manifests: [{ mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.size, platform }],
    },
    'list',
  );
  for (const tag of ['v1', 'list']) {
    const name = `${registry.address}/m/one:${tag}`;
    const docker = (await engine.docker(['manifest', 'inspect', '--insecure', name])).stdout;
    expect(JSON.parse(await tare('manifest', 'inspect', name))).toEqual(JSON.parse(docker));
    const verbose = (await engine.docker(['manifest', 'inspect', '--insecure', '--verbose', name])).stdout;
    expect(JSON.parse(await tare('manifest', 'inspect', '--verbose', name))).toMatchObject(JSON.parse(verbose));
  }
  expect(await refused('manifest', 'inspect', `${registry.address}/m/none:v1`)).toMatch(
    /manifest unknown|not found|404/i,
  );
});

test('tags are listed, and a manifest is deleted with all of its tags', async () => {
  await registry.seed('d/a', 'v1', { layers: [layer] });
  await tare('image', 'copy', at('d/a:v1'), at('d/a:v2'));
  await registry.seed('d/a', 'other', { layers: [] });
  expect(await tare('image', 'tags', at('d/a'))).toBe(await skopeo('list-tags', '--tls-verify=false', at('d/a')));
  await tare('image', 'delete', at('d/a:v1'));
  expect(JSON.parse(await tare('image', 'tags', at('d/a')))).toEqual({
    Repository: `${registry.address}/d/a`,
    Tags: ['other'],
  });
  expect(await refused('image', 'delete', at('d/a:v1'))).toMatch(/tare: .*(unknown|not found|404)/i);
});

test('repositories are synced to a folder, and folders to a registry', async () => {
  for (const tag of ['1.0', '1.1', '2.0']) await registry.seed('s/app', tag, { layers: [layer] });
  const store = folder('store');
  const planned = await engine.tare([
    'image',
    'sync',
    '--src',
    'docker',
    '--dest',
    'dir',
    '--dry-run',
    `${registry.address}/s/app`,
    store,
  ]);
  expect(planned.stderr).toMatch(
    new RegExp(`Would copy image [123]/3 from ${at('s/app:1.0')} to dir:${store}/app:1.0\n`),
  );
  await tare('image', 'sync', '--src', 'docker', '--dest', 'dir', '--scoped', `${registry.address}/s/app`, store);
  const scoped = join(store, registry.address, 's');
  expect(readdirSync(scoped).sort()).toEqual(['app:1.0', 'app:1.1', 'app:2.0']);
  await tare('image', 'sync', '--src', 'dir', '--dest', 'docker', store, `${registry.address}/back`);
  const tags = JSON.parse(await tare('image', 'tags', at('back/app'))) as { Tags: string[] };
  expect(tags.Tags.sort()).toEqual(['1.0', '1.1', '2.0']);
  expect(await skopeo('inspect', '--tls-verify=false', '--raw', at('back/app:1.1'))).toBe(
    await skopeo('inspect', '--tls-verify=false', '--raw', at('s/app:1.1')),
  );
});

test('a file says what to sync; what cannot be copied stops it, or not, as told', async () => {
  const { manifest } = await registry.seed('y/by-digest', 'x', { layers: [layer] });
  for (const tag of ['1.0', '1.1', 'edge']) await registry.seed('y/by-tag', tag, { layers: [layer] });
  const file = folder('sync.yaml');
  const list = (more = '') =>
    writeFileSync(
      file,
      `"${registry.address}":
  images:
    y/by-digest:
      - "${manifest.digest}"
    y/by-tag: ["1.0"]${more}
  images-by-tag-regex:
    y/by-tag: ^1\\.1$
  tls-verify: false
`,
    );
  list();
  const sync = (to: string, ...more: string[]) => [
    ...['image', 'sync', '--src', 'yaml', '--dest', 'dir', ...more],
    ...[file, folder(to)],
  ];
  await tare(...sync('from-yaml'));
  expect(readdirSync(folder('from-yaml')).sort()).toEqual([`by-digest@${manifest.digest}`, 'by-tag:1.0', 'by-tag:1.1']);
  list('\n    y/none: ["1"]');
  expect((await engine.tare(sync('stopped'), { expect: 1 })).stderr).toContain('y/none');
  const kept = await engine.tare(sync('kept', '--keep-going'), { expect: 1 });
  expect(kept.stderr).toContain('Synced 3 images, 1 could not be copied');
  writeFileSync(file, `"${registry.address}": {images: {y/by-tag: [1.10]}}\n`);
  expect((await engine.tare(sync('numbers'), { expect: 1 })).stderr).toContain('want tags in quotes, not 1.1');
  writeFileSync(file, `"${registry.address}": {imagez: {}}\n`);
  expect((await engine.tare(sync('unknown'), { expect: 1 })).stderr).toContain('unknown key "imagez"');
});

test.each([
  { args: ['busybox', 'local:x'], code: 1, want: /invalid image location "busybox": want one of docker:/ },
  { args: ['local:none:1', 'dir:/nonexistent/x'], code: 1, want: /No such image: none:1/ },
  { args: ['oci:/nonexistent', 'local:x'], code: 1, want: /oci:\/nonexistent: no such folder/ },
  { args: ['--format', 'v3', 'dir:x', 'dir:y'], code: 125, want: /want oci, v2s2/ },
  { args: ['--all', '--multi-arch', 'system', 'dir:x', 'dir:y'], code: 125, want: /exclude each other/ },
  { args: ['--src-creds', 'a:b', '--src-no-creds', 'dir:x', 'dir:y'], code: 125, want: /exclude each other/ },
  { args: ['dir:x'], code: 1, want: /requires 2 arguments/ },
])('copy $args: exit code $code', async ({ args, code, want }) => {
  const { stderr } = await engine.tare(['image', 'copy', ...args], { expect: code });
  expect(stderr).toMatch(want);
});

test('an interrupted copy clears up and says how it ended', async () => {
  await using slow = await startFaultProxy(registry);
  await using _tunnel = await tunnel(engine, slow.port);
  await registry.seed('i/a', 'v1', { layers: [layer], compression: 'none' });
  slow.add({ method: 'GET', path: /blobs/, fault: { kind: 'drip', bytes: 1, everyMs: 100 } });
  mkdirSync(folder('interrupted'));
  const to = `oci-archive:${folder('interrupted/a.tar')}`;
  const copying = engine.spawn([...engine.tareCommand(['image', 'copy', `docker://${slow.address}/i/a:v1`, to])]);
  const ended = new Promise<number | null>((resolve) => copying.once('exit', resolve));
  await eventually('the copy has begun', () => readdirSync(folder('interrupted')).length > 0);
  await eventually('a blob is on its way', () => slow.requests.some(({ path }) => path.includes('/blobs/')));
  copying.kill('SIGTERM');
  expect(await ended).toBe(143);
  expect(readdirSync(folder('interrupted'))).toEqual([]);
});

test('what the signature policy refuses does not get into the engine', async () => {
  const policy = folder('policy.json');
  writeFileSync(policy, JSON.stringify({ default: [{ type: 'reject' }] }));
  await registry.seed('p/a', 'v1', { layers: [layer] });
  for (const source of [at('p/a:v1'), `oci-archive:${busyboxImage().oci}`]) {
    const { stderr } = await engine.tare(['--signature-policy', policy, 'image', 'copy', source, 'local:refused:1'], {
      expect: 1,
    });
    expect(stderr).toMatch(/reject|polic/i);
    expect((await engine.cli(['images', '--quiet', 'refused'])).stdout).toBe('');
  }
});

test('credentials are given to a side, or come from a file', async () => {
  await using guarded = await startRegistry({ auth: { username: 'ann', password: 'secret' } });
  await using _tunnel = await tunnel(engine, guarded.port);
  await registry.seed('c/a', 'v1', { layers: [layer] });
  const to = `docker://${guarded.address}/c/a:v1`;
  expect(await refused('image', 'copy', at('c/a:v1'), to)).toMatch(/login|credential|unauthorized/i);
  await tare('image', 'copy', '--dest-creds', 'ann:secret', at('c/a:v1'), to);
  const auths = folder('auth.json');
  const auth = Buffer.from('ann:secret').toString('base64');
  writeFileSync(auths, JSON.stringify({ auths: { [guarded.address]: { auth } } }));
  await tare('image', 'copy', '--authfile', auths, to, `dir:${folder('guarded')}`);
  const blob = sha256(gzipSync(layer)).slice('sha256:'.length);
  expect(readdirSync(folder('guarded'))).toContain(blob);
  expect(await refused('image', 'inspect', '--authfile', auths, '--no-creds', to)).toMatch(
    /login|credential|unauthorized/i,
  );
});
