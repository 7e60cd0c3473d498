import { TareError } from '../../../errors/index.ts';
import { allEnded, mediaTypes, Slots } from '../../../image/index.ts';
import { type Descriptor, digestOf, type LayerName } from '../../../storage/index.ts';
import type { TypedOptions } from '../../build-types.ts';
import type { BuilderParts } from '../../builder-parts.ts';
import type { ExportContext, ExportSource, LayerFacts } from '../../exporter.ts';
import { Attributes } from '../../exporters/attributes.ts';
import { type CompressionChoice, compressionOf } from '../../exporters/compression-choice.ts';
import { layerBlobs } from '../../exporters/layer-blobs.ts';
import { warnOfUnknown } from '../../exporters/unknown-options.ts';
import { shown } from '../../exporters/work-status.ts';
import { CACHE_CONFIG_TYPE, cacheConfigOf, inlineRecordsOf } from './cache-config.ts';
import { type CachePlace, localPlace, registryPlace } from './cache-place.ts';
import type {
  CarriedRecord,
  CarriedResult,
  ForeignResult,
  ImportedCache,
  RemoteLayer,
  RemoteResult,
} from './carried.ts';
import { refuseForeignService } from './foreign-services.ts';

/** Layers under way at a time. */
const CONCURRENCY = 5;

type CacheExportParts = Pick<BuilderParts, 'content' | 'layers' | 'images' | 'db' | 'holdContent'>;

/** A cache export, its options checked. */
export interface CacheExport {
  type: 'inline' | 'registry' | 'local';
  /** What of the cache is written: `min`, what the result is made of; `max`, all steps that led to it. */
  mode: 'min' | 'max';
  /** What goes wrong fails no build. */
  isForgiven: boolean;
  attributes: Attributes;
  /** An image manifest; else an index. */
  isManifest: boolean;
  isOci: boolean;
  compression: CompressionChoice;
}

/**
 * Reads the options of a cache export, before anything is built.
 * @throws {TareError} InvalidArgument; Unsupported: gha, s3, azblob
 */
export function readCacheExport({ type, attributes: values }: TypedOptions): CacheExport {
  requireKnownCache(type);
  const attributes = new Attributes(`cache export ${type}`, values);
  const mode = attributes.oneOf('mode', ['min', 'max']) ?? 'min';
  const isForgiven = attributes.flag('ignore-error', false);
  const isOci = attributes.flag('oci-mediatypes', true);
  const isManifest = attributes.flag('image-manifest', isOci);
  if (isManifest && !isOci) throw attributes.wrong('oci-mediatypes', 'true, which image-manifest=true needs');
  const compression = compressionOf(attributes, 'gzip');
  if (compression.kind === 'zstd' && !isOci)
    throw attributes.wrong('compression', "gzip: docker's media types have no zstd");
  return { type: type as CacheExport['type'], mode, isForgiven, attributes, isManifest, isOci, compression };
}

/** What the client sees while it is exported. */
export const cacheTitles: Record<CacheExport['type'], string> = {
  inline: 'preparing layers for inline cache',
  registry: 'exporting cache to registry',
  local: 'exporting cache to client directory',
};

/**
 * Writes records of the cache to a registry or to a folder at the client.
 *
 * @param factsOf when layers were made, and by what
 * @returns what the client is told: the place's new root, by which it keeps the folder's index
 */
export async function exportCache(
  parts: CacheExportParts,
  { type, attributes, isManifest, isOci, compression }: CacheExport,
  records: readonly CarriedRecord<CarriedResult>[],
  { session, progress, signal }: Pick<ExportContext, 'session' | 'progress' | 'signal'>,
  factsOf: (layer: LayerName) => LayerFacts | undefined = () => undefined,
): Promise<Readonly<Record<string, string>>> {
  const place =
    type === 'registry' ? await registryPlace(parts, attributes, [session]) : localPlace(attributes, 'dest', session);
  warnOfUnknown(attributes, { progress });
  await using _content = await parts.holdContent();
  const origins = new Map<string, ImportedCache>();
  const remote = await shown(progress, 'preparing build cache for export', async () => {
    const made = await packedLayers(parts, records, { compression, isOci, factsOf, progress, signal }, origins);
    return records.map((record) => ({ ...record, results: record.results.map(made) }));
  });
  const { bytes, blobs } = cacheConfigOf(remote);
  if (blobs.length === 0) {
    // As BuildKit: whoever imported it would find nothing, and a better one may lie there.
    await shown(progress, 'skipping cache export for empty result', async () => {});
    return {};
  }
  await writeLayers(place, blobs, { progress, signal }, (descriptor, offset, stop) => {
    const origin = origins.get(descriptor.digest);
    return origin?.blob(descriptor, offset, stop) ?? parts.content.open(descriptor.digest, offset);
  });
  const config: Descriptor = { mediaType: CACHE_CONFIG_TYPE, digest: digestOf(bytes), size: bytes.byteLength };
  await shown(progress, `writing config ${config.digest}`, () =>
    place.put(
      config,
      async function* (offset) {
        yield bytes.subarray(offset);
      },
      signal,
    ),
  );
  const root = isManifest
    ? { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: blobs }
    : {
        ...{ schemaVersion: 2, mediaType: isOci ? mediaTypes.index : mediaTypes.dockerIndex },
        manifests: [...blobs, config],
      };
  const document = Buffer.from(JSON.stringify(root));
  const line = `writing cache ${isManifest ? 'image manifest' : 'manifest'} ${digestOf(document)}`;
  const descriptor = await shown(progress, line, () => place.putRoot(root.mediaType, document, signal));
  return { 'cache.manifest': JSON.stringify(descriptor) };
}

/** The first that fails stops the others; none is under way any more afterwards. */
async function writeLayers(
  place: CachePlace,
  blobs: readonly Descriptor[],
  { progress, signal }: Pick<ExportContext, 'progress' | 'signal'>,
  open: (descriptor: Descriptor, offset: number, signal: AbortSignal) => AsyncIterable<Uint8Array>,
): Promise<void> {
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  const slots = new Slots(CONCURRENCY);
  const works = blobs.map((descriptor) =>
    slots.run(async () => {
      try {
        stop.throwIfAborted();
        const write = () => place.put(descriptor, (offset) => open(descriptor, offset, stop), stop);
        await shown(progress, `writing layer ${descriptor.digest}`, write);
      } catch (error) {
        failure.abort(error);
        throw failure.signal.reason;
      }
    }),
  );
  await allEnded(works);
}

interface Packing {
  compression: CompressionChoice;
  isOci: boolean;
  factsOf(layer: LayerName): LayerFacts | undefined;
  progress: ExportContext['progress'];
  signal: AbortSignal;
}

/**
 * Blobs of all layers of all results, each layer packed once.
 * @param origins is told where blobs lie that are not here
 */
async function packedLayers(
  parts: CacheExportParts,
  records: readonly CarriedRecord<CarriedResult>[],
  { compression, isOci, factsOf, progress, signal }: Packing,
  origins: Map<string, ImportedCache>,
): Promise<(result: CarriedResult) => RemoteResult> {
  const results = records.flatMap((record) => record.results);
  const loaded = new Map<CarriedResult, readonly LayerName[]>();
  for (const result of results) {
    if (!isForeign(result)) loaded.set(result, result.layers);
    else if (parts.layers.missing(result.layers.map(({ diffID }) => diffID)).length === 0) {
      loaded.set(
        result,
        result.layers.map(({ diffID }) => diffID),
      );
    } else if (!result.layers.every(({ descriptor }) => isFitting(descriptor, compression, isOci))) {
      loaded.set(result, (await result.cache.load(result, { progress, signal })).layers);
    } else for (const { descriptor } of result.layers) origins.set(descriptor.digest, result.cache);
  }
  const names = [...new Set([...loaded.values()].flat())];
  const blobs = await layerBlobs(parts, names, { compression, isOci, signal });
  const packed = new Map(
    blobs.map(({ name, diffID, descriptor }): [LayerName, RemoteLayer] => {
      const facts = factsOf(name);
      origins.delete(descriptor.digest);
      return [name, { diffID, descriptor, ...(facts ?? {}) }];
    }),
  );
  return (result) => {
    const layers = loaded.get(result)?.map((name) => packed.get(name)!);
    return { layers: layers ?? (result as ForeignResult).layers, createdMs: result.createdMs };
  };
}

const isForeign = (result: CarriedResult): result is ForeignResult => 'cache' in result;

/** Whether a blob may be carried on as it is. */
function isFitting({ mediaType }: Descriptor, { kind, isForced }: CompressionChoice, isOci: boolean): boolean {
  const [, packing = 'none'] = /[.+](gzip|zstd)$/.exec(mediaType) ?? [];
  return (!isForced || packing === kind) && mediaType.includes('docker') !== isOci;
}

/** For `ExportSource.inlineCache`. */
export const inlineCacheOf =
  (
    { layers }: Pick<BuilderParts, 'layers'>,
    records: readonly CarriedRecord<CarriedResult>[],
  ): NonNullable<ExportSource['inlineCache']> =>
  async (imageLayers) => {
    const inImage = new Map(
      imageLayers.map(({ name, diffID, descriptor }) => [name as string, { diffID, descriptor }]),
    );
    const locate = (name: LayerName) => inImage.get(name) ?? inImage.get(layers.diffIDOf(name) ?? '');
    // Layers that the image does not have can't be named in it.
    const remote = records.map(({ digest, inputs, results }) => ({
      ...{ digest, inputs },
      results: results.map((result): RemoteResult => {
        const names = isForeign(result) ? result.layers.map(({ diffID }) => diffID) : result.layers;
        const found = names.map(locate);
        const isWhole = found.every((one) => one !== undefined);
        return { layers: isWhole ? found : [], createdMs: result.createdMs };
      }),
    }));
    return inlineRecordsOf(remote, imageLayers);
  };

/** @throws {TareError} InvalidArgument: no such cache */
export function requireKnownCache(type: string): void {
  refuseForeignService(type);
  if (['inline', 'registry', 'local'].includes(type)) return;
  throw new TareError(
    'InvalidArgument',
    `unknown cache type ${JSON.stringify(type.slice(0, 80))}: want inline, registry or local`,
  );
}
