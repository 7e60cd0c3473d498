import { TareError } from '../../errors/index.ts';
import { MAX_LAYERS, mediaTypes } from '../../image/index.ts';
import type { Descriptor, DiffID, Platform } from '../../storage/index.ts';
import { imageSubjects, statementOf } from '../attestations/statement.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { ExportContext, ExportedPart, ExportSource, PartAttestation } from '../exporter.ts';
import { Annotations } from './annotations.ts';
import type { Attributes } from './attributes.ts';
import { type CompressionChoice, compressionOf } from './compression-choice.ts';
import { epochOf } from './epoch.ts';
import { completeConfig } from './image-config.ts';
import {
  attestationManifest,
  documentOf,
  type ImageDocument,
  indexOf,
  manifestOf,
  platformOf,
  store,
} from './image-documents.ts';
import { type ImageLayer, layerBlobs } from './layer-blobs.ts';
import { shown } from './work-status.ts';

/** How an image is to be made, whatever becomes of it. */
export interface ImageOptions {
  isOci: boolean;
  compression: CompressionChoice;
  annotations: Annotations;
  rewritesTimes: boolean;
  epoch: string | undefined;
  /** Attestations have no place in it. */
  isBare: boolean;
}

export function imageOptions(
  attributes: Attributes,
  source: ExportSource,
  defaults: { compression: CompressionChoice['kind']; isBare?: boolean },
): ImageOptions {
  const isBare = defaults.isBare ?? false;
  const hasAttestations = !isBare && source.parts.some(({ attestations }) => attestations.length > 0);
  const wantsOci = attributes.flag('oci-mediatypes', true);
  const compression = compressionOf(attributes, defaults.compression);
  // BuildKit's long-gone build information, docker's hint to loaders, and what containers' runtimes do with an image.
  attributes.ignore('buildinfo', 'buildinfo-attrs', 'prefer-nondist-layers', 'oci-artifact');
  return {
    // Attestations and zstd are OCI's alone.
    isOci: wantsOci || hasAttestations || compression.kind === 'zstd',
    compression,
    annotations: Annotations.of(attributes, source.metadata),
    rewritesTimes: attributes.flag('rewrite-timestamp', false),
    epoch: attributes.text('source-date-epoch'),
    isBare,
  };
}

/** One platform's image, its blobs and documents stored. */
export interface PlatformImage {
  platform: Platform;
  manifest: Descriptor;
  config: Descriptor;
  layers: ImageLayer[];
  created: string;
  attestation?: Descriptor;
}

export interface MadeImage {
  images: PlatformImage[];
  /** What names stand for: the index if there is one, else the manifest. */
  root: Descriptor;
  index?: Descriptor;
}

/** Makes the documents and blobs of an image of each part. Hold the stores' content meanwhile. */
export async function makeImage(
  parts: Pick<BuilderParts, 'content' | 'layers' | 'images' | 'db' | 'now'>,
  source: ExportSource,
  options: ImageOptions,
  names: readonly string[],
  { progress, signal }: Pick<ExportContext, 'progress' | 'signal'>,
): Promise<MadeImage> {
  const layers = await shown(progress, 'exporting layers', () =>
    Promise.all(source.parts.map((part) => sealed(parts, source, part, options, signal))),
  );
  const images: PlatformImage[] = [];
  for (const [position, part] of source.parts.entries()) {
    signal.throwIfAborted();
    images.push(await makePart(parts, source, part, layers[position]!, options, names, progress));
  }
  const isIndexed =
    source.isMultiPlatform ||
    images.length > 1 ||
    options.annotations.wantsIndex ||
    images.some(({ attestation }) => attestation !== undefined);
  if (!isIndexed) {
    const [image] = images;
    if (image === undefined) throw new TareError('InvalidArgument', 'the build has no result that could be an image');
    return { images, root: image.manifest };
  }
  const described = images.map(({ manifest, platform }) => {
    const annotations = { ...manifest.annotations, ...options.annotations.at('manifest-descriptor', platform) };
    return { ...manifest, ...(Object.keys(annotations).length === 0 ? {} : { annotations }), platform };
  });
  const attestations = images.flatMap(({ attestation }) => (attestation === undefined ? [] : [attestation]));
  const index = indexOf([...described, ...attestations], {
    isOci: options.isOci,
    annotations: options.annotations.at('index'),
  });
  await shown(progress, `exporting manifest list ${index.descriptor.digest}`, () => store(parts.content, [index]));
  return { images, root: index.descriptor, index: index.descriptor };
}

async function sealed(
  parts: Pick<BuilderParts, 'content' | 'layers' | 'images' | 'db'>,
  source: ExportSource,
  part: ExportedPart,
  options: ImageOptions,
  signal: AbortSignal,
): Promise<ImageLayer[]> {
  const { layers } = part.tree;
  if (layers.length > MAX_LAYERS) {
    throw new TareError(
      'InvalidArgument',
      `the result has ${layers.length} layers, and no more than ${MAX_LAYERS} can be stacked: copy it into a stage of its own`,
    );
  }
  const epochMs = epochOf(options.epoch, source.metadata, part.platformID);
  return await layerBlobs(parts, layers, {
    compression: options.compression,
    isOci: options.isOci,
    ...(options.rewritesTimes && epochMs !== undefined
      ? { rewriteMs: epochMs, keepTimes: baseLayers(source.metadata, part.platformID) }
      : {}),
    signal,
  });
}

/** Layers of the base image, as the frontend tells of it. */
function baseLayers(metadata: ReadonlyMap<string, Uint8Array>, platformID: string): ReadonlySet<DiffID> {
  const key = 'containerimage.base.config';
  const bytes = metadata.get(`${key}/${platformID}`) ?? metadata.get(key);
  if (bytes === undefined) return new Set();
  const document = JSON.parse(Buffer.from(bytes).toString('utf8')) as { rootfs?: { diff_ids?: unknown } } | null;
  const diffIDs = document?.rootfs?.diff_ids;
  return new Set(Array.isArray(diffIDs) ? (diffIDs as DiffID[]) : []);
}

async function makePart(
  { content, now }: Pick<BuilderParts, 'content' | 'now'>,
  source: ExportSource,
  part: ExportedPart,
  layers: ImageLayer[],
  options: ImageOptions,
  names: readonly string[],
  progress: ExportContext['progress'],
): Promise<PlatformImage> {
  const platform = platformOf(part);
  const inlineCache = await source.inlineCache?.(layers);
  const { bytes, config } = completeConfig(
    part,
    layers.map(({ name, diffID }) => ({ diffID, facts: source.layerFacts?.(name) })),
    { epochMs: epochOf(options.epoch, source.metadata, part.platformID), nowMs: now(), inlineCache },
  );
  const configDocument = documentOf(options.isOci ? mediaTypes.config : mediaTypes.dockerConfig, bytes);
  const manifest = manifestOf(
    configDocument.descriptor,
    layers.map(({ descriptor }) => descriptor),
    { isOci: options.isOci, annotations: options.annotations.at('manifest', platform) },
  );
  // The config first: a manifest in the store names nothing that isn't there.
  await shown(progress, `exporting manifest ${manifest.descriptor.digest}`, async () => {
    await shown(progress, `exporting config ${configDocument.descriptor.digest}`, () =>
      store(content, [configDocument]),
    );
    await store(content, [manifest]);
  });
  const made: PlatformImage = {
    platform,
    manifest: manifest.descriptor,
    config: configDocument.descriptor,
    layers,
    created: config.created!,
  };
  const attested = options.isBare ? [] : part.attestations;
  if (attested.length === 0) return made;
  const { descriptor } = await attest({ content }, attested, made, names, progress);
  return { ...made, attestation: descriptor };
}

async function attest(
  { content }: Pick<BuilderParts, 'content'>,
  attestations: readonly PartAttestation[],
  { platform, manifest, config, layers, created }: PlatformImage,
  names: readonly string[],
  progress: ExportContext['progress'],
): Promise<ImageDocument> {
  const subjects = imageSubjects(names, platform, manifest.digest);
  const image = { name: names[0] ?? manifest.digest, manifest: manifest.digest, config: config.digest, layers };
  const form = { createdMs: Date.parse(created), image };
  const statements = await Promise.all(attestations.map((one) => statementOf(one, subjects, form)));
  const { manifest: made, blobs } = attestationManifest(manifest.digest, statements);
  await shown(progress, `exporting attestation manifest ${made.descriptor.digest}`, () =>
    store(content, [...blobs, made]),
  );
  return made;
}
