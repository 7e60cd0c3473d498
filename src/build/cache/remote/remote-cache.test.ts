import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Digest } from '../../../storage/index.ts';
import { type ExportLab, openExportLab, sha256 } from '../../exporters/export-lab.fixture.ts';
import type { BuildSession, SessionContentStore } from '../../session.ts';
import { parseCacheConfig } from './cache-config.ts';
import type { CarriedRecord, LocalResult } from './carried.ts';
import { exportCache, inlineCacheOf, readCacheExport } from './export-cache.ts';
import { importCache } from './import-cache.ts';

/** A client that offers its folders as content stores. */
function clientWith(blobs: Map<string, Buffer>): BuildSession {
  const store: SessionContentStore = {
    info: async (digest) => ({ digest, sizeBytes: blobs.get(digest)!.byteLength, labels: {} }),
    read: async function* (digest, offset = 0) {
      yield blobs.get(digest)!.subarray(offset);
    },
    write: async (_ref, { digest }, bytes) => {
      blobs.set(digest, Buffer.concat(await Array.fromAsync(bytes)));
    },
  };
  return { id: 'client', contentStore: () => store } as unknown as BuildSession;
}

const key = (text: string) => sha256(Buffer.from(text));

async function recordsOf(lab: ExportLab): Promise<CarriedRecord<LocalResult>[]> {
  const [base, step] = [await lab.layer({ base: 'b' }), await lab.layer({ step: 's' })];
  const createdMs = Date.UTC(2029, 0, 1);
  return [
    { digest: key('source'), inputs: [], results: [{ layers: [base], createdMs }] },
    { digest: key('content'), inputs: [], results: [] },
    {
      digest: key('step'),
      inputs: [[{ record: 0, selector: '' }], [{ record: 1, selector: '/etc' }]],
      results: [{ layers: [base, step], createdMs }],
    },
  ];
}

test.each<{ form: string; attributes: Record<string, string> }>([
  { form: 'a manifest', attributes: {} },
  { form: 'an index', attributes: { 'image-manifest': 'false' } },
  { form: 'zstd layers', attributes: { compression: 'zstd' } },
])('another data root has the steps of a cache that came through a folder, as $form', async ({ attributes }) => {
  await using here = await openExportLab();
  await using there = await openExportLab();
  const blobs = new Map<string, Buffer>();
  const session = clientWith(blobs);
  const records = await recordsOf(here);
  const { progress, signal } = here.context();
  const options = readCacheExport({ type: 'local', attributes: { dest: '/cache', mode: 'max', ...attributes } });
  const answer = await exportCache(here.parts, options, records, { session, progress, signal });
  const { digest } = JSON.parse(answer['cache.manifest']!) as { digest: string };
  const cache = await importCache(there.parts, { type: 'local', attributes: { src: '/cache', digest } }, [session], {
    signal,
    progress,
  });
  expect(cache.records.map((record) => [record.digest, record.inputs, record.results.length])).toEqual([
    [key('source'), [], 1],
    [key('content'), [], 0],
    [key('step'), records[2]!.inputs, 1],
  ]);
  expect(await there.layers.layers()).toEqual([]);
  const tree = await cache.load(cache.records[2]!.results[0]!, there.context());
  expect(tree.layers).toEqual(records[2]!.results[0]!.layers.map((layer) => here.layers.diffIDOf(layer)));
  expect(readFileSync(join(there.layers.folder(tree.layers[1]!), 'step'), 'utf8')).toBe('s');
  expect(existsSync(join(there.layers.folder(tree.layers[0]!), 'base'))).toBe(true);
  expect(cache.records[2]!.results[0]!.createdMs).toBe(Date.UTC(2029, 0, 1));
});

test('a cache inside an image names the layers that the image has', async () => {
  await using lab = await openExportLab();
  const records = await recordsOf(lab);
  const layers = await Promise.all(
    records[2]!.results[0]!.layers.map(async (name) => {
      const { diffID, sizeBytes } = await lab.layers.seal(name as never, lab.content);
      const mediaType = 'application/vnd.oci.image.layer.v1.tar';
      return { name, diffID, descriptor: { mediaType, digest: diffID as string as Digest, size: sizeBytes } };
    }),
  );
  const bytes = await inlineCacheOf(lab.parts, records)(layers);
  const written = JSON.parse(Buffer.from(bytes!).toString('utf8'));
  expect(written.map((record: { layers?: { layer: number }[] }) => record.layers?.[0]?.layer)).toEqual([
    0,
    undefined,
    1,
  ]);
  expect(await inlineCacheOf(lab.parts, records)([])).toBeUndefined();
});

test.each(['gha', 's3', 'azblob'])('a cache of type %s is refused', async (type) => {
  await using lab = await openExportLab();
  const session = clientWith(new Map());
  await expect(importCache(lab.parts, { type, attributes: {} }, [session], lab.context())).rejects.toThrow(
    /not supported/,
  );
  expect(() => readCacheExport({ type, attributes: {} })).toThrow(/not supported/);
});

test.each([
  [{ type: 'hub', attributes: {} }, /unknown cache type "hub": want inline, registry or local/],
  [{ type: 'local', attributes: { mode: 'all' } }, /invalid mode "all": want min, max/],
  [{ type: 'registry', attributes: { 'oci-mediatypes': 'false', 'image-manifest': 'true' } }, /oci-mediatypes/],
  [{ type: 'registry', attributes: { 'oci-mediatypes': 'false', compression: 'zstd' } }, /no zstd/],
  [{ type: 'registry', attributes: { compression: 'estargz' } }, /estargz is not supported/],
])('a wrong export is refused before anything is built: %j', (options, says) => {
  expect(() => readCacheExport(options)).toThrow(says);
});

const digest = key('x');
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digest as Digest, size: 1 };
test.each([
  { document: '{', says: /not valid JSON/ },
  { document: '[]', says: /want an object/ },
  { document: '{"layers":[{"blob":"sha256:00"}]}', says: /does not come with the cache/ },
  { document: `{"layers":[{"blob":"${digest}"}]}`, says: /no diffID/ },
  {
    document: `{"layers":[{"blob":"${digest}","parent":0,"annotations":{"diffID":"${digest}"}}],"records":[{"digest":"${digest}","layers":[{"layer":0}]}]}`,
    says: /circle of them/,
  },
  {
    document: `{"layers":[{"blob":"${digest}","parent":7,"annotations":{"diffID":"${digest}"}}],"records":[{"digest":"${digest}","layers":[{"layer":0}]}]}`,
    says: /layer 7 does not exist/,
  },
  { document: '{"records":[{"digest":"../../etc"}]}', says: /no digest/ },
  { document: `{"records":[{"digest":"${digest}","inputs":[[{"link":1}]]}]}`, says: /position from 0 to 0/ },
  {
    document: `{"records":[{"digest":"${digest}","inputs":[[{"link":1}]]},{"digest":"${digest}","inputs":[[{"link":0}]]}]}`,
    says: /among its own inputs/,
  },
])('a hostile cache is refused: $says', ({ document, says }) => {
  expect(() => parseCacheConfig(Buffer.from(document), new Map([[digest, layer]]), 'cache')).toThrow(says);
});

test('of an index with very many images, not all configs are read', async () => {
  await using lab = await openExportLab();
  const blobs = new Map<string, Buffer>();
  const put = (document: object) => {
    const bytes = Buffer.from(JSON.stringify(document));
    blobs.set(sha256(bytes), bytes);
    return { digest: sha256(bytes), size: bytes.byteLength };
  };
  const platform = { os: 'linux', architecture: 'amd64' };
  const config = { ...put({ ...platform, rootfs: { type: 'layers', diff_ids: [] } }), size: 8 << 20 };
  const types = 'application/vnd.oci.image';
  const manifests = Array.from({ length: 9 }, (_, number) => {
    const described = { ...config, mediaType: `${types}.config.v1+json` };
    const manifest = { schemaVersion: 2, mediaType: `${types}.manifest.v1+json`, config: described, layers: [] };
    return { mediaType: manifest.mediaType, ...put({ ...manifest, annotations: { number: String(number) } }) };
  });
  const { digest: src } = put({ schemaVersion: 2, mediaType: `${types}.index.v1+json`, manifests });
  const options = { type: 'local', attributes: { src: '/cache', digest: src } };
  await expect(importCache(lab.parts, options, [clientWith(blobs)], lab.context())).rejects.toThrow(
    'its images have configs of over 67108864 bytes',
  );
});
