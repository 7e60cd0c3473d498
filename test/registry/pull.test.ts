import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { nothing } from '../../src/engine/image-archives.fixture.ts';
import { kindOf, messageOf } from '../../src/errors/index.ts';
import type { Fault, Rule } from '../support/fault-proxy.ts';
import { cutGzip, gzipBomb, nestedIndex } from '../support/hostile-images.ts';
import { sha256 } from '../support/image.ts';
import { tar } from '../support/tar.ts';
import { askedFor, openPullLab, type PullLab } from './pull-lab.ts';

const layer = (name: string, content: string | Buffer = name) => tar([{ path: name, content: Buffer.from(content) }]);
const short = (digest: string) => digest.slice(7, 19);

test('an image comes with its layers, and once more with nothing', async () => {
  const lab = await openPullLab();
  const { manifest, layers, config } = await lab.registry.seed('a/b', 'v1', { layers: [layer('one'), layer('two')] });
  const said = await lab.pull('a/b:v1');
  expect(said[0]).toBe('v1: Pulling from a/b');
  for (const { digest } of layers) {
    const ofLayer = said.filter((line) => line.startsWith(short(digest)));
    expect(ofLayer[0]).toMatch(/: Pulling fs layer$/);
    expect(ofLayer.slice(-3).map((line) => line.replace(/.*: /, ''))).toEqual([
      'Download complete',
      'Extracting',
      'Pull complete',
    ]);
  }
  expect(said.slice(-2)).toEqual([
    `Digest: ${manifest.digest}`,
    `Status: Downloaded newer image for ${lab.at('a/b:v1')}`,
  ]);
  const image = await lab.images.inspect(lab.at('a/b:v1'));
  expect(image).toMatchObject({
    id: config.digest,
    repoTags: [lab.at('a/b:v1')],
    repoDigests: [`${lab.at('a/b')}@${manifest.digest}`],
  });
  expect(lab.events().map(({ action, actorId }) => [action, actorId])).toEqual([['pull', lab.at('a/b:v1')]]);
  expect((await lab.layers.layers()).map(({ diffID }) => diffID).sort()).toEqual(
    [sha256(layer('one')), sha256(layer('two'))].sort(),
  );

  lab.proxy.clear();
  expect(await lab.pull('a/b:v1')).toEqual([
    'v1: Pulling from a/b',
    ...layers.map(({ digest }) => `${short(digest)}: Already exists`),
    `Digest: ${manifest.digest}`,
    `Status: Image is up to date for ${lab.at('a/b:v1')}`,
  ]);
  expect(askedFor(lab.proxy)).toEqual(['HEAD manifests v1']);
  expect(await lab.inventory()).toMatchObject({ blobs: 4, layers: 2, images: 1, unfinished: [], leases: 0 });
});

test('layers that are here by digest are not fetched, and those the same by diff are unpacked once', async () => {
  const lab = await openPullLab();
  const shared = layer('shared', randomBytes(100_000));
  const first = await lab.registry.seed('a', 'v1', { layers: [shared] });
  const second = await lab.registry.seed('a', 'v2', { layers: [shared, layer('more')] });
  const other = await lab.registry.seed('a', 'zstd', { layers: [shared, layer('other')], compression: 'zstd' });
  await lab.pull('a:v1');
  lab.proxy.clear();
  expect(await lab.pull('a:v2')).toContain(`${short(first.layers[0]!.digest)}: Already exists`);
  expect(askedFor(lab.proxy)).not.toContain(`GET blobs ${first.layers[0]!.digest.slice(7, 19)}`);
  expect(askedFor(lab.proxy)).toContain(`GET blobs ${second.layers[1]!.digest.slice(7, 19)}`);
  const unpacked = () => readdirSync(join(lab.root, 'layers')).filter((name) => name.length === 64);
  const before = unpacked();
  // Another blob of the same layer is stored, for whoever pushes it, and not unpacked.
  await lab.pull('a:zstd');
  expect(unpacked().filter((name) => !before.includes(name))).toHaveLength(1);
  expect(await lab.content.has(other.layers[0]!.digest as never)).toBe(true);
});

test('a blob that is here is compared with the size that another manifest gives it', async () => {
  const lab = await openPullLab();
  const { manifest, layers } = await lab.registry.seed('a', 'v1', { layers: [layer('one')] });
  await lab.pull('a:v1');
  const held = await lab.inventory();
  const good = JSON.parse((await lab.content.read(manifest.digest as never)).toString());
  for (const part of ['config', 'layers'] as const) {
    const bad = structuredClone(good);
    (part === 'config' ? bad.config : bad.layers[0]).size += 1;
    await lab.registry.putManifest('a', bad, part);
    const { digest, size } = part === 'config' ? good.config : layers[0];
    await expect(lab.pull(`a:${part}`)).rejects.toMatchObject({
      kind: 'InvalidArgument',
      message: expect.stringContaining(`blob ${digest} has ${size} bytes, its descriptor says ${size + 1}`),
    });
  }
  expect(await lab.inventory()).toEqual(held);
});

test.each(['gzip', 'zstd', 'none'] as const)(
  'layers compressed by %s, in both kinds of manifest',
  async (compression) => {
    const lab = await openPullLab();
    await lab.registry.seed('a', 'oci', { layers: [layer('x'), tar([])], compression });
    await lab.pull('a:oci');
    expect((await lab.images.inspect(lab.at('a:oci'))).config.rootfs.diff_ids).toEqual([
      sha256(layer('x')),
      sha256(tar([])),
    ]);
    if (compression !== 'gzip') return;
    await lab.registry.seed('a', 'docker', { layers: [layer('y')], isDocker: true });
    await lab.pull('a:docker');
    expect((await lab.images.inspect(lab.at('a:docker'))).config.rootfs.diff_ids).toEqual([sha256(layer('y'))]);
  },
);

const arm = { architecture: 'arm64', os: 'linux' };
const amd = { architecture: 'amd64', os: 'linux' };
const windows = { architecture: 'amd64', os: 'windows' };

async function seedPlatforms(lab: PullLab) {
  const images = [];
  for (const platform of [windows, arm, amd]) {
    const name = `${platform.os}-${platform.architecture}`;
    const { manifest } = await lab.registry.seed('multi', undefined, { layers: [layer(name)], platform });
    images.push({ ...manifest, platform });
  }
  return { images, index: await lab.registry.seedIndex('multi', 'v1', images) };
}

test('of an index the platform that fits, or the one that was asked for', async () => {
  const lab = await openPullLab();
  const { images, index } = await seedPlatforms(lab);
  await lab.pull('multi:v1', { platform: 'linux/amd64' });
  const image = await lab.images.inspect(lab.at('multi:v1'));
  expect(image.manifest.digest).toBe(images[2]!.digest);
  expect(image.repoDigests).toEqual([`${lab.at('multi')}@${index.digest}`]);
  await lab.pull('multi:v1', { platform: 'linux/arm64' });
  expect((await lab.images.inspect(lab.at('multi:v1'))).config.architecture).toBe('arm64');
  await expect(lab.pull('multi:v1', { platform: 'linux/s390x' })).rejects.toThrow(
    /no matching manifest for linux\/s390x in the manifest list entries of .*: it has windows\/amd64, linux\/arm64, linux\/amd64/,
  );
  await lab.registry.seed('single', 'v1', { layers: [layer('x')], platform: arm });
  await expect(lab.pull('single:v1', { platform: 'linux/amd64' })).rejects.toThrow(
    /its platform \(linux\/arm64\) does not match the specified platform \(linux\/amd64\)/,
  );
});

test('all platforms are kept on request, and only the chosen one is unpacked', async () => {
  const lab = await openPullLab();
  const { images, index } = await seedPlatforms(lab);
  await lab.pull('multi:v1', { platform: 'linux/amd64', allPlatforms: true });
  for (const { digest } of [...images, index]) expect(await lab.content.has(digest as never)).toBe(true);
  expect(await lab.layers.layers()).toHaveLength(1);
  expect(await lab.images.list()).toHaveLength(1);
  // 4 documents, 3 configs, 3 layers.
  expect((await lab.inventory()).blobs).toBe(10);
  await lab.images.remove(lab.at('multi:v1'));
  expect(await lab.inventory()).toEqual(nothing);
});

test('a pinned digest is compared with the bytes, also of an index', async () => {
  const lab = await openPullLab();
  const { manifest } = await lab.registry.seed('a', 'v1', { layers: [layer('x')] });
  const name = `a@${manifest.digest}`;
  lab.proxy.add({
    method: 'GET',
    path: /manifests/,
    times: 1,
    fault: { kind: 'alter', body: JSON.stringify({ schemaVersion: 2 }) },
  });
  await expect(lab.pull(name)).rejects.toThrow(/digest/);
  expect(await lab.inventory()).toEqual(nothing);
  await lab.pull(name);
  expect((await lab.images.inspect(lab.at(name))).repoTags).toEqual([]);
});

test('two pulls of one image share its downloads', async () => {
  const lab = await openPullLab();
  const big = layer('big', randomBytes(3_000_000));
  const { layers } = await lab.registry.seed('a', 'v1', { layers: [big] });
  await lab.registry.seed('a', 'v2', { layers: [big, layer('more')] });
  lab.proxy.add({ path: new RegExp(layers[0]!.digest), fault: { kind: 'drip', bytes: 500_000, everyMs: 30 } });
  await Promise.all([lab.pull('a:v1'), lab.pull('a:v2'), lab.pull('a:v1')]);
  const asked = askedFor(lab.proxy).filter((line) => line === `GET blobs ${layers[0]!.digest.slice(7, 19)}`);
  expect(asked).toHaveLength(1);
  expect((await lab.inventory()).unfinished).toEqual([]);
});

test('a broken connection goes on from the byte it had', async () => {
  const lab = await openPullLab();
  const { layers } = await lab.registry.seed('a', 'v1', { layers: [layer('big', randomBytes(5_000_000))] });
  lab.proxy.add({ path: new RegExp(layers[0]!.digest), times: 1, fault: { kind: 'cut', afterBytes: 2_500_000 } });
  await lab.pull('a:v1');
  const asked = askedFor(lab.proxy).filter((line) => line.startsWith(`GET blobs ${layers[0]!.digest.slice(7, 19)}`));
  expect(asked).toHaveLength(2);
  expect(asked[1]).toMatch(/ bytes=[1-9][0-9]{5,}-/);
});

test('a pull that was given up goes on from the byte it had', async () => {
  const lab = await openPullLab();
  const { layers } = await lab.registry.seed('a', 'v1', { layers: [layer('big', randomBytes(5_000_000))] });
  const digest = layers[0]!.digest;
  lab.proxy.add({ path: new RegExp(digest), times: 1, fault: { kind: 'stall', afterBytes: 3_000_000 } });
  const abort = new AbortController();
  for await (const { currentBytes } of lab.images.pull(lab.at('a:v1'), { signal: abort.signal })) {
    // Bytes are written a mebibyte at a time.
    if (currentBytes !== undefined && currentBytes > 2_500_000) break;
  }
  expect(await lab.inventory()).toMatchObject({
    blobs: 0,
    layers: 0,
    images: 0,
    unfinished: [digest.slice(7)],
    leases: 0,
  });
  lab.proxy.clear();
  await lab.pull('a:v1');
  const [asked] = askedFor(lab.proxy).filter((line) => line.startsWith(`GET blobs ${digest.slice(7, 19)}`));
  expect(asked).toMatch(/ bytes=[1-9][0-9]{5,}-/);
  expect((await lab.inventory()).unfinished).toEqual([]);
});

test('a reader that leaves stops the pull', async () => {
  const lab = await openPullLab();
  const { layers } = await lab.registry.seed('a', 'v1', { layers: [layer('big', randomBytes(2_000_000))] });
  lab.proxy.add({ path: new RegExp(layers[0]!.digest), fault: { kind: 'stall', afterBytes: 1000 } });
  const pulling = lab.images.pull(lab.at('a:v1'))[Symbol.asyncIterator]();
  await pulling.next();
  await pulling.return!(undefined);
  expect(await lab.inventory()).toMatchObject({ blobs: 0, layers: 0, images: 0, leases: 0 });
});

test('all tags of a repository', async () => {
  const lab = await openPullLab();
  for (const tag of ['v1', 'v2']) await lab.registry.seed('many', tag, { layers: [layer(tag)] });
  await lab.pull('many', { allTags: true });
  expect((await lab.images.list()).flatMap(({ repoTags }) => repoTags).sort()).toEqual([
    lab.at('many:v1'),
    lab.at('many:v2'),
  ]);
  await expect(lab.pull('many:v1', { allTags: true })).rejects.toThrow(/can't be used with --all-tags/);
});

interface Harm {
  what: string;
  fault(lab: PullLab): Promise<Rule[]> | Rule[];
  message: RegExp;
  kind?: string;
}

const everyBlob =
  (fault: Fault): (() => Rule[]) =>
  () => [{ method: 'GET', path: /blobs/, fault }];
const everyManifest =
  (fault: Fault): (() => Rule[]) =>
  () => [{ path: /manifests/, fault }];
const theLayer = (fault: Fault) => (lab: PullLab & { layer?: string }) => [{ path: new RegExp(lab.layer!), fault }];

const harms: Harm[] = [
  {
    what: 'connections cut again and again',
    fault: everyBlob({ kind: 'cut', afterBytes: 10 }),
    message: /broke|closed|cut|ended/,
  },
  { what: 'no answer', fault: everyBlob({ kind: 'refuse' }), message: /connection|socket|hang up/i },
  { what: 'a byte of a layer that is another', fault: theLayer({ kind: 'corrupt', atByte: 50 }), message: /digest/ },
  { what: 'a layer that is too short', fault: theLayer({ kind: 'length', bytes: 50 }), message: /50/ },
  {
    what: 'a layer that is too long',
    fault: theLayer({ kind: 'length', bytes: 1_000_000 }),
    message: /1000000|length|longer/,
  },
  {
    what: 'a 401 loop',
    fault: everyBlob({ kind: 'answer', status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }),
    message: /401|unauthorized|authentication/i,
  },
  {
    what: 'a layer that is not there',
    fault: theLayer({ kind: 'answer', status: 404 }),
    message: /404|not found|no blob/i,
    kind: 'NotFound',
  },
  {
    what: 'a manifest that is not there',
    fault: everyManifest({ kind: 'answer', status: 404 }),
    message: /not found/i,
    kind: 'NotFound',
  },
  {
    what: 'too many requests',
    fault: everyManifest({ kind: 'answer', status: 429, headers: { 'retry-after': '0' } }),
    message: /429|too many/i,
    kind: 'Unavailable',
  },
  {
    what: 'an error of the registry',
    fault: everyManifest({ kind: 'answer', status: 500 }),
    message: /500/,
    kind: 'Unavailable',
  },
  { what: 'a slow drip', fault: theLayer({ kind: 'drip', bytes: 1, everyMs: 200 }), message: /broke|slow/ },
  { what: 'a stall', fault: theLayer({ kind: 'stall', afterBytes: 20 }), message: /time|stall|nothing came|idle/i },
  {
    what: 'a manifest of 100 MB',
    fault: everyManifest({
      kind: 'flood',
      bytes: 100 << 20,
      headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      hasLength: true,
    }),
    message: /bytes/,
  },
  {
    what: 'an endless manifest',
    fault: everyManifest({
      kind: 'flood',
      bytes: 100 << 20,
      headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      hasLength: false,
    }),
    message: /bytes|large/,
  },
];

test.each(harms)('refuses $what, keeps nothing, and pulls the next time', async ({ fault, message, kind }) => {
  const lab = await openPullLab();
  const { layers } = await lab.registry.seed('a', 'v1', { layers: [layer('x', randomBytes(2000))] });
  const rules = await fault(Object.assign(lab, { layer: layers[0]!.digest }));
  lab.proxy.add(...rules);
  const failure = await lab.pull('a:v1').then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(messageOf(failure)).toMatch(message);
  expect(messageOf(failure)).toContain(lab.proxy.address);
  if (kind !== undefined) expect(kindOf(failure)).toBe(kind);
  // What came whole of a broken transfer may be taken up again; nobody sees it.
  expect(await lab.inventory()).toMatchObject({ blobs: 0, layers: 0, images: 0, leases: 0 });
  lab.proxy.clear();
  await lab.pull('a:v1');
  expect(await lab.inventory()).toMatchObject({ blobs: 3, layers: 1, images: 1, unfinished: [], leases: 0 });
});

interface Lie {
  what: string;
  seed(lab: PullLab): Promise<unknown>;
  message: RegExp;
}

async function putWith(lab: PullLab, change: (parts: { config: object; layers: object[] }) => object): Promise<void> {
  const { bytes } = await lab.registry.seed('liar', undefined, { layers: [layer('x', randomBytes(3000))] });
  const document = JSON.parse(bytes.toString());
  await lab.registry.putManifest('liar', { ...document, ...change(document) }, 'v1');
}

const lies: Lie[] = [
  {
    what: 'a layer whose size is another',
    seed: (lab) => putWith(lab, ({ layers }) => ({ layers: [{ ...layers[0], size: 100 }] })),
    message: /size|bytes/,
  },
  {
    what: 'a layer of a type that nobody unpacks',
    seed: (lab) => putWith(lab, ({ layers }) => ({ layers: [{ ...layers[0], mediaType: 'application/zip' }] })),
    message: /unknown type "application\/zip"/,
  },
  {
    what: 'a config that is another kind of thing',
    seed: (lab) => putWith(lab, ({ config }) => ({ config: { ...config, mediaType: 'application/vnd.chart' } })),
    message: /not a container image/,
  },
  {
    what: 'another layer than the config says',
    seed: (lab) =>
      lab.registry.seed('liar', 'v1', { layers: [layer('x')], manifest: {} }).then(async ({ config, bytes }) => {
        const other = await lab.registry.putBlob(
          'liar',
          gzipSync(layer('other')),
          'application/vnd.oci.image.layer.v1.tar+gzip',
        );
        await lab.registry.putManifest('liar', { ...JSON.parse(bytes.toString()), config, layers: [other] }, 'v1');
      }),
    message: /unpacks to diffID/,
  },
  {
    what: 'more layers than the config says',
    seed: (lab) => putWith(lab, ({ layers }) => ({ layers: [layers[0], layers[0]] as object[] })),
    message: /lists 2 layers, but its config 1/,
  },
  {
    what: 'an index in an index in an index',
    seed: async (lab) => {
      const { manifest } = await lab.registry.seed('liar', undefined, { layers: [layer('x')] });
      await nestedIndex(lab.registry, 'liar', 'v1', 8, manifest);
    },
    message: /nested more than/,
  },
  {
    what: 'a gzip bomb',
    seed: async (lab) => {
      const bomb = await lab.registry.putBlob(
        'liar',
        await gzipBomb(3 * 2 ** 30),
        'application/vnd.oci.image.layer.v1.tar+gzip',
      );
      await putWith(lab, () => ({ layers: [bomb] }));
    },
    message: /inflate|bomb|times|invalid tar|header|checksum/i,
  },
  {
    what: 'a layer that ends early',
    seed: async (lab) => {
      const cut = await lab.registry.putBlob(
        'liar',
        cutGzip(layer('x', randomBytes(3000))),
        'application/vnd.oci.image.layer.v1.tar+gzip',
      );
      await putWith(lab, () => ({ layers: [cut] }));
    },
    message: /truncated/,
  },
];

test.each(lies)('refuses $what, keeps nothing, and pulls another image', async ({ seed, message }) => {
  const lab = await openPullLab();
  await seed(lab);
  await expect(
    lab.pull('liar:v1', { platform: process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64' }),
  ).rejects.toThrow(message);
  expect(await lab.inventory()).toEqual(nothing);
  await lab.registry.seed('honest', 'v1', { layers: [layer('x')] });
  await lab.pull('honest:v1');
  expect((await lab.inventory()).images).toBe(1);
});
