import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { type Descriptor, type Digest, digestOf, hexOf } from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import { bytesOf } from './contract.ts';
import { type CopyOptions, type CopyProgress, copyImage } from './copy.ts';
import { MemorySource, noise, tarOf } from './memory-source.fixture.ts';
import { openDestination, openSource } from './open-transport.ts';
import { parseTransport } from './transport-name.ts';

const none = () => Promise.reject(new Error('files only'));
const parts = { registries: none, localSource: none, localDestination: none };
const tars = [tarOf({ base: noise('base', 300_000) }), tarOf({ top: 'top' })];

class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'tare-copy-'));
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
  at(form: string): string {
    return form.replace('PATH', join(this.path, 'image'));
  }
}

interface Document {
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
  manifests: Descriptor[];
  annotations?: object;
}

async function copyTo(source: MemorySource, text: string, options: CopyOptions = {}) {
  await using destination = await openDestination(parseTransport(text), parts);
  const { descriptor, bytes } = await copyImage(source, destination, options);
  return { descriptor, document: JSON.parse(bytes.toString()) as Document };
}

/** The bytes of a layer as they were written. */
async function written(text: string, layer: Descriptor): Promise<Buffer> {
  await using source = await openSource(parseTransport(text), parts);
  return await bytesOf(source.blob(layer));
}

test.each<{ to: string; packing: 'none' | 'gzip' | 'zstd'; docker?: boolean; options?: CopyOptions; want: string[] }>([
  // As skopeo: layouts and registries compress, archives of docker decompress, folders keep.
  { to: 'oci:PATH', packing: 'none', want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerGzip] },
  { to: 'oci:PATH', packing: 'zstd', want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerZstd] },
  { to: 'oci-archive:PATH', packing: 'none', want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerGzip] },
  { to: 'dir:PATH', packing: 'none', want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layer] },
  {
    to: 'docker-archive:PATH',
    packing: 'gzip',
    want: [mediaTypes.dockerManifest, mediaTypes.dockerConfig, mediaTypes.dockerLayer],
  },
  {
    to: 'docker-archive:PATH',
    packing: 'zstd',
    want: [mediaTypes.dockerManifest, mediaTypes.dockerConfig, mediaTypes.dockerLayer],
  },
  {
    to: 'oci:PATH',
    packing: 'gzip',
    docker: true,
    want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerGzip],
  },
  {
    to: 'dir:PATH',
    packing: 'gzip',
    docker: true,
    want: [mediaTypes.dockerManifest, mediaTypes.dockerConfig, mediaTypes.dockerLayerGzip],
  },
  {
    to: 'dir:PATH',
    packing: 'gzip',
    options: { format: 'v2s2' },
    want: [mediaTypes.dockerManifest, mediaTypes.dockerConfig, mediaTypes.dockerLayerGzip],
  },
  {
    to: 'dir:PATH',
    packing: 'zstd',
    options: { format: 'v2s2' },
    want: [mediaTypes.dockerManifest, mediaTypes.dockerConfig, mediaTypes.dockerLayerGzip],
  },
  {
    to: 'dir:PATH',
    packing: 'none',
    docker: true,
    options: { format: 'oci' },
    want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layer],
  },
  {
    to: 'dir:PATH',
    packing: 'none',
    options: { compress: true },
    want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerGzip],
  },
  {
    to: 'dir:PATH',
    packing: 'gzip',
    options: { decompress: true },
    want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layer],
  },
  {
    to: 'dir:PATH',
    packing: 'gzip',
    docker: true,
    options: { compress: true, compression: { format: 'zstd', level: 19 } },
    want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerZstd],
  },
  {
    to: 'oci:PATH',
    packing: 'zstd',
    options: { compression: { format: 'gzip', level: 9 } },
    want: [mediaTypes.manifest, mediaTypes.config, mediaTypes.layerGzip],
  },
])('$packing layers to $to with $options', async ({ to, packing, docker = false, options = {}, want }) => {
  using folder = new Folder();
  const source = new MemorySource();
  source.addImage(tars, { packing, docker });
  const { document, descriptor } = await copyTo(source, folder.at(to), options);
  const [manifest, config, layer] = want;
  expect(descriptor.mediaType).toBe(manifest);
  expect(document.mediaType).toBe(manifest);
  expect(document.config.mediaType).toBe(config);
  expect(document.layers.map(({ mediaType }) => mediaType)).toEqual([layer, layer]);
  // The config says which uncompressed tars belong to it, and it is the same.
  const original = JSON.parse(source.rootDocument!.bytes.toString()) as Document;
  expect(document.config.digest).toBe(original.config.digest);
  for (const [index, one] of document.layers.entries()) {
    const bytes = await written(folder.at(to), one);
    const unpack = one.mediaType.includes('zstd')
      ? zstdDecompressSync
      : one.mediaType.includes('gzip')
        ? gunzipSync
        : (plain: Buffer) => plain;
    expect(unpack(bytes).equals(tars[index]!)).toBe(true);
  }
});

test.each<{ wish: string; to: string; options: CopyOptions; problem: RegExp }>([
  {
    wish: 'compress and decompress',
    to: 'dir:PATH',
    options: { compress: true, decompress: true },
    problem: /not both/,
  },
  {
    wish: 'zstd in schema 2',
    to: 'dir:PATH',
    options: { format: 'v2s2', compress: true, compression: { format: 'zstd' } },
    problem: /no layers compressed with zstd/,
  },
  {
    wish: 'gzip at level 12',
    to: 'dir:PATH',
    options: { compress: true, compression: { format: 'gzip', level: 12 } },
    problem: /gzip has 0 to 9/,
  },
  {
    wish: 'schema 2 in a layout',
    to: 'oci:PATH',
    options: { format: 'v2s2' },
    problem: /cannot hold manifests in the format v2s2/,
  },
  {
    wish: 'the same digests, decompressed',
    to: 'dir:PATH',
    options: { decompress: true, preserveDigests: true },
    problem: /digests are to be kept/,
  },
  {
    wish: 'the same digests in another format',
    to: 'dir:PATH',
    options: { format: 'v2s2', preserveDigests: true },
    problem: /would have to change .* digests are to be kept/,
  },
  {
    wish: 'the same digests in an archive without manifests',
    to: 'docker-archive:PATH',
    options: { preserveDigests: true },
    problem: /would have to change/,
  },
  {
    wish: 'referrers in an archive',
    to: 'docker-archive:PATH',
    options: { withReferrers: true },
    problem: /no room for referrers/,
  },
])('$wish is refused, and leaves nothing', async ({ to, options, problem }) => {
  using folder = new Folder();
  const source = new MemorySource();
  source.addImage(tars);
  await expect(copyTo(source, folder.at(to), options)).rejects.toThrow(problem);
  expect(existsSync(join(folder.path, 'image/index.json'))).toBe(false);
  expect(existsSync(join(folder.path, 'image/manifest.json'))).toBe(false);
  expect(readdirSync(folder.path).filter((name) => name !== 'image')).toEqual([]);
});

function threePlatforms(source: MemorySource, docker = false): Descriptor[] {
  return ['amd64', 'arm64', 's390x'].map((architecture) => {
    const platform = { architecture, os: 'linux' };
    // The base is the same for all: it goes once.
    return { ...source.addImage([tars[0]!, tarOf({ architecture })], { platform, docker }), platform };
  });
}

test('of an index, the image for the platform that is asked for', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const images = threePlatforms(source);
  source.addIndex(images);
  const platform = { os: 'linux', architecture: 's390x' };
  const { descriptor } = await copyTo(source, folder.at('dir:PATH'), { platform });
  expect(descriptor.digest).toBe(images[2]!.digest);
  const riscv = { os: 'linux', architecture: 'riscv64' };
  await expect(copyTo(source, folder.at('oci:PATH2'), { platform: riscv })).rejects.toThrow(
    /no image for linux\/riscv64: it has linux\/amd64, linux\/arm64, linux\/s390x/,
  );
});

test('an index inside of an index goes with all, and equal blobs go once', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const images = threePlatforms(source);
  const inner = source.addIndex(images.slice(1));
  const outer = source.addIndex([images[0]!, inner]);
  const { descriptor } = await copyTo(source, folder.at('oci:PATH'), { instances: 'all' });
  expect(descriptor).toEqual(outer);
  expect(new Set(source.asked).size).toBe(source.asked.length);
  expect(readdirSync(join(folder.path, 'image/blobs/sha256'))).toHaveLength(5 + 3 + 4);
});

test('of an index alone, nothing that it lists', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const index = source.addIndex(threePlatforms(source));
  const { descriptor } = await copyTo(source, folder.at('oci:PATH'), { instances: 'index-only' });
  expect(descriptor).toEqual(index);
  expect(source.asked).toEqual([]);
});

test('an index is rewritten when its manifests change, and provenance follows its image', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const images = threePlatforms(source, true);
  const attestation = {
    ...source.addArtifact('provenance', { artifactType: undefined }),
    platform: { architecture: 'unknown', os: 'unknown' },
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': images[1]!.digest,
    },
  };
  source.addIndex([...images, attestation], mediaTypes.dockerIndex, { annotations: { kept: 'yes' } });
  const { document, descriptor } = await copyTo(source, folder.at('oci:PATH'), { instances: 'all' });
  expect(descriptor.mediaType).toBe(mediaTypes.index);
  expect(document.annotations).toEqual({ kept: 'yes' });
  const [, arm, , provenance] = document.manifests;
  expect(arm).toMatchObject({ mediaType: mediaTypes.manifest, platform: { architecture: 'arm64', os: 'linux' } });
  expect(arm!.digest).not.toBe(images[1]!.digest);
  expect(provenance!.digest).toBe(attestation.digest);
  expect(provenance!.annotations!['vnd.docker.reference.digest']).toBe(arm!.digest);
  expect(existsSync(join(folder.path, 'image/blobs/sha256', hexOf(arm!.digest)))).toBe(true);
});

test('a layer that is not to be distributed stays a name, or is taken along on request', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const [base] = tars;
  const foreign = source.addBlob(gzipSync(base!), 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', {
    urls: ['https://example.invalid/layer'],
  });
  source.addImage([base!], { docker: true, manifest: { layers: [foreign] } });
  const { document } = await copyTo(source, folder.at('oci:PATH'));
  const nondistributable = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
  expect(document.layers).toEqual([{ ...foreign, mediaType: nondistributable }]);
  expect(source.asked).not.toContain(foreign.digest);
  await expect(copyTo(source, folder.at('docker-archive:PATH.tar'))).rejects.toThrow(/not to be distributed/);
  await copyTo(source, folder.at('oci:PATH'), { foreignLayers: true });
  expect((await written(folder.at('oci:PATH'), document.layers[0]!)).equals(gzipSync(base!))).toBe(true);
});

test('signatures go along where they can, and forbid to change what they speak of', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const image = source.addImage(tars);
  source.signatureOf.set('root', [Buffer.from('first'), Buffer.from('second')]);
  await copyTo(source, folder.at('dir:PATH'));
  await using copy = await openSource(parseTransport(folder.at('dir:PATH')), parts);
  expect((await copy.signatures()).map(String)).toEqual(['first', 'second']);
  await expect(copyTo(source, folder.at('oci:PATH2'))).rejects.toThrow(
    /cannot keep the signatures .*--remove-signatures/,
  );
  await expect(copyTo(source, folder.at('dir:PATH3'), { format: 'v2s2' })).rejects.toThrow(/but it is signed/);
  const { descriptor } = await copyTo(source, folder.at('oci:PATH2'), { removeSignatures: true });
  expect(descriptor).toEqual(image);
});

test('signatures of one image of an index stay its own', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const images = threePlatforms(source);
  source.addIndex(images);
  source.signatureOf.set('root', [Buffer.from('of the index')]);
  source.signatureOf.set(images[1]!.digest, [Buffer.from('of one')]);
  await copyTo(source, folder.at('dir:PATH'), { instances: 'all' });
  await using all = await openSource(parseTransport(folder.at('dir:PATH')), parts);
  expect((await all.signatures()).map(String)).toEqual(['of the index']);
  expect((await all.signatures(images[1]!.digest)).map(String)).toEqual(['of one']);
  const platform = { architecture: 'arm64', os: 'linux' };
  await copyTo(source, folder.at('dir:PATH2'), { platform });
  await using one = await openSource(parseTransport(folder.at('dir:PATH2')), parts);
  expect((await one.signatures()).map(String)).toEqual(['of one']);
  await expect(copyTo(source, folder.at('dir:PATH3'), { platform, format: 'v2s2' })).rejects.toThrow(/it is signed/);
});

test('a layout keeps what others wrote into it, and takes several images at once', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  source.addImage(tars);
  await copyTo(source, folder.at('oci:PATH:first'));
  const file = join(folder.path, 'image/index.json');
  const read = () => JSON.parse(readFileSync(file, 'utf8')) as { manifests: (Descriptor & object)[] };
  const { manifests, ...rest } = read();
  const kept = { ...manifests[0]!, 'x-own': 1, data: 'e30=' };
  writeFileSync(file, JSON.stringify({ ...rest, annotations: { is: 'kept' }, manifests: [kept] }));
  const names = ['a', 'b', 'c', 'd', 'e'];
  await Promise.all(
    names.map(async (name) => {
      const other = new MemorySource();
      other.addImage([tarOf({ name })]);
      await copyTo(other, folder.at(`oci:PATH:${name}`));
    }),
  );
  const index = read();
  expect(index).toMatchObject({ annotations: { is: 'kept' } });
  expect(index.manifests).toContainEqual(kept);
  const found = index.manifests.map(({ annotations }) => annotations?.['org.opencontainers.image.ref.name']);
  expect(found.sort()).toEqual([...names, 'first'].sort());
  // A name moves; who had it stays, without.
  await copyTo(source, folder.at('oci:PATH:a'));
  expect(read().manifests.filter(({ annotations }) => annotations === undefined)).toHaveLength(1);
});

test('what refers to an image goes along on request: referrers of referrers, and tags of cosign', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const sbom = source.addArtifact('an sbom');
  const signature = source.addArtifact('a signature of the sbom');
  const cosign = source.addArtifact('a signature of cosign');
  const cosignDocument = source.rootDocument!;
  const image = source.addImage(tars);
  source.attached.push({ subject: image.digest, descriptor: sbom }, { subject: sbom.digest, descriptor: signature });
  const tag = `sha256-${hexOf(image.digest)}.sig`;
  source.tags.set(tag, cosignDocument);
  const { descriptor } = await copyTo(source, folder.at('oci:PATH:v1'), { withReferrers: true });
  expect(descriptor).toEqual(image);
  const index = JSON.parse(readFileSync(join(folder.path, 'image/index.json'), 'utf8')) as { manifests: Descriptor[] };
  const named = (digest: Digest) =>
    index.manifests.find((entry) => entry.digest === digest)?.annotations?.['org.opencontainers.image.ref.name'];
  expect(index.manifests.map(({ digest }) => digest).sort()).toEqual(
    [image.digest, sbom.digest, signature.digest, cosign.digest].sort(),
  );
  expect(named(image.digest)).toBe('v1');
  expect(named(cosign.digest)).toBe(tag);
  // Without a name the layout still means its image.
  await using copy = await openSource(parseTransport(folder.at('oci:PATH')), parts);
  expect((await copy.root()).descriptor.digest).toBe(image.digest);
  expect((await copy.tagged(tag))?.descriptor.digest).toBe(cosign.digest);
});

test('blobs go side by side, at most as many as are allowed, and each tells what became of it', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  source.addImage(Array.from({ length: 9 }, (_, index) => tarOf({ [`file${index}`]: noise(`${index}`, 50_000) })));
  let running = 0;
  let most = 0;
  const read = source.blob.bind(source);
  source.blob = async function* (...args) {
    running += 1;
    most = Math.max(most, running);
    for await (const chunk of read(...args)) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      yield chunk;
    }
    running -= 1;
  };
  const seen: CopyProgress[] = [];
  await copyTo(source, folder.at('dir:PATH'), { concurrency: 3, onProgress: (step) => seen.push({ ...step }) });
  expect(most).toBe(3);
  expect(seen.filter(({ state }) => state === 'done')).toHaveLength(11);
  expect(seen.filter(({ state, copiedBytes }) => state === 'copying' && copiedBytes > 0).length).toBeGreaterThan(9);
  seen.length = 0;
  await copyTo(source, folder.at('dir:PATH'), { onProgress: (step) => seen.push({ ...step }) });
  expect(seen.filter(({ state }) => state === 'existed')).toHaveLength(10);
});

test('a copy that is told to stop stops, and what it had is taken up', async () => {
  using folder = new Folder();
  const source = new MemorySource();
  const bytes = noise('long', 400_000);
  source.addImage([tarOf({ long: bytes })], { packing: 'none' });
  const stop = new AbortController();
  const stopping = copyTo(source, folder.at('dir:PATH'), {
    signal: stop.signal,
    onProgress: ({ copiedBytes }) => copiedBytes > 100_000 && stop.abort(new Error('enough')),
  });
  await expect(stopping).rejects.toThrow('enough');
  expect(readdirSync(join(folder.path, 'image'))).not.toContain('manifest.json');
  const offsets: number[] = [];
  const read = source.blob.bind(source);
  source.blob = (descriptor, range) => {
    offsets.push(range?.offset ?? 0);
    return read(descriptor, range);
  };
  const { document } = await copyTo(source, folder.at('dir:PATH'));
  expect(Math.max(...offsets)).toBeGreaterThan(90_000);
  expect(digestOf(await written(folder.at('dir:PATH'), document.layers[0]!))).toBe(document.layers[0]!.digest);
  expect(readdirSync(join(folder.path, 'image')).filter((name) => name.startsWith('.'))).toEqual([]);
});

test.each(['oci-archive:PATH', 'docker-archive:PATH'])(
  '%s: stopped, it leaves nothing; another writer waits his turn',
  async (form) => {
    using folder = new Folder();
    const source = new MemorySource();
    source.addImage([tarOf({ long: noise('long', 400_000) })], { packing: 'none' });
    // What a killed process left.
    writeFileSync(join(folder.path, '.image.tare-partial'), 'x'.repeat(5_000_000));
    const stop = new AbortController();
    const stopping = copyTo(source, folder.at(form), {
      signal: stop.signal,
      onProgress: ({ copiedBytes }) => copiedBytes > 100_000 && stop.abort(new Error('enough')),
    });
    await expect(stopping).rejects.toThrow('enough');
    expect(readdirSync(folder.path)).toEqual([]);
    {
      await using _first = await openDestination(parseTransport(folder.at(form)), parts);
      await expect(copyTo(source, folder.at(form))).rejects.toThrow(/written by another process/);
    }
    await copyTo(source, folder.at(form));
    expect(readdirSync(folder.path)).toEqual(['image']);
    await using written = await openSource(parseTransport(folder.at(form)), parts);
    expect((await written.root()).bytes.byteLength).toBeGreaterThan(0);
  },
);
