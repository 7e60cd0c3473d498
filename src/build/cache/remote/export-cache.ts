import { TareError } from '../../../errors/index.ts';
import { mediaTypes } from '../../../image/index.ts';
import { type Descriptor, type DiffID, digestOf } from '../../../storage/index.ts';
import type { TypedOptions } from '../../build-types.ts';
import type { BuilderParts } from '../../builder-parts.ts';
import type { ExportContext, ExportSource } from '../../exporter.ts';
import { Attributes } from '../../exporters/attributes.ts';
import { compressionOf } from '../../exporters/compression-choice.ts';
import { layerBlobs } from '../../exporters/layer-blobs.ts';
import { warnOfUnknown } from '../../exporters/unknown-options.ts';
import { shown } from '../../exporters/work-status.ts';
import { CACHE_CONFIG_TYPE, cacheConfigOf, inlineRecordsOf } from './cache-config.ts';
import { localPlace, registryPlace } from './cache-place.ts';
import type { CarriedRecord, LocalResult, RemoteResult } from './carried.ts';
import { refuseForeignService } from './foreign-services.ts';

/** What of the cache is written: `min`, what the result is made of; `max`, all steps that led to it. */
export function cacheMode({ type, attributes }: TypedOptions): 'min' | 'max' {
  return new Attributes(`cache export ${type}`, attributes).oneOf('mode', ['min', 'max']) ?? 'min';
}

/** Types whose records go into the image itself; an exporter of images writes them. */
export const isInline = ({ type }: TypedOptions): boolean => type === 'inline';

/**
 * Writes records of the cache to a registry or to a folder at the client.
 *
 * @returns what the client is told: the place's new root, by which it keeps the folder's index
 * @throws {TareError} Unsupported: gha, s3, azblob. With `ignore-error` what goes wrong is a warning.
 */
export async function exportCache(
  parts: Pick<BuilderParts, 'content' | 'layers' | 'images' | 'holdContent'>,
  { type, attributes: values }: TypedOptions,
  records: readonly CarriedRecord<LocalResult>[],
  context: Pick<ExportContext, 'session' | 'progress' | 'signal'>,
): Promise<Readonly<Record<string, string>>> {
  const attributes = new Attributes(`cache export ${type}`, values);
  refuseForeignService(type);
  const isForgiven = attributes.flag('ignore-error', false);
  try {
    return await write(parts, type, attributes, records, context);
  } catch (error) {
    if (!isForgiven || context.signal.aborted) throw error;
    const short = `the cache was not exported: ${(error as Error).message}`;
    context.progress.warn({ level: 1, short, detail: [], ranges: [] });
    return {};
  }
}

async function write(
  parts: Pick<BuilderParts, 'content' | 'layers' | 'images' | 'holdContent'>,
  type: string,
  attributes: Attributes,
  records: readonly CarriedRecord<LocalResult>[],
  { session, progress, signal }: Pick<ExportContext, 'session' | 'progress' | 'signal'>,
): Promise<Readonly<Record<string, string>>> {
  const place =
    type === 'registry' ? await registryPlace(parts, attributes, [session]) : localPlace(attributes, 'dest', session);
  const isManifest = attributes.flag('image-manifest', true);
  const compression = compressionOf(attributes, 'gzip');
  attributes.flag('oci-mediatypes', true);
  attributes.ignore('mode');
  warnOfUnknown(attributes, { progress });
  await using _content = await parts.holdContent();
  const remote = await shown(progress, 'preparing build cache for export', () =>
    withBlobs(records, async (layers) => {
      const blobs = await layerBlobs(parts, layers, { compression, isOci: true, signal });
      return blobs.map(({ diffID, descriptor }) => ({ diffID, descriptor }));
    }),
  );
  const { bytes, blobs } = cacheConfigOf(remote);
  for (const descriptor of blobs) {
    await shown(progress, `writing layer ${descriptor.digest}`, () =>
      place.put(descriptor, (offset) => parts.content.open(descriptor.digest, offset), signal),
    );
  }
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
    : { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [...blobs, config] };
  const document = Buffer.from(JSON.stringify(root));
  const descriptor = await shown(
    progress,
    `writing cache ${isManifest ? 'image manifest' : 'manifest'} ${digestOf(document)}`,
    () => place.putRoot(root.mediaType, document, signal),
  );
  return { 'cache.manifest': JSON.stringify(descriptor) };
}

/** For `ExportSource.inlineCache`. */
export const inlineCacheOf =
  (
    { layers }: Pick<BuilderParts, 'layers'>,
    records: readonly CarriedRecord<LocalResult>[],
  ): NonNullable<ExportSource['inlineCache']> =>
  async (imageLayers) => {
    const inImage = new Map(
      imageLayers.map(({ name, diffID, descriptor }) => [name as string, { diffID, descriptor }]),
    );
    // Layers that the image does not have can't be named in it.
    const remote = await withBlobs(records, async (names) => {
      const found = names.map((name) => inImage.get(name) ?? inImage.get(layers.diffIDOf(name) ?? ''));
      return found.every((one) => one !== undefined) ? found : [];
    });
    return inlineRecordsOf(remote, imageLayers);
  };

async function withBlobs(
  records: readonly CarriedRecord<LocalResult>[],
  blobsOf: (layers: LocalResult['layers']) => Promise<{ diffID: DiffID; descriptor: Descriptor }[]>,
): Promise<CarriedRecord<RemoteResult>[]> {
  const remote: CarriedRecord<RemoteResult>[] = [];
  for (const { digest, inputs, results } of records) {
    const carried: RemoteResult[] = [];
    for (const { layers, createdMs } of results) carried.push({ layers: await blobsOf(layers), createdMs });
    remote.push({ digest, inputs, results: carried });
  }
  return remote;
}

/** @throws {TareError} InvalidArgument: no such cache */
export function requireKnownCache(type: string): void {
  refuseForeignService(type);
  if (['inline', 'registry', 'local'].includes(type)) return;
  throw new TareError(
    'InvalidArgument',
    `unknown cache type ${JSON.stringify(type.slice(0, 80))}: want inline, registry or local`,
  );
}
