import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { toByteString } from '../../linux/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  encodeFile,
  encodeHeader,
  endOfArchive,
  hexOf,
} from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import { type CopyOptions, copyImage } from './copy.ts';
import { MemorySource, noise, tarOf } from './memory-source.fixture.ts';
import { openDestination, openSource } from './open-transport.ts';
import { parseTransport } from './transport-name.ts';

const none = () => Promise.reject(new Error('files only'));
const parts = { registries: none, localSource: none, localDestination: none };
const tars = [tarOf({ base: noise('base', 30_000) }), tarOf({ top: 'top' })];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-hostile-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function copy(from: string, to = `oci:${folder}/copy`, options: CopyOptions = {}) {
  await using source = await openSource(parseTransport(from), parts);
  await source.root();
  await using destination = await openDestination(parseTransport(to), parts);
  return await copyImage(source, destination, options);
}

async function store(source: MemorySource, to: string, options: CopyOptions = {}) {
  await using destination = await openDestination(parseTransport(to), parts);
  return await copyImage(source, destination, options);
}

/** Files of an OCI layout with one image, and its documents. */
function layout(options: Parameters<MemorySource['addImage']>[1] = {}) {
  const source = new MemorySource();
  const manifest = source.addImage(tars, options);
  const files: Record<string, string | Buffer> = {
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    'index.json': JSON.stringify({ schemaVersion: 2, manifests: [manifest] }),
    [blobFile(manifest)]: source.rootDocument!.bytes,
  };
  for (const [digest, bytes] of source.blobs) files[`blobs/${digest.replace(':', '/')}`] = bytes;
  const { layers, config } = JSON.parse(source.rootDocument!.bytes.toString()) as {
    layers: Descriptor[];
    config: Descriptor;
  };
  return { files, manifest, layers, config };
}

const blobFile = ({ digest }: Descriptor) => `blobs/${digest.replace(':', '/')}`;

function writeFolder(files: Record<string, string | Buffer>, name = 'layout'): string {
  for (const [path, bytes] of Object.entries(files)) {
    const file = join(folder, name, path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, bytes);
  }
  return join(folder, name);
}

function writeTar(files: Record<string, string | Buffer>, extra: readonly Buffer[] = []): string {
  const path = join(folder, 'image.tar');
  const entries = Object.entries(files).map(([name, bytes]) => encodeFile(name, bytes));
  writeFileSync(path, Buffer.concat([...entries, ...extra, endOfArchive()]));
  return path;
}

type Files = ReturnType<typeof layout>;

test.each<{ what: string; spoil(image: Files): void; want: RegExp }>([
  { what: 'no index', spoil: ({ files }) => void delete files['index.json'], want: /no index.json/ },
  { what: 'no JSON', spoil: ({ files }) => Object.assign(files, { ['index.json']: '{' }), want: /not valid JSON/ },
  {
    what: 'a huge index',
    spoil: ({ files }) => Object.assign(files, { ['index.json']: Buffer.alloc(17 << 20, 0x20) }),
    want: /index.json has 17825792 bytes, at most 16777216/,
  },
  {
    what: 'an empty index',
    spoil: ({ files }) => Object.assign(files, { ['index.json']: '{"schemaVersion":2,"manifests":[]}' }),
    want: /holds no image/,
  },
  {
    what: 'a manifest that is not there',
    spoil: ({ files, manifest }) => void delete files[blobFile(manifest)],
    want: /\(application\/vnd.oci.image.manifest.v1\+json\) is missing/,
  },
  {
    what: 'another manifest',
    spoil: ({ files, manifest }) => Object.assign(files, { [blobFile(manifest)]: '{"schemaVersion":2}' }),
    want: /has digest .*, expected/,
  },
  {
    what: 'a 5 MiB manifest',
    spoil: ({ files, manifest }) => Object.assign(files, { [blobFile(manifest)]: Buffer.alloc(5 << 20, 0x20) }),
    want: /has 5242880 bytes, at most 4194304 are allowed for a manifest/,
  },
  {
    what: 'a layer that is not there',
    spoil: ({ files, layers }) => void delete files[blobFile(layers[1]!)],
    want: /layer.* is missing|\+gzip\) is missing/,
  },
  {
    what: 'a layer of other bytes',
    spoil: ({ files, layers }) => void (files[blobFile(layers[0]!)] as Buffer).fill(0, 20, 24),
    want: /blob sha256:.* has digest .*, expected/,
  },
  {
    what: 'a layer that ends early',
    spoil: ({ files, layers }) =>
      Object.assign(files, { [blobFile(layers[0]!)]: (files[blobFile(layers[0]!)] as Buffer).subarray(0, -1) }),
    want: /bytes, its descriptor says/,
  },
  {
    what: 'a config of other bytes',
    spoil: ({ files, config }) => void (files[blobFile(config)] as Buffer).fill(0x20, 1, 2),
    want: /has digest .*, expected/,
  },
])('a layout with $what: nothing is copied, from a folder or a tar', async ({ spoil, want }) => {
  const image = layout();
  spoil(image);
  const folderPath = writeFolder(image.files);
  await expect(copy(`oci:${folderPath}`, `dir:${folder}/copy`)).rejects.toThrow(want);
  await expect(copy(`oci-archive:${writeTar(image.files)}`)).rejects.toThrow(want);
  expect(existsSync(join(folder, 'copy/index.json'))).toBe(false);
  expect(existsSync(join(folder, 'copy/manifest.json'))).toBe(false);
});

test('a layout whose blob is a link out of it, or a pipe, is refused', async () => {
  const { files, layers } = layout();
  const path = writeFolder(files);
  const blob = join(path, blobFile(layers[0]!));
  const outside = join(folder, 'secret');
  writeFileSync(outside, readFileSync(blob));
  rmSync(blob);
  symlinkSync(outside, blob);
  await expect(copy(`oci:${path}`)).rejects.toThrow(/points outside of the folder/);
  rmSync(blob);
  execFileSync('mkfifo', [blob]);
  await expect(copy(`oci:${path}`)).rejects.toThrow(/is not a regular file/);
});

test('an archive cut anywhere is refused, and nothing is kept', async () => {
  const { files } = layout();
  const path = writeTar(files);
  const whole = readFileSync(path);
  const lastEntry = whole.byteLength - endOfArchive().byteLength;
  for (const size of [0, 100, 512, 700, 3000, lastEntry >> 1, lastEntry - 600]) {
    writeFileSync(path, whole.subarray(0, size));
    await expect(copy(`oci-archive:${path}`), `${size} bytes`).rejects.toThrow(/truncated|no index.json|missing/);
  }
});

test.each<{ what: string; entry: Buffer; want: RegExp }>([
  {
    what: 'a name that leads outside',
    entry: encodeFile('../../etc/passwd', 'x'),
    want: /points outside of the archive/,
  },
  { what: 'an absolute name', entry: encodeFile('/etc/passwd', 'x'), want: /points outside of the archive/ },
  {
    what: 'a link that leads outside',
    entry: encodeHeader({ path: toByteString('a'), type: 'link', linkTarget: toByteString('../../x') }),
    want: /points outside of the archive/,
  },
  { what: 'rubbish', entry: Buffer.alloc(512, 'x'), want: /wrong checksum/ },
])('an archive with $what is refused', async ({ entry, want }) => {
  await expect(copy(`oci-archive:${writeTar(layout().files, [entry])}`)).rejects.toThrow(want);
});

test('links in an archive that lead to each other come to an end', async () => {
  const { files, layers } = layout();
  delete files[blobFile(layers[0]!)];
  const name = blobFile(layers[0]!);
  const link = (path: string, target: string) =>
    encodeHeader({ path: toByteString(path), type: 'link', linkTarget: toByteString(target) });
  const path = writeTar(files, [link(name, 'loop'), link('blobs/sha256/loop', 'loop')]);
  await expect(copy(`oci-archive:${path}`)).rejects.toThrow(/too many links/);
});

test('a sparse entry is refused', async () => {
  const { files } = layout();
  const path = writeFolder(files);
  const fd = openSync(join(path, 'hole'), 'w');
  closeSync(fd);
  truncateSync(join(path, 'hole'), 1 << 20);
  execFileSync('tar', ['--sparse', '-C', path, '-cf', join(folder, 'sparse.tar'), '.']);
  await expect(copy(`oci-archive:${folder}/sparse.tar`)).rejects.toThrow(/is a sparse entry/);
});

test.each(['gzip', 'zstd', 'xz', 'bzip2'])('an archive compressed with %s is read', async (program) => {
  const { files, manifest } = layout();
  const packed = execFileSync(program, ['-c', writeTar(files)], { maxBuffer: 1 << 26 });
  writeFileSync(join(folder, 'packed'), packed);
  expect((await copy(`oci-archive:${folder}/packed`)).descriptor.digest).toBe(manifest.digest);
  writeFileSync(join(folder, 'packed'), packed.subarray(0, -20));
  await expect(copy(`oci-archive:${folder}/packed`, `oci:${folder}/copy2`)).rejects.toThrow(/truncated|damaged/);
});

/** Files of a docker archive. */
function dockerFiles(): Record<string, string | Buffer> {
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: tars.map(digestOf) } }),
  );
  const names = tars.map((tar) => `${hexOf(digestOf(tar))}.tar`);
  const entry = { Config: `${hexOf(digestOf(config))}.json`, RepoTags: ['a:1'], Layers: names };
  return {
    [entry.Config]: config,
    [names[0]!]: tars[0]!,
    [names[1]!]: tars[1]!,
    'manifest.json': JSON.stringify([entry]),
  };
}
const dockerManifest = (change: object) => (files: Record<string, string | Buffer>) => {
  const [entry] = JSON.parse(files['manifest.json'] as string) as [object];
  files['manifest.json'] = JSON.stringify([{ ...entry, ...change }]);
};

test.each<{ what: string; spoil(files: Record<string, string | Buffer>): void; want: RegExp }>([
  { what: 'no manifest.json', spoil: (files) => void delete files['manifest.json'], want: /no manifest.json/ },
  {
    what: 'a missing layer',
    spoil: dockerManifest({ Layers: ['x.tar', 'y.tar'] }),
    want: /names "x.tar", which is missing/,
  },
  { what: 'a missing config', spoil: dockerManifest({ Config: 'x.json' }), want: /names "x.json", which is missing/ },
  {
    what: 'fewer layers than diff_ids',
    spoil: dockerManifest({ Layers: [] }),
    want: /lists 0 layers, but the config 2/,
  },
  { what: 'a config outside', spoil: dockerManifest({ Config: '../../etc/passwd' }), want: /points outside/ },
  {
    what: 'a layer of other bytes',
    spoil: (files) =>
      Object.assign(files, { [`${hexOf(digestOf(tars[0]!))}.tar`]: tarOf({ base: noise('other', 30_000) }) }),
    want: /has digest .*, expected/,
  },
  {
    what: 'a config of other bytes',
    spoil: (files) => {
      const name = Object.keys(files)[0]!;
      files[name] = Buffer.concat([files[name] as Buffer, Buffer.from(' ')]);
    },
    want: /it is damaged/,
  },
  {
    what: 'two images and no word which',
    spoil: (files) => {
      const [entry] = JSON.parse(files['manifest.json'] as string) as [object];
      files['manifest.json'] = JSON.stringify([entry, { ...entry, RepoTags: ['b:2'] }]);
    },
    want: /holds 2 images: say which: it has a:1, b:2/,
  },
])('a docker archive with $what is refused', async ({ spoil, want }) => {
  const files = dockerFiles();
  spoil(files);
  await expect(copy(`docker-archive:${writeTar(files)}`)).rejects.toThrow(want);
});

test('a docker archive may hold compressed layers under any name, and links for equal ones', async () => {
  const files = dockerFiles();
  const [first, second] = JSON.parse(files['manifest.json'] as string)[0].Layers as [string, string];
  files['packed'] = gzipSync(tars[0]!);
  delete files[first];
  dockerManifest({ Layers: ['x/layer.tar', second] })(files);
  const link = encodeHeader({ path: toByteString('x/layer.tar'), type: 'link', linkTarget: toByteString('../packed') });
  const { bytes } = await copy(`docker-archive:${writeTar(files, [link])}:a:1`);
  const { layers } = JSON.parse(bytes.toString()) as { layers: Descriptor[] };
  expect(layers[0]).toMatchObject({ mediaType: mediaTypes.layerGzip, digest: digestOf(files['packed']) });
  const again = await copy(`docker-archive:${folder}/image.tar:@0`, `dir:${folder}/copy2`);
  expect(JSON.parse(again.bytes.toString()).layers[0].digest).toBe(layers[0]!.digest);
});

test.each<{ what: string; make(source: MemorySource): void; want: RegExp }>([
  {
    what: 'indexes nested 6 deep',
    make: (source) => {
      let inner = source.addImage(tars);
      for (let depth = 0; depth < 6; depth += 1) inner = source.addIndex([inner]);
    },
    want: /more than 4 deep/,
  },
  {
    what: 'an index of 1,100 indexes',
    make: (source) => {
      const entries = Array.from({ length: 1100 }, (_, index) =>
        source.addIndex([], mediaTypes.index, { annotations: { index: `${index}` } }),
      );
      source.addIndex(entries);
    },
    want: /more than 1000 indexes and manifests/,
  },
  {
    what: 'manifests of more than 64 MiB',
    make: (source) => {
      const entries = Array.from({ length: 20 }, (_, index) =>
        source.addIndex([], mediaTypes.index, {
          annotations: { index: `${index}`, fill: 'x'.repeat(3.9 * (1 << 20)) },
        }),
      );
      source.addIndex(entries);
    },
    want: /more than 67108864 bytes together/,
  },
  {
    what: 'an entry of an unknown type',
    make: (source) => void source.addIndex([{ ...source.addArtifact('x'), mediaType: 'text/html' }]),
    want: /unknown type "text\/html"/,
  },
  {
    what: 'a document that is an index and a manifest',
    make: (source) => {
      source.addImage(tars);
      const manifest = JSON.parse(source.rootDocument!.bytes.toString()) as object;
      source.addDocument({ ...manifest, manifests: [] }, mediaTypes.manifest);
    },
    want: /both manifests and layers/,
  },
  {
    what: "docker's schema 1",
    make: (source) => void source.addDocument({ schemaVersion: 1, fsLayers: [] }, mediaTypes.dockerManifest),
    want: /schema 1, which is obsolete/,
  },
])('$what: refused', async ({ make, want }) => {
  const source = new MemorySource();
  make(source);
  await expect(store(source, `oci:${folder}/copy`, { instances: 'all' })).rejects.toThrow(want);
  expect(existsSync(join(folder, 'copy/index.json'))).toBe(false);
});

test('a gzip bomb is not decompressed to its end', async () => {
  const source = new MemorySource();
  const bomb = gzipSync(gzipSync(Buffer.alloc(64 << 20)));
  const layer = source.addBlob(bomb, mediaTypes.layerGzip);
  source.addImage(tars, { manifest: { layers: [layer, layer] } });
  await expect(store(source, `dir:${folder}/copy`, { decompress: true })).rejects.toThrow(/unpacks to diffID/);
});

test('a layer is decompressed only to what the config says', async () => {
  const source = new MemorySource();
  source.addImage(tars, { config: { rootfs: { type: 'layers', diff_ids: [digestOf('x'), digestOf(tars[1]!)] } } });
  await expect(store(source, `docker-archive:${folder}/x.tar`)).rejects.toThrow(
    new RegExp(`unpacks to diffID ${digestOf(tars[0]!)}, but the config says ${digestOf('x')}`),
  );
  expect(readdirSync(folder)).toEqual([]);
});

test('a layout that is written to cannot lead outside of itself', async () => {
  const source = new MemorySource();
  const image = source.addImage(tars);
  const outside = join(folder, 'outside');
  mkdirSync(outside);
  mkdirSync(join(folder, 'copy'));
  symlinkSync(outside, join(folder, 'copy/blobs'));
  await expect(store(source, `oci:${folder}/copy`)).rejects.toThrow(/is not a folder of its own/);
  expect(readdirSync(outside)).toEqual([]);
  rmSync(join(folder, 'copy/blobs'));
  const victim = join(outside, 'victim');
  writeFileSync(victim, 'precious');
  mkdirSync(join(folder, 'copy/blobs/sha256'), { recursive: true });
  symlinkSync('sha256/victim', join(folder, 'copy/blobs/inside'));
  symlinkSync(victim, join(folder, 'copy', blobFile(image)));
  symlinkSync(victim, join(folder, 'copy/index.json'));
  await expect(store(source, `oci:${folder}/copy`)).rejects.toThrow(/points outside of the folder/);
  expect(readFileSync(victim, 'utf8')).toBe('precious');
});

test('a draft that is another name of some file is not written to', async () => {
  const source = new MemorySource();
  source.addImage(tars);
  const victim = join(folder, 'victim');
  writeFileSync(victim, 'precious');
  mkdirSync(join(folder, 'copy/.tare-partial'), { recursive: true });
  for (const digest of source.blobs.keys()) {
    linkSync(victim, join(folder, 'copy/.tare-partial', hexOf(digest as Digest)));
  }
  await store(source, `oci:${folder}/copy`);
  await copy(`oci:${folder}/copy`, `oci:${folder}/again`);
  linkSync(victim, join(folder, '.image.tar.tare-partial'));
  await expect(store(source, `oci-archive:${folder}/image.tar`)).rejects.toMatchObject({
    kind: 'Forbidden',
    message: expect.stringMatching(/\.image\.tar\.tare-partial, which is another's file: remove that/),
  });
  expect(readFileSync(victim, 'utf8')).toBe('precious');
});

test('a blob that lies damaged at the destination is written anew', async () => {
  const source = new MemorySource();
  source.addImage(tars);
  const { bytes } = await store(source, `oci:${folder}/copy`);
  const { layers } = JSON.parse(bytes.toString()) as { layers: Descriptor[] };
  const blob = join(folder, 'copy', blobFile(layers[0]!));
  const good = readFileSync(blob);
  writeFileSync(blob, Buffer.alloc(good.byteLength));
  await store(source, `oci:${folder}/copy`);
  expect(readFileSync(blob).equals(good)).toBe(true);
});

test('dir: does not take over a folder that holds other things', async () => {
  const source = new MemorySource();
  source.addImage(tars);
  writeFolder({ 'thesis.txt': 'years of work' });
  await expect(store(source, `dir:${folder}/layout`)).rejects.toThrow(/holds other files than an image/);
  expect(readdirSync(join(folder, 'layout'))).toEqual(['thesis.txt']);
});

test('dir: holds one image: blobs of the one before go', async () => {
  const source = new MemorySource();
  source.addImage([tarOf({ old: 'old' })]);
  await store(source, `dir:${folder}/copy`);
  source.addImage(tars);
  await store(source, `dir:${folder}/copy`);
  expect(readdirSync(join(folder, 'copy'))).toHaveLength(2 + 3);
});

test.each(['oci-archive', 'docker-archive'])(
  '%s: whatever bytes are changed, it is the image or a clear error',
  async (transport) => {
    const files = transport === 'oci-archive' ? layout().files : dockerFiles();
    const path = writeTar(files);
    const whole = readFileSync(path);
    const good = (await copy(`${transport}:${path}`)).descriptor.digest;
    let refused = 0;
    const change = fc.record({ at: fc.nat(whole.byteLength - 1), byte: fc.nat(255), cut: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        let bytes = Buffer.from(whole);
        for (const { at, byte, cut } of changes) {
          if (cut) bytes = bytes.subarray(0, Math.max(at, 1));
          else if (at < bytes.byteLength) bytes[at] = byte;
        }
        writeFileSync(path, bytes);
        rmSync(join(folder, 'copy'), { recursive: true, force: true });
        try {
          const { descriptor } = await copy(`${transport}:${path}`);
          // Padding and what nobody reads may change; of an archive without a manifest also the names in its JSON.
          if (transport === 'oci-archive') expect(descriptor.digest).toBe(good);
        } catch (error) {
          expect(error).toBeInstanceOf(TareError);
          expect(existsSync(join(folder, 'copy/index.json'))).toBe(false);
          refused += 1;
        }
      }),
      { numRuns: 200 },
    );
    expect(refused).toBeGreaterThan(20);
  },
);

test('an archive that is a folder, and one that is nowhere', async () => {
  await expect(copy(`oci-archive:${folder}`)).rejects.toThrow(/is a folder: want a tar/);
  await expect(copy(`docker-archive:${folder}/none`)).rejects.toThrow(/no such file/);
  writeFileSync(join(folder, 'file'), '');
  await expect(copy(`dir:${folder}/file`)).rejects.toThrow(/is not a folder/);
  await expect(copy(`oci:${folder}/file/x`)).rejects.toThrow(/is not a folder|no such folder/);
});

test('an archive comes through a pipe', async () => {
  const { files, manifest } = layout();
  const path = writeTar(files);
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  const writer = spawn('sh', ['-c', 'exec cat "$0" > "$1"', path, join(folder, 'pipe')]);
  // Opening a pipe waits for its writer, and ours is a process of its own.
  expect((await copy(`oci-archive:${folder}/pipe`)).descriptor.digest).toBe(manifest.digest);
  await new Promise((resolve) => (writer.exitCode === null ? writer.once('exit', resolve) : resolve(undefined)));
});
