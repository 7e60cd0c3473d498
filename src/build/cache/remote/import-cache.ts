import { TareError } from '../../../errors/index.ts';
import {
  allEnded,
  isAttestation,
  isIndexType,
  isManifestType,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseImageConfig,
  parseManifest,
  Slots,
} from '../../../image/index.ts';
import type { Descriptor } from '../../../storage/index.ts';
import type { TypedOptions } from '../../build-types.ts';
import type { BuilderParts } from '../../builder-parts.ts';
import { Attributes } from '../../exporters/attributes.ts';
import { warnOfUnknown } from '../../exporters/unknown-options.ts';
import { shown } from '../../exporters/work-status.ts';
import type { OperationContext } from '../../operation.ts';
import type { BuildSession } from '../../session.ts';
import { FOREIGN_FORM, recordBlob } from '../blob-records.ts';
import {
  byDigest,
  CACHE_CONFIG_TYPE,
  MAX_CACHE_CONFIG_BYTES,
  parseCacheConfig,
  parseInlineRecords,
} from './cache-config.ts';
import { type CacheSource, localPlace, registryPlace, storedPlace } from './cache-place.ts';
import type { CarriedRecord, ImportedCache, RemoteLayer, RemoteResult } from './carried.ts';
import { requireKnownCache } from './export-cache.ts';

type ImportParts = Pick<BuilderParts, 'content' | 'layers' | 'images' | 'db'>;
/** Images of one index whose caches are read. */
const MAX_IMAGES = 100;
/** Layers under way at a time, of one result. */
const CONCURRENCY = 4;

/** What a client calls a cache, for progress. */
export const nameOfCache = ({ type, attributes }: TypedOptions): string =>
  type === 'local' ? `local:${attributes['src'] ?? ''}` : (attributes['ref'] ?? '');

/** A cache as the source that it is: its layers become steps' results. */
export const cacheSource = ({ type, attributes }: TypedOptions): string =>
  type === 'local' ? `oci-layout://${attributes['src'] ?? ''}` : `docker-image://${attributes['ref'] ?? ''}`;

/**
 * Reads the records of another builder's cache; its layers stay where they are until a result is loaded. Where the registry has no cache of
 * this name, an image that is here may have one inside.
 *
 * @throws {TareError} NotFound, Unavailable, Unauthorized: it can't be had; InvalidArgument: it is damaged or no cache
 */
export async function importCache(
  parts: ImportParts,
  { type, attributes: values }: TypedOptions,
  sessions: readonly [BuildSession, ...BuildSession[]],
  { signal, progress }: Pick<OperationContext, 'signal' | 'progress'>,
): Promise<ImportedCache> {
  requireKnownCache(type);
  const attributes = new Attributes(`cache import ${type}`, values);
  const read = async (): Promise<ReadCache> => {
    const place =
      type === 'local' ? localPlace(attributes, 'src', sessions[0]) : await registryPlace(parts, attributes, sessions);
    return { place, records: await readRecords(place, signal) };
  };
  const ref = type === 'local' ? undefined : values['ref'];
  const { place, records } = ref === undefined ? await read() : await readOrStored(parts, ref, read, signal);
  warnOfUnknown(attributes, { progress });
  return {
    name: place.name,
    records,
    blob: (descriptor, offset, stop) => place.blob(descriptor, offset, stop),
    load: async ({ layers }, context) => {
      const slots = new Slots(CONCURRENCY);
      await allEnded(layers.map((layer) => slots.run(() => bring(parts, place, layer, context))));
      return { layers: layers.map(({ diffID }) => diffID) };
    },
  };
}

interface ReadCache {
  place: CacheSource;
  records: CarriedRecord<RemoteResult>[];
}

/** @throws what the registry says, if nothing here is of use */
async function readOrStored(
  parts: ImportParts,
  ref: string,
  read: () => Promise<ReadCache>,
  signal: AbortSignal,
): Promise<ReadCache> {
  const [asked] = await Promise.allSettled([read()]);
  if (asked.status === 'fulfilled' && asked.value.records.length > 0) return asked.value;
  signal.throwIfAborted();
  const place = await storedPlace(parts, ref);
  const records = place === undefined ? [] : await readRecords(place, signal);
  if (place !== undefined && records.length > 0) return { place, records };
  if (asked.status === 'rejected') throw asked.reason;
  return asked.value;
}

async function readRecords(place: CacheSource, signal: AbortSignal): Promise<CarriedRecord<RemoteResult>[]> {
  const { mediaType, bytes } = await place.root(signal);
  const what = `cache ${place.name}`;
  const root = parseManifest(bytes, what, isIndexType(mediaType) || isManifestType(mediaType) ? mediaType : undefined);
  if (root.kind === 'manifest') return await recordsOfManifest(place, root, what, signal);
  const config = root.manifests.find((one) => one.mediaType === CACHE_CONFIG_TYPE);
  if (config !== undefined) return await recordsOfConfig(place, config, root.manifests, what, signal);
  const all: CarriedRecord<RemoteResult>[] = [];
  let configBytes = 0;
  const images = root.manifests.filter((one) => isManifestType(one.mediaType) && !isAttestation(one));
  for (const image of images.slice(0, MAX_IMAGES)) {
    const document = await place.document(image, MAX_MANIFEST_BYTES, signal);
    const manifest = parseManifest(document, `${what}: ${image.digest}`, image.mediaType);
    if (manifest.kind !== 'manifest') continue;
    configBytes += manifest.config.size;
    if (configBytes > MAX_CACHE_CONFIG_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `${what}: its images have configs of over ${MAX_CACHE_CONFIG_BYTES} bytes: name the manifest of one of them`,
      );
    }
    const before = all.length;
    // Each image has a graph of its own; joined, the later ones' positions move.
    for (const { digest, inputs, results } of await recordsOfManifest(place, manifest, what, signal)) {
      const moved = inputs.map((links) => links.map(({ record, selector }) => ({ record: record + before, selector })));
      all.push({ digest, inputs: moved, results });
    }
  }
  return all;
}

async function recordsOfManifest(
  place: CacheSource,
  manifest: Manifest,
  what: string,
  signal: AbortSignal,
): Promise<CarriedRecord<RemoteResult>[]> {
  const { config, layers } = manifest;
  if (config.mediaType === CACHE_CONFIG_TYPE) return await recordsOfConfig(place, config, layers, what, signal);
  const bytes = await place.document(config, MAX_CONFIG_BYTES, signal);
  const image = parseImageConfig(bytes, `${what}: config`);
  const cache = (JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>)['moby.buildkit.cache.v0'];
  // An image without a cache in it is none, and no error: it may have been pushed by another builder.
  if (typeof cache !== 'string') return [];
  const diffIDs = image.rootfs.diff_ids;
  if (diffIDs.length !== layers.length) {
    throw new TareError('InvalidArgument', `${what}: ${layers.length} layers, but ${diffIDs.length} diff_ids`);
  }
  const steps = (image.history ?? []).filter(({ empty_layer }) => empty_layer !== true);
  const described = layers.map((descriptor, index): RemoteLayer => {
    // A history that leaves layers out tells nothing of any.
    const step = steps.length === layers.length ? steps[index] : undefined;
    const createdMs = step?.created === undefined ? Number.NaN : Date.parse(step.created);
    return {
      ...{ diffID: diffIDs[index]!, descriptor },
      ...(createdMs > 0 ? { createdMs } : {}),
      ...(step?.created_by === undefined ? {} : { description: step.created_by }),
    };
  });
  const created = image.created === undefined ? 0 : Date.parse(image.created);
  return parseInlineRecords(Buffer.from(cache, 'base64'), described, Math.max(created, 0), `${what}: inline cache`);
}

async function recordsOfConfig(
  place: CacheSource,
  config: Descriptor,
  blobs: readonly Descriptor[],
  what: string,
  signal: AbortSignal,
): Promise<CarriedRecord<RemoteResult>[]> {
  const bytes = await place.document(config, MAX_CACHE_CONFIG_BYTES, signal);
  return parseCacheConfig(bytes, byDigest(blobs), what);
}

/**
 * Stores one layer's blob and unpacks it, unless it is there. The blob must be what its digest says, its tar what the diffID says:
 * a cache can answer for nothing but what its keys lead to.
 */
async function bring(
  parts: ImportParts,
  place: CacheSource,
  { diffID, descriptor }: RemoteLayer,
  { signal, progress }: Pick<OperationContext, 'signal' | 'progress'>,
): Promise<void> {
  const { content, layers } = parts;
  if (await layers.has(diffID)) return;
  signal.throwIfAborted();
  const { digest, size } = descriptor;
  progress.status(digest, { current: 0, total: size });
  await using writer = await content.claim({ digest, sizeBytes: size }, signal);
  if (writer !== undefined) {
    let current = writer.offset;
    for await (const chunk of place.blob(descriptor, writer.offset, signal)) {
      await writer.write(chunk);
      current += chunk.byteLength;
      progress.status(digest, { current: Math.min(current, size), total: size });
    }
    await writer.commit();
  }
  progress.status(digest, { current: size, total: size, isDone: true });
  await shown(progress, `extracting ${digest}`, async () =>
    layers.apply({ path: await content.path(digest) }, diffID, signal),
  );
  await recordBlob(parts, diffID, FOREIGN_FORM, { diffID, descriptor });
}
