import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { mediaTypes } from '../image/index.ts';
import { type DiffID, encodeFile, encodeHeader, endOfArchive } from '../storage/index.ts';
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
  tarLink,
  tarOf,
} from './image-archives.fixture.ts';

const base = plainLayer({ 'etc/base': 'base'.repeat(1000) });
const top = plainLayer({ 'etc/top': 'top' });
const image = imageOf([base, top]);
const oci = ociFiles([{ image, name: 'docker.io/library/a:1' }]);
const docker = dockerFiles([{ image, names: ['a:1'] }]);
const [baseName] = blobFile(base.stored);
const [configName] = blobFile(image.config);
const dockerConfig = `${sha256(image.config).slice('sha256:'.length)}.json`;
const without = (files: Record<string, string | Uint8Array>, name: string) =>
  Object.fromEntries(Object.entries(files).filter(([key]) => key !== name));
const withIndex = (manifests: unknown[]) => ({ ...oci, 'index.json': JSON.stringify({ schemaVersion: 2, manifests }) });
const withManifest = (entry: object) => ({
  ...docker,
  'manifest.json': JSON.stringify([{ Config: dockerConfig, RepoTags: ['a:1'], Layers: [], ...entry }]),
});
const layerNames = image.layers.map(({ stored }) => `${sha256(stored).slice('sha256:'.length)}/layer.tar`);
const fewer = imageOf([base, top], { rootfs: { type: 'layers', diff_ids: [sha256(base.plain)] } });
const otherDiff = imageOf([base, top], {
  rootfs: { type: 'layers', diff_ids: [sha256(base.plain), sha256('something else')] },
});
const packed = { ...top, stored: gzipSync(top.plain), mediaType: mediaTypes.layerGzip };
const otherDiffPacked = imageOf([packed], { rootfs: { type: 'layers', diff_ids: [sha256('something else')] } });
const hugeConfig = imageOf([base], { padding: 'x'.repeat(9 << 20) });
const hugeManifest = Buffer.from(JSON.stringify({ schemaVersion: 2, padding: 'x'.repeat(5 << 20), layers: [] }));
const hostileLayer = plainLayer({ '../../escape': 'x' });
const notATar = { stored: Buffer.alloc(2048, 'y'), plain: Buffer.alloc(2048, 'y') };
const schema1 = Buffer.from('{"schemaVersion":1,"fsLayers":[]}');
let nested = Buffer.from(oci['index.json'] as string);
const nestedBlobs: [string, Uint8Array][] = [];
for (let depth = 0; depth < 6; depth += 1) {
  nestedBlobs.push(blobFile(nested));
  nested = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [descriptorOf(nested, mediaTypes.index)] }));
}
const manyIndexes = Array.from({ length: 1100 }, () =>
  descriptorOf(Buffer.from(oci['index.json'] as string), mediaTypes.index),
);

test.each<{ what: string; files: Record<string, string | Uint8Array>; want: RegExp }>([
  { what: 'nothing in it', files: {}, want: /neither index.json .* nor manifest.json/ },
  { what: 'a root filesystem', files: { 'bin/sh': 'x' }, want: /a root filesystem goes to import/ },
  { what: 'the format of docker 1.9', files: { repositories: '{}', 'x/json': '{}' }, want: /docker before 1.10/ },
  { what: 'an empty index', files: withIndex([]), want: /holds no image/ },
  { what: 'an empty manifest.json', files: { 'manifest.json': '[]' }, want: /holds no image/ },
  { what: 'no JSON', files: { ...oci, 'index.json': '{' }, want: /index.json is not valid JSON/ },
  { what: 'a manifest as index', files: { ...oci, 'index.json': image.manifest }, want: /index.json is a manifest/ },
  {
    what: 'a huge index',
    files: { ...oci, 'index.json': Buffer.alloc(17 << 20, ' ') },
    want: /index.json has 17825792 bytes/,
  },
  {
    what: 'a wrong digest',
    files: { ...oci, [baseName]: top.stored },
    want: new RegExp(`the content of blob ${sha256(base.stored)} has the digest ${sha256(top.stored)}`),
  },
  { what: 'a missing layer', files: without(oci, baseName), want: new RegExp(`blob ${sha256(base.stored)} .*missing`) },
  {
    what: 'a missing config',
    files: without(oci, configName),
    want: new RegExp(`blob ${sha256(image.config)} .*missing`),
  },
  {
    what: 'a size that lies',
    files: withIndex([{ ...descriptorOf(image.manifest, mediaTypes.manifest), size: 7 }]),
    want: /has \d+ bytes, its descriptor says 7/,
  },
  {
    what: 'more layers than diff_ids',
    files: ociFiles([{ image: fewer }]),
    want: /it lists 2 layers, but its config 1 diff_ids/,
  },
  {
    what: 'another diffID',
    files: ociFiles([{ image: otherDiff }]),
    want: new RegExp(
      `layer ${sha256(top.stored)} unpacks to diffID .* but the config says ${sha256('something else')}`,
    ),
  },
  {
    what: 'another diffID of a compressed layer',
    files: ociFiles([{ image: otherDiffPacked }]),
    want: new RegExp(`unpacks to diffID ${sha256(top.plain)}`),
  },
  {
    what: 'a huge config',
    files: ociFiles([{ image: hugeConfig }]),
    want: /config sha256:.* has \d+ bytes, at most 8388608/,
  },
  {
    what: 'a huge manifest',
    files: {
      ...withIndex([descriptorOf(hugeManifest, mediaTypes.manifest)]),
      ...Object.fromEntries([blobFile(hugeManifest)]),
    },
    want: /manifest sha256:.* has \d+ bytes, at most 4194304/,
  },
  {
    what: 'schema 1',
    files: { ...withIndex([descriptorOf(schema1, mediaTypes.manifest)]), ...Object.fromEntries([blobFile(schema1)]) },
    want: /schema 1/,
  },
  {
    what: 'indexes in indexes',
    files: { ...oci, ...Object.fromEntries(nestedBlobs), 'index.json': nested },
    want: /indexes inside indexes, more than 4 deep/,
  },
  {
    what: 'indexes without end',
    files: { ...withIndex(manyIndexes), ...Object.fromEntries([blobFile(Buffer.from(oci['index.json'] as string))]) },
    want: /more than 1000 indexes and manifests/,
  },
  { what: 'a layer that escapes', files: ociFiles([{ image: imageOf([hostileLayer]) }]), want: /escape/ },
  { what: 'a layer that is no tar', files: ociFiles([{ image: imageOf([notATar]) }]), want: /no tar|not a tar/ },
  {
    what: 'a bad name',
    files: ociFiles([{ image, name: 'UPPER CASE' }]),
    want: /names an image "UPPER CASE": invalid reference/,
  },
  { what: 'a bad tag', files: withManifest({ RepoTags: ['a'] }), want: /invalid tag "a": want NAME:TAG/ },
  {
    what: 'a config outside',
    files: withManifest({ Config: '../../etc/passwd' }),
    want: /"..\/..\/etc\/passwd" points outside/,
  },
  {
    what: 'an absolute layer',
    files: withManifest({ Layers: ['/etc/passwd', 'x'] }),
    want: /"\/etc\/passwd" points outside/,
  },
  {
    what: 'a missing file',
    files: withManifest({ Layers: [layerNames[0], 'none'] }),
    want: /names "none", which is missing/,
  },
  {
    what: 'too few layers',
    files: withManifest({ Layers: [layerNames[0]] }),
    want: /it lists 1 layers, but its config 2/,
  },
  {
    what: 'layers in another order',
    files: withManifest({ Layers: layerNames.toReversed() }),
    want: /unpacks to diffID/,
  },
  {
    what: 'an entry above the archive',
    files: { ...docker, '../../etc/x': 'x' },
    want: /"..\/..\/etc\/x" points outside/,
  },
  { what: 'an absolute entry', files: { ...docker, '/etc/x': 'x' }, want: /"\/etc\/x" points outside/ },
])('load refuses $what and leaves nothing', async ({ files, want }) => {
  await using lab = await ImageLab.open();
  await expect(lab.load(tarOf(files))).rejects.toThrow(want);
  expect(await lab.inventory()).toEqual(nothing);
  expect(lab.events()).toEqual([]);
});

test.each<{ what: string; archive: Uint8Array; want: RegExp }>([
  { what: 'no bytes', archive: Buffer.alloc(0), want: /neither index.json/ },
  { what: 'noise', archive: Buffer.alloc(4096, 'noise'), want: /no tar/ },
  { what: 'half an archive', archive: tarOf(oci).subarray(0, 5000), want: /truncated/ },
  { what: 'half of a gzip', archive: gzipSync(tarOf(oci)).subarray(0, 300), want: /truncated/ },
  { what: 'a bomb', archive: gzipSync(tarOf({ a: Buffer.alloc(400 << 20) }), { level: 9 }), want: /bomb/ },
  {
    what: 'links in a circle',
    archive: Buffer.concat([tarLink('x', 'y'), tarLink('y', 'x'), tarOf(withManifest({ Config: 'x' }))]),
    want: /"x" goes through too many links/,
  },
  {
    what: 'a link out of it',
    archive: Buffer.concat([tarLink('x', '../../etc/passwd'), tarOf(withManifest({ Config: 'x' }))]),
    want: /"..\/..\/etc\/passwd" points outside/,
  },
  {
    what: 'a size beyond its end',
    archive: Buffer.concat([encodeHeader({ path: 'x', type: 'file', sizeBytes: 1e15 }), Buffer.alloc(4096)]),
    want: /truncated/,
  },
  {
    what: 'too many entries',
    archive: Buffer.concat([...Array(100_001).fill(encodeHeader({ path: 'd/', type: 'directory' })), endOfArchive()]),
    want: /more than 100000 entries/,
  },
])('load refuses $what and leaves nothing', async ({ archive, want }) => {
  await using lab = await ImageLab.open();
  await expect(lab.load(archive)).rejects.toThrow(want);
  expect(await lab.inventory()).toEqual(nothing);
});

test('a load that its reader leaves in the middle leaves nothing', async () => {
  await using lab = await ImageLab.open();
  const archive = tarOf({ ...oci, [blobFile(Buffer.alloc(1 << 20, 'z'))[0]]: Buffer.alloc(1 << 20, 'z') });
  for await (const _ of lab.images.load(streamOf(archive, 512))) break;
  expect(await lab.inventory()).toEqual(nothing);
});

test('a sender that fails in the middle leaves nothing', async () => {
  await using lab = await ImageLab.open();
  const input = (async function* () {
    yield tarOf(oci).subarray(0, 6000);
    throw new Error('connection reset');
  })();
  await expect(Array.fromAsync(lab.images.load(input))).rejects.toThrow('connection reset');
  expect(await lab.inventory()).toEqual(nothing);
});

test('a failed load spares what another image uses', async () => {
  await using lab = await ImageLab.open();
  await lab.load(tarOf(oci));
  await expect(lab.load(tarOf(without(docker, layerNames[1]!)))).rejects.toThrow(/missing/);
  expect(await lab.inventory()).toEqual({ blobs: 4, layers: 2, images: 1, unfinished: [], leases: 0 });
  expect(await lab.images.ensureUnpacked(sha256(image.config))).toHaveLength(2);
});

test('a layer that lies about its name in a docker archive is not hidden by an equal blob', async () => {
  await using lab = await ImageLab.open();
  const file = encodeFile(layerNames[1]!, 'not a tar');
  await expect(lab.load(Buffer.concat([tarOf(docker).subarray(0, -1024), file, endOfArchive()]))).rejects.toThrow();
  expect(await lab.inventory()).toEqual(nothing);
});

test('a blob that is not what its name says brings no layer of that name, though its refusal is collected later', async () => {
  await using lab = await ImageLab.open();
  const evil = plainLayer({ 'etc/base': 'evil' });
  {
    await using _held = await lab.images.hold();
    const files = { [baseName]: evil.stored, 'index.json': oci['index.json']! };
    await expect(lab.load(tarOf(files))).rejects.toThrow(
      new RegExp(`content of blob ${sha256(base.stored)} has the digest`),
    );
    expect(await lab.layers.has(sha256(base.plain) as DiffID)).toBe(false);
  }
  await lab.load(tarOf(oci));
  const messages = await Array.fromAsync(lab.images.verify({ deep: true }));
  expect(messages.filter(({ type }) => type === 'damage')).toEqual([]);
});
