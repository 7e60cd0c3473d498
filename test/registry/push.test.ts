import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import {
  dockerFiles,
  imageOf,
  nothing,
  ociFiles,
  plainLayer,
  sha256,
  type TestLayer,
  tarOf,
} from '../../src/engine/image-archives.fixture.ts';
import type { ProgressMessage } from '../../src/engine/index.ts';
import { kindOf, messageOf } from '../../src/errors/index.ts';
import { mediaTypes, planPush } from '../../src/image/index.ts';
import type { Rule } from '../support/fault-proxy.ts';
import { tar } from '../support/tar.ts';
import { askedFor, openPullLab, type PullLab } from './pull-lab.ts';

const types = [mediaTypes.index, mediaTypes.manifest, mediaTypes.dockerManifest].join(', ');

interface RemoteManifest {
  mediaType: string;
  config: { digest: string; mediaType: string };
  layers: { mediaType: string; digest: string; size: number }[];
  manifests?: { digest: string }[];
}

/** A manifest as the registry has it. */
async function remote(lab: PullLab, repository: string, reference: string): Promise<RemoteManifest> {
  const { status, body } = await lab.registry.request('GET', `/v2/${repository}/manifests/${reference}`, {
    accept: types,
  });
  if (status !== 200) throw new Error(`${repository}:${reference}: ${status} ${body.toString()}`);
  return JSON.parse(body.toString()) as RemoteManifest;
}

async function push(lab: PullLab, name: string, options: Parameters<PullLab['images']['push']>[1] = {}) {
  const messages: ProgressMessage[] = await Array.fromAsync(lab.images.push(lab.at(name), options));
  const ends = new Map(messages.flatMap(({ id, status }) => (id === undefined ? [] : [[id, status!] as const])));
  return { messages, ends: [...ends.values()].sort(), pushed: messages.flatMap(({ pushed }) => pushed ?? []) };
}

const failing = (name: string, lab: PullLab, options?: Parameters<PullLab['images']['push']>[1]) =>
  push(lab, name, options).then(
    () => undefined,
    (error: unknown) => error,
  );

const asDocker = (lab: PullLab, name: string, layers: TestLayer[]) =>
  lab.load(tarOf(dockerFiles([{ image: imageOf(layers), names: [lab.at(name)] }])));

const packed = (plain: Uint8Array, program: string): Buffer =>
  execFileSync(program, ['-c'], { input: plain, maxBuffer: 1 << 26 });

test('a pulled image goes back byte for byte', async () => {
  const lab = await openPullLab();
  const seeded = await lab.registry.seed('from', 'v1', {
    layers: [tar([{ path: 'a', content: 'a' }]), tar([{ path: 'b', content: 'b' }])],
    compression: 'zstd',
    isDocker: false,
  });
  await lab.pull('from:v1');
  // Another registry, as far as the records know: nothing can be mounted.
  await lab.db.write((tx) => tx.run('DELETE FROM blob_sources'));
  await lab.images.tag(lab.at('from:v1'), lab.at('to:v2'));
  lab.proxy.clear();
  const { ends, pushed, messages } = await push(lab, 'to:v2');
  expect(ends).toEqual(['Pushed', 'Pushed']);
  expect(pushed).toEqual([{ tag: 'v2', digest: seeded.manifest.digest, sizeBytes: seeded.manifest.size }]);
  expect(messages.at(-2)).toEqual({ status: `v2: digest: ${seeded.manifest.digest} size: ${seeded.manifest.size}` });
  expect(await remote(lab, 'to', 'v2')).toEqual(JSON.parse(seeded.bytes.toString()));
  // Each blob was asked for before it was sent.
  for (const { digest } of [...seeded.layers, seeded.config]) {
    expect(askedFor(lab.proxy)).toContain(`HEAD blobs ${digest.slice(7, 19)}`);
  }
  const image = await lab.images.inspect(lab.at('to:v2'));
  expect(image.repoDigests).toContain(`${lab.at('to')}@${seeded.manifest.digest}`);
  expect(lab.events().at(-1)).toEqual({ action: 'push', actorId: lab.at('to:v2'), attributes: { name: lab.at('to') } });

  lab.proxy.clear();
  expect((await push(lab, 'to:v2')).ends).toEqual(['Layer already exists', 'Layer already exists']);
  expect(lab.proxy.requests.filter(({ method }) => method === 'POST' || method === 'PATCH')).toEqual([]);
});

test('layers that another repository of the registry has are mounted', async () => {
  const lab = await openPullLab();
  await lab.registry.seed('from/here', 'v1', { layers: [tar([{ path: 'a', content: randomBytes(100_000) }])] });
  await lab.pull('from/here:v1');
  await lab.images.tag(lab.at('from/here:v1'), lab.at('to:v1'));
  lab.proxy.clear();
  expect((await push(lab, 'to:v1')).ends).toEqual(['Mounted from from/here']);
  const sent = lab.proxy.requests
    .filter(({ path }) => path.includes('/blobs/'))
    .reduce((sum, { bytes }) => sum + bytes, 0);
  expect(sent).toBe(0);
});

test('a repository that has lost the blob: the layer is sent', async () => {
  const lab = await openPullLab();
  const { layers } = await lab.registry.seed('from', 'v1', { layers: [tar([{ path: 'a', content: 'a' }])] });
  await lab.pull('from:v1');
  await lab.registry.request('DELETE', `/v2/from/blobs/${layers[0]!.digest}`);
  await lab.images.tag(lab.at('from:v1'), lab.at('to:v1'));
  expect((await push(lab, 'to:v1')).ends).toEqual(['Pushed']);
  expect((await remote(lab, 'to', 'v1')).layers[0]?.digest).toBe(layers[0]!.digest);
});

test.each([
  { how: 'plain', pack: (plain: Uint8Array) => plain },
  { how: 'bzip2', pack: (plain: Uint8Array) => packed(plain, 'bzip2') },
  { how: 'xz', pack: (plain: Uint8Array) => packed(plain, 'xz') },
])('a loaded layer that is $how is compressed once, and the image keeps it', async ({ pack }) => {
  const lab = await openPullLab();
  const { plain } = plainLayer({ 'etc/a': 'a'.repeat(100_000) });
  const gzip: TestLayer = { plain: plainLayer({ b: 'b' }).plain, stored: gzipSync(plainLayer({ b: 'b' }).plain) };
  await asDocker(lab, 'made:1', [{ plain, stored: pack(plain) }, gzip]);
  const { id } = await lab.images.inspect(lab.at('made:1'));
  const { pushed, ends } = await push(lab, 'made:1');
  expect(ends).toEqual(['Pushed', 'Pushed']);
  const { layers, config } = await remote(lab, 'made', '1');
  expect(config.digest).toBe(id);
  expect(layers.map(({ mediaType }) => mediaType)).toEqual([mediaTypes.layerGzip, mediaTypes.layerGzip]);
  // What was compressed before goes as it is.
  expect(layers[1]?.digest).toBe(sha256(gzip.stored));
  const { body } = await lab.registry.request('GET', `/v2/made/blobs/${layers[0]?.digest}`);
  expect(gunzipSync(body).equals(plain)).toBe(true);
  const image = await lab.images.inspect(lab.at('made:1'));
  expect(image).toMatchObject({ id, repoDigests: [`${lab.at('made')}@${pushed[0]?.digest}`] });
  // Compressed layers took the place of the others; nothing is left over.
  expect(await lab.inventory()).toMatchObject({ blobs: 4, layers: 2, images: 1, unfinished: [], leases: 0 });
  const again = await push(lab, 'made:1');
  expect(again.pushed).toEqual(pushed);
  expect(again.messages.map(({ status }) => status)).not.toContain('Compressing');
  // The image still runs, and its layers can be unpacked again from what is stored now.
  await lab.layers.removeLayer(sha256(plain) as never);
  expect(await lab.images.ensureUnpacked(id)).toHaveLength(2);
});

test('a layer that another image has compressed is not compressed again', async () => {
  const lab = await openPullLab();
  const { plain } = plainLayer({ 'etc/a': 'a'.repeat(100_000) });
  const stored = gzipSync(plain, { level: 1 });
  await asDocker(lab, 'first:1', [{ plain, stored }]);
  await asDocker(lab, 'made:1', [{ plain, stored: plain }, plainLayer({ b: 'b' })]);
  await push(lab, 'made:1');
  expect((await remote(lab, 'made', '1')).layers[0]?.digest).toBe(sha256(stored));
});

test('a plain layer that came from a registry goes as it came', async () => {
  const lab = await openPullLab();
  const seed = { layers: [tar([{ path: 'a', content: 'a' }])], compression: 'none' as const };
  const { manifest } = await lab.registry.seed('from', 'v1', seed);
  await lab.pull('from:v1');
  await lab.images.tag(lab.at('from:v1'), lab.at('to:v1'));
  expect((await push(lab, 'to:v1')).pushed[0]?.digest).toBe(manifest.digest);
});

test("docker's manifests stay docker's", async () => {
  const lab = await openPullLab();
  const { manifest } = await lab.registry.seed('from', 'v1', {
    layers: [tar([{ path: 'a', content: 'a' }])],
    isDocker: true,
  });
  await lab.pull('from:v1');
  await lab.images.tag(lab.at('from:v1'), lab.at('to:v1'));
  expect((await push(lab, 'to:v1')).pushed[0]?.digest).toBe(manifest.digest);
  expect((await remote(lab, 'to', 'v1')).mediaType).toBe(mediaTypes.dockerManifest);
});

test('an empty image, and one layer twice', async () => {
  const lab = await openPullLab();
  await asDocker(lab, 'empty:1', []);
  expect((await push(lab, 'empty:1')).pushed).toHaveLength(1);
  expect((await remote(lab, 'empty', '1')).layers).toEqual([]);
  const twice = {
    ...plainLayer({ a: 'a' }),
    stored: zstdCompressSync(plainLayer({ a: 'a' }).plain),
    mediaType: mediaTypes.layerZstd,
  };
  await lab.load(tarOf(ociFiles([{ image: imageOf([twice, twice]), name: lab.at('twice:1') }])));
  expect((await push(lab, 'twice:1')).ends).toEqual(['Pushed']);
  expect((await remote(lab, 'twice', '1')).layers.map(({ digest }) => digest)).toEqual(
    Array(2).fill(sha256(twice.stored)),
  );
});

test('foreign layers are not sent; their manifest says where they are', async () => {
  const lab = await openPullLab();
  const blob = async (bytes: string, mediaType: string) => {
    const { digest, sizeBytes } = await lab.content.put(Buffer.from(bytes));
    return { mediaType, digest, size: sizeBytes };
  };
  const own = await blob('own', mediaTypes.layerGzip);
  const config = await blob('{}', mediaTypes.config);
  const type = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
  const foreign = { ...(await blob('foreign', type)), urls: ['https://elsewhere.example/layer'] };
  const document = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [own, foreign] };
  const root = await blob(JSON.stringify(document), mediaTypes.manifest);
  expect(await planPush(lab.content, root)).toEqual({ blobs: [config, own], documents: [root] });
  await lab.content.delete(own.digest);
  await expect(planPush(lab.content, root)).rejects.toThrow(`blob ${own.digest} is not here`);
});

test('an index that lists itself, through others, is refused', async () => {
  const lab = await openPullLab();
  let inner = await lab.content.put(Buffer.from('{"schemaVersion":2,"manifests":[]}'));
  const indexOver = ({ digest, sizeBytes }: typeof inner) =>
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType: mediaTypes.index, digest, size: sizeBytes }] }),
    );
  for (let depth = 0; depth < 10; depth += 1) inner = await lab.content.put(indexOver(inner));
  const root = { mediaType: mediaTypes.index, digest: inner.digest, size: inner.sizeBytes };
  await expect(planPush(lab.content, root)).rejects.toThrow(/nest at most 4 deep/);
});

test('an index goes whole with its attestations, and alone by platform', async () => {
  const lab = await openPullLab();
  const { registry } = lab;
  const of = (architecture: string) =>
    registry.seed('from', undefined, {
      layers: [tar([{ path: 'arch', content: architecture }])],
      platform: { os: 'linux', architecture },
    });
  const [amd64, arm64] = [await of('amd64'), await of('arm64')];
  const statement = await registry.putBlob('from', Buffer.from('{"a":1}'), 'application/vnd.in-toto+json');
  const empty = await registry.putBlob('from', Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
  const { bytes: _, ...attestation } = await registry.putManifest('from', {
    ...{ schemaVersion: 2, mediaType: mediaTypes.manifest, config: empty, layers: [statement] },
  });
  const index = await registry.seedIndex('from', 'v1', [
    { ...amd64.manifest, platform: { os: 'linux', architecture: 'amd64' } },
    { ...arm64.manifest, platform: { os: 'linux', architecture: 'arm64' } },
    {
      ...attestation,
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: {
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': amd64.manifest.digest,
      },
    },
  ]);
  await lab.pull('from:v1', { allPlatforms: true });
  await lab.images.tag(lab.at('from:v1'), lab.at('to:v1'));
  expect((await push(lab, 'to:v1')).pushed[0]?.digest).toBe(index.digest);
  expect((await remote(lab, 'to', attestation.digest)).layers[0]?.digest).toBe(statement.digest);
  expect((await push(lab, 'to:v1', { platform: 'linux/arm64' })).pushed[0]?.digest).toBe(arm64.manifest.digest);
  // The name's digest is that of what the registry has under it; the image is still the same.
  expect((await lab.images.inspect(lab.at('to:v1'))).id).toBe(amd64.config.digest);
  await expect(push(lab, 'to:v1', { platform: 'linux/s390x' })).rejects.toThrow('does not provide');
  // Of an index of which one platform alone is here, that one goes.
  await lab.images.remove(lab.at('from:v1'));
  await lab.images.remove(lab.at('to:v1'));
  expect(await lab.inventory()).toEqual(nothing);
  await lab.pull('from:v1', { platform: 'linux/arm64' });
  await lab.images.tag(lab.at('from:v1'), lab.at('to:v2'));
  expect((await push(lab, 'to:v2')).pushed[0]?.digest).toBe(arm64.manifest.digest);
});

test.each<{ what: string; rule: Rule; want?: RegExp }>([
  {
    what: 'an upload that breaks once',
    rule: { path: /uploads/, times: 1, fault: { kind: 'cut-upload', afterBytes: 200_000 } },
  },
  { what: 'a lost answer', rule: { method: 'PUT', path: /blobs/, times: 1, fault: { kind: 'lose-answer' } } },
  {
    what: 'a registry that is busy',
    rule: { times: 1, path: /blobs/, fault: { kind: 'answer', status: 429, headers: { 'retry-after': '0' } } },
  },
  { what: 'a server error', rule: { times: 1, path: /uploads/, fault: { kind: 'answer', status: 503 } } },
  {
    what: 'an upload that always breaks',
    rule: { path: /uploads/, fault: { kind: 'cut-upload', afterBytes: 1000 } },
    want: /blob made@sha256:/,
  },
  {
    what: 'a refused manifest',
    rule: {
      method: 'PUT',
      path: /manifests/,
      fault: { kind: 'answer', status: 400, body: '{"errors":[{"code":"MANIFEST_INVALID","message":"bad"}]}' },
    },
    want: /manifest made:1/,
  },
  {
    what: 'no right to push',
    rule: { path: /uploads/, fault: { kind: 'answer', status: 403 } },
    want: /access|denied|403/,
  },
])('$what', async ({ rule, want }) => {
  const lab = await openPullLab();
  const layers = [1, 2, 3].map((n) => {
    const plain = tar([{ path: `f${n}`, content: randomBytes(500_000) }]);
    return { plain, stored: gzipSync(plain) };
  });
  await asDocker(lab, 'made:1', layers);
  lab.proxy.add(rule);
  const error = await failing('made:1', lab);
  if (want === undefined) expect(error).toBeUndefined();
  else {
    expect(messageOf(error)).toMatch(want);
    expect(kindOf(error)).not.toBe('Internal');
  }
  expect((await lab.inventory()).leases).toBe(0);
  // Nothing is in the way of the next push.
  lab.proxy.clear();
  expect((await push(lab, 'made:1')).pushed).toHaveLength(1);
  expect((await remote(lab, 'made', '1')).layers).toHaveLength(3);
});

test('a push that nobody waits for ends', async () => {
  const lab = await openPullLab();
  await asDocker(lab, 'made:1', [{ ...plainLayer({ a: 'a' }), stored: gzipSync(plainLayer({ a: 'a' }).plain) }]);
  lab.proxy.add({ path: /uploads/, fault: { kind: 'stall' } });
  const stop = new AbortController();
  const pushing = failing('made:1', lab, { signal: stop.signal });
  await expect.poll(() => lab.proxy.requests.some(({ path }) => path.includes('uploads'))).toBe(true);
  stop.abort();
  expect(await pushing).toBeInstanceOf(Error);
  expect((await lab.inventory()).leases).toBe(0);
});

test('what is not here, and what is no name', async () => {
  const lab = await openPullLab();
  await expect(push(lab, 'none:1')).rejects.toThrow(`An image does not exist locally with the tag: ${lab.at('none')}`);
  await asDocker(lab, 'made:1', []);
  await expect(push(lab, 'made:2')).rejects.toThrow(`tag does not exist: ${lab.at('made:2')}`);
  await expect(push(lab, `made@${sha256('x')}`)).rejects.toThrow('cannot push a digest reference');
  await expect(push(lab, 'MADE')).rejects.toThrow('must be lowercase');
});
