import { TareError } from '../../errors/index.ts';
import { allEnded, MAX_LAYERS, mediaTypes } from '../../image/index.ts';
import type { Descriptor, DiffID, Platform } from '../../storage/index.ts';
import { imageSubjects, statementOf } from '../attestations/statement.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { ExportContext, ExportedPart, ExportSource, PartAttestation } from '../exporter.ts';
import { frontendDocument } from '../frontend-document.ts';
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
  /** Attestations are artifacts that say what they are about (image-spec 1.1, "subject"). */
  isArtifact: boolean;
  /** An index is made for attestations alone that are said only in images. */
  hasInline: boolean;
}

export function imageOptions(
  attributes: Attributes,
  source: ExportSource,
  defaults: { compression: CompressionChoice['kind']; isBare?: boolean; hasInline?: boolean },
): ImageOptions {
  const isBare = defaults.isBare ?? false;
  const said = isBare ? [] : source.parts.flatMap(({ attestations }) => attestations);
  const wantsOci = attributes.flag('oci-mediatypes', true);
  const compression = compressionOf(attributes, defaults.compression);
  // BuildKit's long-gone build information.
  attributes.ignore('buildinfo', 'buildinfo-attrs');
  if (attributes.flag('prefer-nondist-layers', false)) {
    throw new TareError(
      'Unsupported',
      'prefer-nondist-layers=true is not supported: layers are always stored, and pushed with the image',
    );
  }
  return {
    // Attestations and zstd are OCI's alone.
    isOci: wantsOci || said.length > 0 || compression.kind === 'zstd',
    compression,
    annotations: Annotations.of(attributes, source.metadata),
    rewritesTimes: attributes.flag('rewrite-timestamp', false),
    epoch: attributes.text('source-date-epoch'),
    isBare,
    isArtifact: attributes.flag('oci-artifact', false),
    hasInline: attributes.flag('attestation-inline', defaults.hasInline ?? true),
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
  options.annotations.requirePlatforms(source.parts.map(platformOf));
  const layers = await shown(progress, 'exporting layers', () =>
    allEnded(source.parts.map((part) => sealed(parts, source, part, options, signal))),
  );
  const isIndexed =
    source.isMultiPlatform ||
    source.parts.length > 1 ||
    options.annotations.wantsIndex ||
    source.parts.some((part) =>
      part.attestations.some((one) => !options.isBare && (options.hasInline || !one.isInlineOnly)),
    );
  const images: PlatformImage[] = [];
  for (const [position, part] of source.parts.entries()) {
    signal.throwIfAborted();
    const attestations = isIndexed && !options.isBare ? part.attestations : [];
    images.push(await makePart(parts, source, { ...part, attestations }, layers[position]!, options, names, progress));
  }
  if (!isIndexed) {
    const [image] = images;
    if (image === undefined) throw new TareError('InvalidArgument', 'the build has no result that could be an image');
    const annotations = options.annotations.at('manifest-descriptor', image.platform);
    return { images, root: { ...image.manifest, ...(annotations === undefined ? {} : { annotations }) } };
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
  const annotations = options.annotations.at('index-descriptor');
  const root = { ...index.descriptor, ...(annotations === undefined ? {} : { annotations }) };
  return { images, root, index: root };
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
  const document = frontendDocument<{ rootfs?: { diff_ids?: unknown } } | null>(bytes, key);
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
  if (part.attestations.length === 0) return made;
  const { descriptor } = await attest({ content }, part.attestations, made, names, options.isArtifact, progress);
  return { ...made, attestation: descriptor };
}

async function attest(
  { content }: Pick<BuilderParts, 'content'>,
  attestations: readonly PartAttestation[],
  { platform, manifest, config, layers, created }: PlatformImage,
  names: readonly string[],
  isArtifact: boolean,
  progress: ExportContext['progress'],
): Promise<ImageDocument> {
  const subjects = imageSubjects(names, platform, manifest.digest);
  const image = { name: names[0] ?? manifest.digest, manifest: manifest.digest, config: config.digest, layers };
  const form = { createdMs: Date.parse(created), image };
  const statements = await Promise.all(attestations.map((one) => statementOf(one, subjects, form)));
  const { manifest: made, blobs } = attestationManifest(manifest, statements, isArtifact);
  await shown(progress, `exporting attestation manifest ${made.descriptor.digest}`, () =>
    store(content, [...blobs, made]),
  );
  return made;
}
