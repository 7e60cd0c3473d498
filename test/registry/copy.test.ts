import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ImageLab, imageOf, ociFiles, plainLayer, tarOf } from '../../src/engine/image-archives.fixture.ts';
import {
  type CopyOptions,
  copyImage,
  mediaTypes,
  openDestination,
  openSource,
  parseTransport,
  type Registries,
} from '../../src/image/index.ts';
import { type Descriptor, type Digest, digestOf, hexOf } from '../../src/storage/index.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { opened, plainConf } from './opened.ts';

const layers = [plainLayer({ 'etc/base': 'base '.repeat(20_000) }), plainLayer({ 'etc/top': 'top' })].map(
  ({ plain }) => ({ plain, stored: gzipSync(plain), mediaType: mediaTypes.layerGzip }),
);
const image = imageOf(layers);
const config = digestOf(image.config);
const manifest = digestOf(image.manifest);

let registry: TestRegistry;
let registries: Registries & Disposable;
let lab: ImageLab;
let folder: string;

beforeAll(async () => {
  registry = await startRegistry();
  registries = opened();
  lab = await ImageLab.open();
  folder = mkdtempSync(join(tmpdir(), 'tare-copy-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await lab[Symbol.asyncDispose]();
  registries[Symbol.dispose]();
  await registry[Symbol.asyncDispose]();
});

async function copy(from: string, to: string, options: CopyOptions = {}, over = registries) {
  const parts = {
    registries: async () => over,
    localSource: (name: string) => lab.images.openSource(name, { all: options.instances === 'all' }),
    localDestination: (name: string) => lab.images.openDestination(name, { all: options.instances === 'all' }),
  };
  await using source = await openSource(parseTransport(from), parts);
  await using destination = await openDestination(parseTransport(to), parts);
  return await copyImage(source, destination, options);
}

const skopeo = (...args: string[]) =>
  execFileSync('skopeo', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const skopeoCopy = (from: string, to: string, ...options: string[]) =>
  skopeo('--insecure-policy', 'copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...options, from, to);

/** A place of this kind, by its transport and a word of its own. */
function place(transport: string, word: string): string {
  const forms: Record<string, string> = {
    docker: `docker://${registry.address}/${word}:v1`,
    oci: `oci:${folder}/${word}:v1`,
    'oci-archive': `oci-archive:${folder}/${word}.tar:v1`,
    'docker-archive': `docker-archive:${folder}/${word}.tar:${word}:v1`,
    dir: `dir:${folder}/${word}`,
    local: `local:${word}:v1`,
  };
  return forms[transport]!;
}

/** What skopeo finds at a place: it must be this image, whatever its layers are compressed with. */
function judge(location: string, word: string): { mediaType?: string; layers: Descriptor[] } {
  const judged = join(folder, `judged-${word}`);
  skopeoCopy(location, `dir:${judged}`);
  const found = JSON.parse(readFileSync(join(judged, 'manifest.json'), 'utf8')) as {
    mediaType?: string;
    config: { digest: Digest };
    layers: Descriptor[];
  };
  expect(found.config.digest).toBe(config);
  const plain = found.layers.map(({ digest }) => {
    const bytes = readFileSync(join(judged, hexOf(digest)));
    return digestOf(bytes[0] === 0x1f ? gunzipSync(bytes) : bytes);
  });
  expect(plain).toEqual(layers.map((layer) => digestOf(layer.plain)));
  rmSync(judged, { recursive: true });
  return found;
}

const transports = ['docker', 'oci', 'oci-archive', 'docker-archive', 'dir', 'local'];

describe.each(transports)('from %s', (from) => {
  const word = `from-${from}`;
  beforeAll(async () => {
    // skopeo writes what we read; our own store takes it from us.
    const seed = join(folder, `seed-${from}`);
    execFileSync('mkdir', [seed]);
    execFileSync('tar', ['-x', '-C', seed], { input: tarOf(ociFiles([{ image }])) });
    if (from === 'local') await copy(`oci:${seed}`, place(from, word));
    else skopeoCopy(`oci:${seed}`, place(from, word));
  });

  test.each(transports)(`to %s: the same image, as skopeo sees it`, async (to) => {
    const target = `${from}-to-${to}`;
    const { descriptor } = await copy(place(from, word), place(to, target));
    // Docker's archives have no manifest and keep layers uncompressed; else nothing has a reason to change.
    const isKept = from !== 'docker-archive' && to !== 'docker-archive';
    if (isKept) expect(descriptor.digest).toBe(manifest);
    if (to === 'local') {
      const stored = await lab.images.inspect(`${target}:v1`);
      expect(stored).toMatchObject({ id: config, manifest: { digest: descriptor.digest } });
      return;
    }
    const found = judge(place(to, target), target);
    if (isKept) expect(found.layers.map(({ digest }) => digest)).toEqual(layers.map(({ stored }) => digestOf(stored)));
  });
});

/** An index of three platforms, with an index in it, in the registry. */
async function seedIndex(repository: string) {
  const platforms = ['amd64', 'arm64', 's390x'].map((architecture) => ({ architecture, os: 'linux' }));
  const images = await Promise.all(
    platforms.map(async (platform) => ({
      ...(
        await registry.seed(repository, undefined, {
          layers: [layers[0]!.plain, tarOf({ architecture: platform.architecture })],
          platform,
        })
      ).manifest,
      platform,
    })),
  );
  return await registry.seedIndex(repository, 'v1', images);
}

test.each(['oci', 'oci-archive', 'dir', 'local'])('an index goes to %s with all its images, and back', async (by) => {
  const index = await seedIndex(`all/${by}`);
  const source = `docker://${registry.address}/all/${by}:v1`;
  const there = await copy(source, place(by, `all-${by}`), { instances: 'all' });
  expect(there.descriptor.digest).toBe(index.digest);
  const back = `docker://${registry.address}/back/${by}:v1`;
  expect((await copy(place(by, `all-${by}`), back, { instances: 'all' })).descriptor.digest).toBe(index.digest);
  const raw = skopeo('inspect', '--tls-verify=false', '--raw', back);
  expect(digestOf(raw)).toBe(index.digest);
  skopeoCopy(back, `dir:${folder}/judged-all-${by}`, '--all');
});

test('skopeo reads an index from our layout, and we read its', async () => {
  const index = await seedIndex('judge/index');
  const source = `docker://${registry.address}/judge/index:v1`;
  skopeoCopy(source, `oci:${folder}/by-skopeo:v1`, '--all');
  const ours = await copy(`oci:${folder}/by-skopeo:v1`, `oci:${folder}/by-us:v1`, { instances: 'all' });
  expect(ours.descriptor.digest).toBe(index.digest);
  skopeoCopy(`oci:${folder}/by-us:v1`, `oci-archive:${folder}/by-skopeo.tar:v1`, '--all');
  const again = await copy(`oci-archive:${folder}/by-skopeo.tar:v1`, `dir:${folder}/by-us-dir`, { instances: 'all' });
  expect(again.descriptor.digest).toBe(index.digest);
});

test('umoci unpacks what we wrote to a layout', async () => {
  await copy(place('oci', 'from-oci'), `oci:${folder}/for-umoci:v1`);
  const bundle = join(folder, 'bundle');
  execFileSync('umoci', ['raw', 'unpack', '--rootless', '--image', `${folder}/for-umoci:v1`, bundle], {
    stdio: 'ignore',
  });
  expect(readFileSync(join(bundle, 'etc/top'), 'utf8')).toBe('top');
});

test('an artifact goes from registry to layout and back, with what refers to it', async () => {
  const repository = 'charts/a';
  const empty = await registry.putBlob(repository, Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
  const chart = await registry.putBlob(repository, Buffer.from('a chart'), 'application/vnd.cncf.helm.chart.v1.tar');
  const base = { schemaVersion: 2, mediaType: mediaTypes.manifest, config: empty, layers: [chart] };
  const artifact = await registry.putManifest(repository, { ...base, artifactType: 'application/chart' }, 'v1');
  const { bytes: _, ...subject } = artifact;
  const sbom = await registry.putManifest(repository, { ...base, artifactType: 'application/sbom', subject });
  // Debian's registry has no referrers API: whoever pushes keeps a tag.
  await registry.seedIndex(repository, artifact.digest.replace(':', '-'), [
    { mediaType: sbom.mediaType, digest: sbom.digest, size: sbom.size },
  ]);
  const signature = await registry.putManifest(
    repository,
    { ...base, annotations: { is: 'a signature' } },
    `${artifact.digest.replace(':', '-')}.sig`,
  );
  await copy(`docker://${registry.address}/${repository}:v1`, `oci:${folder}/chart:v1`, { withReferrers: true });
  const there = `docker://${registry.address}/charts/b:v1`;
  await copy(`oci:${folder}/chart:v1`, there, { withReferrers: true });
  const copied = registries.repository({ domain: registry.address, path: 'charts/b' });
  expect((await copied.resolve({ tag: 'v1' })).digest).toBe(artifact.digest);
  expect((await copied.referrers(artifact.digest as Digest)).map(({ digest }) => digest)).toEqual([sbom.digest]);
  const tag = `${artifact.digest.replace(':', '-')}.sig`;
  expect((await copied.resolve({ tag })).digest).toBe(signature.digest);
});

test('between repositories of one registry blobs are mounted, and what is there is not sent', async () => {
  await using proxy = await startFaultProxy(registry);
  await registry.seed('mount/from', 'v1', { layers: layers.map(({ plain }) => plain) });
  const at = (path: string) => `docker://${proxy.address}/${path}:v1`;
  await copy(at('mount/from'), at('mount/to'));
  const sent = () => proxy.requests.filter(({ method }) => method === 'PUT' || method === 'PATCH');
  expect(sent().map(({ path }) => path)).toEqual([expect.stringContaining('/manifests/v1')]);
  expect(proxy.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))).toEqual([]);
  proxy.clear();
  await copy(at('mount/from'), at('mount/to'));
  expect(sent().map(({ path }) => path)).toEqual([expect.stringContaining('/manifests/v1')]);
});

test('a connection that breaks is taken up again, on both sides of a copy', async () => {
  await using other = await startRegistry();
  await using source = await startFaultProxy(registry);
  await using destination = await startFaultProxy(other);
  const big = tarOf({ big: Buffer.from(Array.from({ length: 600_000 }, (_, index) => (index * 2654435761) >>> 24)) });
  const { manifest: seeded } = await registry.seed('broken/a', 'v1', { layers: [big], compression: 'none' });
  source.add({ method: 'GET', path: /blobs/, times: 2, fault: { kind: 'cut', afterBytes: 200_000 } });
  destination.add({ method: 'PATCH', path: /uploads/, times: 1, fault: { kind: 'cut-upload', afterBytes: 100_000 } });
  const copied = await copy(`docker://${source.address}/broken/a:v1`, `docker://${destination.address}/b:v1`, {
    preserveDigests: true,
  });
  expect(copied.descriptor.digest).toBe(seeded.digest);
  const stored = other.request('GET', `/v2/b/manifests/${seeded.digest}`, { accept: mediaTypes.manifest });
  expect((await stored).status).toBe(200);
});

test.each([
  { what: 'wrong bytes', fault: { kind: 'corrupt' as const, atByte: 1000 }, want: /digest/ },
  { what: 'a blob that is gone', fault: { kind: 'answer' as const, status: 404 }, want: /404|not found|unknown/i },
])('$what at the source: an error, and no image', async ({ fault, want }) => {
  await using source = await startFaultProxy(registry);
  await registry.seed('spoilt/a', 'v1', { layers: layers.map(({ plain }) => plain), compression: 'none' });
  source.add({ method: 'GET', path: /blobs/, fault });
  const to = `docker://${registry.address}/spoilt/${fault.kind}:v1`;
  await expect(copy(`docker://${source.address}/spoilt/a:v1`, to)).rejects.toThrow(want);
  const repository = registries.repository({ domain: registry.address, path: `spoilt/${fault.kind}` });
  await expect(repository.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'NotFound' });
});

test('what a mirror does not have comes from the registry itself', async () => {
  await using mirrored = await startRegistry();
  await using mirror = await startFaultProxy(mirrored);
  await registry.seed('mirrored/a', 'v1', { layers: layers.map(({ plain }) => plain) });
  await copy(`docker://${registry.address}/mirrored/a:v1`, `docker://${mirrored.address}/mirrored/a:v1`);
  const conf: Parameters<typeof opened>[0] = {
    conf: {
      ...plainConf,
      lookup: (reference) =>
        [mirror.address, registry.address].map((domain) => ({
          ...plainConf.lookup(reference)[0]!,
          ...{ domain, isMirror: domain === mirror.address },
        })),
    },
  };
  using over = opened(conf);
  const from = `docker://${registry.address}/mirrored/a:v1`;
  mirror.add({ method: 'GET', path: /blobs/, skip: 1, fault: { kind: 'answer', status: 404 } });
  const { descriptor } = await copy(from, `dir:${folder}/mirrored`, {}, over);
  expect(mirror.requests.some(({ path }) => path.includes('/manifests/'))).toBe(true);
  mirror.clear();
  mirror.add({ fault: { kind: 'refuse' } });
  const again = await copy(from, `dir:${folder}/mirrored-again`, {}, over);
  expect(again.descriptor).toEqual(descriptor);
});
