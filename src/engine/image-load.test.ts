import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { mediaTypes } from '../image/index.ts';
import { endOfArchive } from '../storage/index.ts';
import {
  blobFile,
  descriptorOf,
  dockerFiles,
  ImageLab,
  imageOf,
  nothing,
  ociFiles,
  plainLayer,
  sha256,
  streamOf,
  type TestImage,
  tarLink,
  tarOf,
} from './image-archives.fixture.ts';

const base = plainLayer({ 'bin/busybox': readFileSync('/bin/busybox', 'latin1'), 'etc/base': 'base' });
const top = plainLayer({ 'etc/top': 'top' });
const image = imageOf([base, top]);
const id = sha256(image.config);
const loadedTwo = { blobs: 4, layers: 2, images: 1, unfinished: [], leases: 0 };

test.each([
  { form: 'an OCI layout', files: ociFiles([{ image, name: 'docker.io/library/a:1' }]) },
  { form: 'a docker archive', files: dockerFiles([{ image, names: ['a:1'] }]) },
])('load: $form', async ({ files }) => {
  await using lab = await ImageLab.open();
  expect(await lab.load(tarOf(files))).toBe('Loaded image: a:1\n');
  expect(await lab.images.inspect('a:1')).toMatchObject({ id, repoTags: ['a:1'], repoDigests: [] });
  expect(await lab.images.ensureUnpacked(id)).toEqual([base, top].map(({ plain }) => sha256(plain)));
  expect(await lab.inventory()).toEqual(loadedTwo);
  expect(lab.events()).toEqual([{ action: 'load', actorId: id, attributes: { name: id } }]);
});

const compressions: [string, (bytes: Uint8Array) => Uint8Array][] = [
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
  ['bzip2', (bytes) => execFileSync('bzip2', ['-c'], { input: bytes, maxBuffer: 1 << 28 })],
  ['xz', (bytes) => execFileSync('xz', ['-0c'], { input: bytes, maxBuffer: 1 << 28 })],
];

test.each(compressions)('load: an archive compressed with %s', async (_, compress) => {
  await using lab = await ImageLab.open();
  await lab.load(compress(tarOf(dockerFiles([{ image, names: ['a:1'] }]))));
  expect(await lab.inventory()).toEqual(loadedTwo);
});

test.each(compressions)('load: layers compressed with %s, whatever the media type says', async (_, compress) => {
  await using lab = await ImageLab.open();
  const packed = imageOf([
    { ...base, stored: compress(base.plain), mediaType: mediaTypes.layerZstd },
    { ...top, stored: compress(top.plain), mediaType: mediaTypes.dockerLayerGzip },
  ]);
  await lab.load(tarOf(ociFiles([{ image: packed, name: 'docker.io/library/a:1' }])));
  expect(lab.images.resolve('a:1').manifest.digest).toBe(sha256(packed.manifest));
  expect(await lab.inventory()).toEqual(loadedTwo);
});

test('load: every order of entries', async () => {
  const files = Object.entries(dockerFiles([{ image, names: ['a:1'] }]));
  for (const order of [files, files.toReversed(), [files.at(-1)!, ...files.slice(0, -1)]]) {
    await using lab = await ImageLab.open();
    await lab.load(tarOf(Object.fromEntries(order.map(([name, bytes]) => [`./${name}`, bytes]))));
    expect(await lab.inventory()).toEqual(loadedTwo);
  }
});

test('load: layers that are links to others, as skopeo and old docker write them', async () => {
  await using lab = await ImageLab.open();
  const twice = imageOf([top, base, top]);
  const archive = Buffer.concat([
    tarLink('first/layer.tar', '../second/layer.tar'),
    tarLink('third/layer.tar', 'second/layer.tar', 'hardlink'),
    tarOf({
      'second/layer.tar': top.stored,
      'base/layer.tar': base.stored,
      'config.json': twice.config,
      'manifest.json': JSON.stringify([
        { Config: 'config.json', RepoTags: ['a:1'], Layers: ['first/layer.tar', 'base/layer.tar', 'third/layer.tar'] },
      ]),
    }),
  ]);
  await lab.load(archive);
  expect(lab.images.resolve('a:1').layers).toHaveLength(3);
  expect((await lab.inventory()).layers).toBe(2);
});

test('load: an archive that is both forms is loaded once, with the names of both', async () => {
  await using lab = await ImageLab.open();
  const [config, manifest] = [blobFile(image.config)[0], blobFile(image.manifest)[0]];
  const files = {
    ...ociFiles([{ image, name: 'docker.io/library/a:1' }]),
    'manifest.json': JSON.stringify([
      { Config: config, RepoTags: ['a:1', 'b:2'], Layers: image.layers.map(({ stored }) => blobFile(stored)[0]) },
    ]),
  };
  expect(manifest).toContain('blobs/sha256/');
  expect(await lab.load(tarOf(files))).toBe('Loaded image: a:1\nLoaded image: b:2\n');
  expect(lab.images.resolve('b:2').manifest.digest).toBe(sha256(image.manifest));
});

test('load: several images, nameless ones too, and a name that moves', async () => {
  await using lab = await ImageLab.open();
  const other = imageOf([base]);
  await lab.load(tarOf(dockerFiles([{ image: other, names: ['a:1'] }])));
  const words = await lab.load(tarOf(dockerFiles([{ image, names: ['a:1', 'b:1'] }, { image: other }])));
  expect(words).toBe(
    `The image a:1 already exists, renaming the old one with ID ${sha256(other.config)} to empty string\n` +
      `Loaded image: a:1\nLoaded image: b:1\nLoaded image ID: ${sha256(other.config)}\n`,
  );
  expect((await lab.images.list({ filters: { dangling: ['true'] } })).map((each) => each.id)).toEqual([
    sha256(other.config),
  ]);
});

function multiPlatform(named: boolean): { files: Record<string, string | Uint8Array>; arm: TestImage } {
  const arm = imageOf([top], { architecture: 'arm64' });
  const attestation = Buffer.from('{"not":"an image"}');
  const inner = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: [
        descriptorOf(arm.manifest, mediaTypes.manifest, { platform: { os: 'linux', architecture: 'arm64' } }),
        descriptorOf(image.manifest, mediaTypes.manifest, { platform: { os: 'linux', architecture: 'amd64' } }),
        descriptorOf(attestation, mediaTypes.manifest, { platform: { os: 'unknown', architecture: 'unknown' } }),
      ],
    }),
  );
  const annotations = named ? { 'org.opencontainers.image.ref.name': 'quay.io/x/multi:2' } : {};
  const index = { schemaVersion: 2, manifests: [descriptorOf(inner, mediaTypes.index, { annotations })] };
  const files = {
    ...ociFiles([{ image }, { image: arm }]),
    ...Object.fromEntries([blobFile(inner), blobFile(attestation)]),
    'index.json': JSON.stringify(index),
  };
  return { files, arm };
}

test('load: the platform is chosen, and only its parts stay', async () => {
  await using lab = await ImageLab.open();
  const { files, arm } = multiPlatform(true);
  expect(await lab.load(tarOf(files), { platform: 'linux/amd64' })).toBe('Loaded image: quay.io/x/multi:2\n');
  expect(lab.images.resolve('quay.io/x/multi:2').id).toBe(id);
  expect(await lab.inventory()).toEqual(loadedTwo);
  await lab.load(tarOf(files), { platform: 'linux/arm64' });
  expect(lab.images.resolve('quay.io/x/multi:2').id).toBe(sha256(arm.config));
  await expect(lab.load(tarOf(files), { platform: 'linux/s390x' })).rejects.toThrow(
    /no image for linux\/s390x: it has linux\/arm64, linux\/amd64/,
  );
});

test('load: a tag alone in ref.name names nothing', async () => {
  await using lab = await ImageLab.open();
  const files = ociFiles([{ image }]);
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  const manifests = [descriptorOf(image.manifest, mediaTypes.manifest, { annotations })];
  expect(await lab.load(tarOf({ ...files, 'index.json': JSON.stringify({ schemaVersion: 2, manifests }) }))).toBe(
    `Loaded image ID: ${id}\n`,
  );
});

function inFolder(files: Record<string, string | Uint8Array>): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'tare-layout-'));
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), bytes);
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

test('loadDirectory: an OCI layout reads only what it needs', async () => {
  await using lab = await ImageLab.open();
  using folder = inFolder({ ...multiPlatform(false).files, 'blobs/sha256/unrelated': 'x' });
  expect(await lab.loadFolder(folder.path)).toBe(`Loaded image ID: ${id}\n`);
  expect(await lab.inventory()).toEqual(loadedTwo);
});

test('loadDirectory: an unpacked docker archive', async () => {
  await using lab = await ImageLab.open();
  using folder = inFolder(dockerFiles([{ image, names: ['a:1'] }]));
  expect(await lab.loadFolder(folder.path)).toBe('Loaded image: a:1\n');
});

test.each([
  { what: 'a link out of it', make: (path: string) => symlinkSync('/etc/passwd', path), want: /outside of the folder/ },
  { what: 'a FIFO', make: (path: string) => void execFileSync('mkfifo', [path]), want: /is not a regular file/ },
  { what: 'a folder as a file', make: (path: string) => mkdirSync(path), want: /is not a regular file/ },
])('loadDirectory refuses $what', async ({ make, want }) => {
  await using lab = await ImageLab.open();
  using folder = inFolder(dockerFiles([{ image, names: ['a:1'] }]));
  const config = join(folder.path, `${id.slice('sha256:'.length)}.json`);
  rmSync(config);
  make(config);
  await expect(lab.loadFolder(folder.path)).rejects.toThrow(want);
  expect(await lab.inventory()).toEqual(nothing);
});

test('loadDirectory refuses what is no folder', async () => {
  await using lab = await ImageLab.open();
  await expect(lab.loadFolder('/nowhere')).rejects.toThrow('/nowhere: no such folder');
  await expect(lab.loadFolder('/bin/busybox')).rejects.toThrow('/bin/busybox is not a folder');
});

test('save and load: what comes back is the same, and saving twice gives the same bytes', async () => {
  await using lab = await ImageLab.open();
  const packed = imageOf([{ ...base, stored: gzipSync(base.plain), mediaType: mediaTypes.layerGzip }, top]);
  await lab.load(tarOf(ociFiles([{ image: packed, name: 'docker.io/library/a:1' }])));
  await lab.images.tag('a:1', 'quay.io/x/b:2');
  await lab.images.tag('a:1', 'a:3');
  const saved = await lab.save('a', 'quay.io/x/b:2');
  expect(await lab.save('a', 'quay.io/x/b:2')).toEqual(saved);
  await using other = await ImageLab.open();
  expect(await other.load(saved)).toBe('Loaded image: a:1\nLoaded image: a:3\nLoaded image: quay.io/x/b:2\n');
  expect(other.images.resolve('a:3').manifest.digest).toBe(sha256(packed.manifest));
  expect(await other.save('a', 'quay.io/x/b:2')).toEqual(saved);
  await using nameless = await ImageLab.open();
  expect(await nameless.load(await lab.save(id))).toBe(`Loaded image ID: ${sha256(packed.config)}\n`.replace(id, id));
});

test('save: an unknown image', async () => {
  await using lab = await ImageLab.open();
  await expect(lab.save('nothing')).rejects.toThrow('No such image: nothing:latest');
});

test.each([
  { tool: 'skopeo', form: 'docker-archive', to: (path: string) => `docker-archive:${path}/out:c:1` },
  { tool: 'skopeo', form: 'oci-archive', to: (path: string) => `oci-archive:${path}/out:c:1` },
])('$tool reads what save wrote, and load reads its $form', async ({ to }) => {
  await using lab = await ImageLab.open();
  await lab.load(tarOf(dockerFiles([{ image, names: ['a:1'] }])));
  using folder = inFolder({ 'saved.tar': await lab.save('a:1') });
  const policy = join(folder.path, 'policy.json');
  writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
  const from = `docker-archive:${folder.path}/saved.tar:a:1`;
  execFileSync('skopeo', ['--policy', policy, 'copy', '--quiet', from, to(folder.path)]);
  await using other = await ImageLab.open();
  expect(await other.load(readFileSync(join(folder.path, 'out')))).toBe('Loaded image: c:1\n');
  expect(await other.images.ensureUnpacked(other.images.resolve('c:1').id)).toHaveLength(2);
});

test('load reads the folder that umoci makes', async () => {
  await using lab = await ImageLab.open();
  using folder = inFolder({ 'rootfs/etc/x': 'x' });
  const layout = join(folder.path, 'layout');
  const umoci = (...args: string[]) => execFileSync('umoci', args, { stdio: 'ignore' });
  umoci('init', '--layout', layout);
  umoci('new', '--image', `${layout}:one`);
  umoci('insert', '--image', `${layout}:one`, join(folder.path, 'rootfs'), '/added');
  expect(await lab.loadFolder(layout)).toMatch(/^Loaded image ID: sha256:/);
  expect((await lab.inventory()).layers).toBe(1);
});

test('import: a tar as it comes, and its changes', async () => {
  for (const compress of [(bytes: Uint8Array) => bytes, ...compressions.map(([, pack]) => pack)]) {
    await using lab = await ImageLab.open();
    const imported = await lab.images.import(streamOf(compress(base.plain)), {
      reference: 'made:here',
      message: 'by hand',
      changes: ['CMD ["/bin/sh"]', 'LABEL a=b'],
    });
    const found = await lab.images.inspect('made:here');
    expect(found).toMatchObject({
      id: imported,
      config: {
        config: { Cmd: ['/bin/sh'], Labels: { a: 'b' } },
        comment: 'by hand',
        rootfs: { diff_ids: [sha256(base.plain)] },
      },
    });
    expect(lab.events().map(({ action, attributes }) => [action, attributes['name'], attributes['a']])).toEqual([
      ['tag', 'made:here', 'b'],
      ['import', imported, 'b'],
    ]);
    expect(await lab.inventory()).toEqual({ blobs: 3, layers: 1, images: 1, unfinished: [], leases: 0 });
  }
});

test.each([
  { what: 'an empty input', input: Buffer.alloc(0), want: /the input is empty/ },
  { what: 'no tar', input: Buffer.alloc(1024, 'x'), want: /this is no tar|not a tar/ },
  { what: 'a damaged gzip', input: gzipSync(base.plain).fill(0, 5000, 6000), want: /gzip/ },
  { what: 'a truncated tar', input: base.plain.subarray(0, 3000), want: /truncated/ },
  { what: 'a bomb', input: gzipSync(Buffer.alloc(400 << 20), { level: 9 }), want: /bomb/ },
])('import refuses $what and leaves nothing', async ({ input, want }) => {
  await using lab = await ImageLab.open();
  await expect(lab.images.import(streamOf(input), { reference: 'a' })).rejects.toThrow(want);
  expect(await lab.inventory()).toEqual(nothing);
});

test.each([
  [{ reference: 'UPPER' }, /must be lowercase/],
  [{ changes: ['RUN x'] }, /RUN is not a valid change command/],
  [{ platform: 'windows/amd64' }, /operating system is not supported: windows/],
  [{ reference: `a@sha256:${'0'.repeat(64)}` }, /cannot import digest reference/],
])('import refuses %j before it reads', async (options, want) => {
  await using lab = await ImageLab.open();
  let isRead = false;
  const input = (async function* () {
    isRead = true;
    yield base.plain;
  })();
  await expect(lab.images.import(input, options)).rejects.toThrow(want);
  expect(isRead).toBe(false);
});

test('an archive ends where tar says, and padding after it is no matter', async () => {
  await using lab = await ImageLab.open();
  const archive = Buffer.concat([
    tarOf(dockerFiles([{ image, names: ['a:1'] }])),
    endOfArchive(),
    Buffer.alloc(10_240),
  ]);
  expect(await lab.load(archive)).toBe('Loaded image: a:1\n');
});
