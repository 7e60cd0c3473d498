import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BlobBytes, mediaTypes, type Repository } from '../../src/image/index.ts';
import { type Descriptor, digestOf } from '../../src/storage/index.ts';
import { execute } from '../support/execute.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type SeededImage, startRegistry, type TestRegistry } from '../support/registry.ts';
import { collected, opened } from './opened.ts';

let registry: TestRegistry;
let proxy: FaultProxy;
let image: SeededImage;
const layer = randomBytes(3_000_000);

beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry);
  image = await registry.seed('team/app', 'v1', { layers: [layer], compression: 'none' });
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

const at = (path: string, options: Parameters<typeof opened>[0] = {}): Repository =>
  opened(options).repository({ domain: proxy.address, path });
const descriptorOf = (bytes: Uint8Array, mediaType = 'application/octet-stream'): Descriptor => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.byteLength,
});
/** In pieces, as a file comes. */
const pieces = (bytes: Uint8Array, size = 65_536): BlobBytes =>
  async function* (offset) {
    for (let at = offset; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
  };
const fresh = () => {
  proxy.clear();
};

test('a tag resolves by HEAD alone, and its manifest is the one that was pushed', async () => {
  fresh();
  const repository = at('team/app');
  await expect(repository.resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
  expect(proxy.requests.filter(({ path }) => path.includes('manifests')).map(({ method }) => method)).toEqual(['HEAD']);
  const { descriptor, bytes } = await repository.manifest({ tag: 'v1' });
  expect(descriptor).toEqual(image.manifest);
  expect(bytes.equals(image.bytes)).toBe(true);
  const byDigest = await repository.manifest({ digest: descriptor.digest });
  expect(byDigest.descriptor).toEqual(image.manifest);
});

test("docker's schema 2 and an index keep their types", async () => {
  fresh();
  const docker = await registry.seed('team/docker', 'v1', { layers: [Buffer.from('x')], isDocker: true });
  const { bytes: _bytes, ...index } = await registry.seedIndex('team/docker', 'all', [docker.manifest]);
  await expect(at('team/docker').resolve({ tag: 'v1' })).resolves.toEqual(docker.manifest);
  await expect(at('team/docker').resolve({ tag: 'all' })).resolves.toEqual(index);
});

test('a blob comes whole, or from an offset', async () => {
  fresh();
  const [blob] = image.layers as [Descriptor];
  expect((await collected(at('team/app').blob(blob))).equals(layer)).toBe(true);
  expect((await collected(at('team/app').blob(blob, { offset: 1000 }))).equals(layer.subarray(1000))).toBe(true);
  expect(proxy.requests.at(-1)!.headers.range).toBe('bytes=1000-');
  await expect(at('team/app').blobSize(blob.digest)).resolves.toBe(layer.length);
  await expect(at('team/app').blobSize(digestOf('none such'))).resolves.toBeUndefined();
  await expect(collected(at('team/app').blob(blob, { offset: layer.length }))).resolves.toHaveLength(0);
});

test.each([
  { way: 'in one PUT', bytes: 100_000, limits: {}, methods: ['PUT'] },
  { way: 'as a stream', bytes: 5_000_000, limits: {}, methods: ['PATCH', 'PUT'] },
  {
    way: 'in chunks',
    bytes: 2_500_000,
    limits: { monolithicBytes: 0, chunkBytes: 1_000_000 },
    methods: ['PATCH', 'PATCH', 'PATCH', 'PUT'],
  },
  { way: 'with nothing in it', bytes: 0, limits: {}, methods: ['PUT'] },
])('a blob goes up $way', async ({ bytes: size, limits, methods }) => {
  fresh();
  const bytes = randomBytes(size);
  const repository = at('push/blobs', { limits });
  const progress: number[] = [];
  const done = await repository.putBlob(descriptorOf(bytes), pieces(bytes), {
    onProgress: (sent) => progress.push(sent),
  });
  expect(done).toBe('uploaded');
  expect(proxy.requests.map(({ method }) => method).filter((method) => /PUT|PATCH/.test(method))).toEqual(methods);
  expect((await collected(repository.blob(descriptorOf(bytes)))).equals(bytes)).toBe(true);
  expect(progress.at(-1) ?? 0).toBe(size);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  fresh();
  await expect(repository.putBlob(descriptorOf(bytes), pieces(bytes))).resolves.toBe('existed');
  expect(proxy.requests.map(({ method }) => method)).toEqual(['HEAD']);
});

test('a blob that another repository has is mounted', async () => {
  fresh();
  const [blob] = image.layers as [Descriptor];
  const never: BlobBytes = () => {
    throw new Error('nothing may be read');
  };
  const done = at('push/mounted').putBlob(blob, never, { from: ['no/such', 'team/app'] });
  await expect(done).resolves.toBe('mounted');
  expect(proxy.requests.filter(({ method }) => /PUT|PATCH/.test(method))).toEqual([]);
});

test('a blob that none of them has is sent', async () => {
  fresh();
  const bytes = randomBytes(1000);
  const done = at('push/not-mounted').putBlob(descriptorOf(bytes), pieces(bytes), { from: ['no/such', 'team/app'] });
  await expect(done).resolves.toBe('uploaded');
});

test.each([
  { when: 'a stream', limits: { monolithicBytes: 0 }, fault: 'cut-upload', method: 'PATCH' },
  { when: 'a chunk', limits: { monolithicBytes: 0, chunkBytes: 900_000 }, fault: 'cut-upload', method: 'PATCH' },
  { when: 'one PUT', limits: { monolithicBytes: 10_000_000 }, fault: 'cut-upload', method: 'PUT' },
] as const)('an upload that breaks in $when is finished', async ({ limits, method }) => {
  fresh();
  proxy.add({ method, times: 1, fault: { kind: 'cut-upload', afterBytes: 700_000 } });
  const bytes = randomBytes(2_000_000);
  const repository = at('push/broken', { limits });
  await expect(repository.putBlob(descriptorOf(bytes), pieces(bytes))).resolves.toBe('uploaded');
  expect((await collected(repository.blob(descriptorOf(bytes)))).equals(bytes)).toBe(true);
  // This registry forgets an upload that broke in the middle of a request: its state names another length then.
  const sent = proxy.requests.reduce((total, { bytes }) => total + bytes, 0);
  expect(sent).toBeLessThan(2_800_000);
});

test('an upload whose answer was lost is not sent again', async () => {
  fresh();
  proxy.add({ method: 'PUT', times: 1, fault: { kind: 'lose-answer' } });
  const bytes = randomBytes(200_000);
  await expect(at('push/lost').putBlob(descriptorOf(bytes), pieces(bytes))).resolves.toBe('uploaded');
  expect(proxy.requests.filter(({ method }) => method === 'PUT')).toHaveLength(1);
});

test('an image goes up and comes back', async () => {
  fresh();
  const repository = at('push/image');
  for (const blob of [...image.layers, image.config] as Descriptor[]) {
    await repository.putBlob(blob, () => at('team/app').blob(blob), { from: ['team/app'] });
  }
  const put = await repository.putManifest({ tag: 'copy' }, image.manifest.mediaType, image.bytes);
  expect(put).toEqual(image.manifest);
  await expect(repository.resolve({ tag: 'copy' })).resolves.toEqual(image.manifest);
  // Another client finds it whole: skopeo reads the manifest and the config.
  const { stdout } = await execute([
    ...['skopeo', 'inspect', '--tls-verify=false', '--format', '{{.Digest}}'],
    `docker://${registry.address}/push/image:copy`,
  ]);
  expect(stdout.trim()).toBe(image.manifest.digest);
  await expect(
    repository.putManifest({ digest: digestOf('x') }, image.manifest.mediaType, image.bytes),
  ).rejects.toThrow(/the bytes to store have digest sha256:/);
});

test('tags and the catalog', async () => {
  fresh();
  await registry.seed('many/tags', 'b', { layers: [] });
  await registry.seed('many/tags', 'a', { layers: [] });
  expect((await Array.fromAsync(at('many/tags').tags())).sort()).toEqual(['a', 'b']);
  const names = await Array.fromAsync(opened().catalog(proxy.address));
  expect(names).toEqual(expect.arrayContaining(['many/tags', 'team/app']));
  await expect(Array.fromAsync(at('no/such').tags())).rejects.toMatchObject({ kind: 'NotFound', code: 'NAME_UNKNOWN' });
});

test('a list goes over its pages', async () => {
  fresh();
  const page = (tags: string[], next?: string) => ({
    kind: 'answer' as const,
    status: 200,
    headers: { 'content-type': 'application/json', ...(next === undefined ? {} : { link: `<${next}>; rel="next"` }) },
    body: JSON.stringify({ name: 'x', tags }),
  });
  proxy.add(
    { path: /last=b/, fault: page(['c']) },
    { path: /tags\/list/, fault: page(['a', 'b'], '/v2/paged/tags/list?n=2&last=b') },
  );
  expect(await Array.fromAsync(at('paged').tags())).toEqual(['a', 'b', 'c']);
});

test('what refers to an image is listed under the fallback tag, and taken off it', async () => {
  fresh();
  const repository = at('refer/to');
  const subject = await registry.seed('refer/to', 'v1', { layers: [] });
  const empty = Buffer.from('{}');
  await repository.putBlob(descriptorOf(empty, 'application/vnd.oci.empty.v1+json'), pieces(empty));
  const signature = (note: string) =>
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        artifactType: `application/vnd.test.${note}`,
        config: descriptorOf(empty, 'application/vnd.oci.empty.v1+json'),
        layers: [descriptorOf(empty, 'application/vnd.oci.empty.v1+json')],
        subject: subject.manifest,
        annotations: { note },
      }),
    );
  expect(await repository.referrers(subject.manifest.digest as Descriptor['digest'])).toEqual([]);
  const notes = ['one', 'two', 'three'];
  await Promise.all(
    notes.map((note) =>
      repository.putManifest({ digest: digestOf(signature(note)) }, mediaTypes.manifest, signature(note)),
    ),
  );
  const digest = subject.manifest.digest as Descriptor['digest'];
  const listed = await repository.referrers(digest);
  expect(listed.map(({ annotations }) => annotations!['note']).sort()).toEqual(['one', 'three', 'two']);
  expect(await repository.referrers(digest, { artifactType: 'application/vnd.test.two' })).toEqual([
    {
      ...descriptorOf(signature('two'), mediaTypes.manifest),
      artifactType: 'application/vnd.test.two',
      annotations: { note: 'two' },
    },
  ]);
  await repository.deleteManifest({ digest: digestOf(signature('two')) });
  expect((await repository.referrers(digest)).map(({ annotations }) => annotations!['note'])).not.toContain('two');
});

test('a manifest is deleted by tag and by digest', async () => {
  fresh();
  const one = await registry.seed('delete/me', 'one', { layers: [], config: { Cmd: ['one'] } });
  const two = await registry.seed('delete/me', 'two', { layers: [], config: { Cmd: ['two'] } });
  await at('delete/me').deleteManifest({ digest: one.manifest.digest as Descriptor['digest'] });
  await expect(at('delete/me').resolve({ tag: 'one' })).rejects.toMatchObject({ kind: 'NotFound', status: 404 });
  await at('delete/me').deleteManifest({ tag: 'two' });
  await expect(at('delete/me').resolve({ tag: 'two' })).rejects.toMatchObject({ kind: 'NotFound' });
  await expect(
    at('delete/me').deleteManifest({ digest: two.manifest.digest as Descriptor['digest'] }),
  ).rejects.toMatchObject({ kind: 'NotFound' });
});

test('a registry that does not delete says so', async () => {
  await using fixed = await startRegistry({ allowsDelete: false });
  const { manifest } = await fixed.seed('a', 'v1', { layers: [] });
  const repository = opened().repository({ domain: fixed.address, path: 'a' });
  const kept = { kind: 'Unsupported', message: expect.stringContaining('its owner must allow it') };
  await expect(repository.deleteManifest({ tag: 'v1' })).rejects.toMatchObject(kept);
  await expect(repository.deleteManifest({ digest: manifest.digest as Descriptor['digest'] })).rejects.toMatchObject(
    kept,
  );
});

test('a registry has no search unless it says so', async () => {
  fresh();
  await expect(opened().search(`${proxy.address}/term`, 5)).rejects.toMatchObject({ kind: 'Unsupported' });
  const results = [
    { name: 'nginx', description: 'web', star_count: 7, is_official: true, is_automated: false },
    { name: 'other', description: null },
  ];
  proxy.add({ path: /^\/v1\/search/, fault: { kind: 'answer', status: 200, body: JSON.stringify({ results }) } });
  await expect(opened().search(`${proxy.address}/a b&c`, 5)).resolves.toEqual([
    { name: 'nginx', description: 'web', stars: 7, isOfficial: true, isAutomated: false },
    { name: 'other', description: '', stars: 0, isOfficial: false, isAutomated: false },
  ]);
  expect(proxy.requests.at(-1)!.path).toBe('/v1/search?q=a+b%26c&n=5');
  await expect(opened().search('x', 101)).rejects.toMatchObject({ kind: 'InvalidArgument' });
});
