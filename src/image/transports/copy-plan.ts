import { TareError } from '../../errors/index.ts';
import type { Descriptor, Platform } from '../../storage/index.ts';
import {
  type Index,
  isAttestation,
  isImageConfigType,
  isIndexType,
  isManifestType,
  type Manifest,
  mediaTypes,
} from '../manifest.ts';
import { bestPlatform, formatPlatform } from '../platform.ts';
import { type CompressionChoice, checkCompression } from './copy-layer.ts';
import type { ImageDestination } from './image-destination.ts';
import { formatOf, layerTypeOf, type ManifestFormat, manifestTypeOf } from './layer-types.ts';

/** What a user may ask of a copy. */
export interface CopyOptions {
  /** Which images of an index: the one for `platform`, all with the index, or the index alone. 'system' unless given. */
  instances?: 'system' | 'all' | 'index-only';
  /** The host's unless given. */
  platform?: Platform;
  /** Undefined: the source's where the destination can hold it. */
  format?: ManifestFormat | undefined;
  /** Compress layers, also where the destination would keep them as they are. */
  compress?: boolean;
  compression?: Partial<CompressionChoice>;
  decompress?: boolean;
  /** Fail rather than change a digest. */
  preserveDigests?: boolean;
  removeSignatures?: boolean;
  /** Take along the bytes of layers that are not to be distributed; otherwise they stay names where they can. */
  foreignLayers?: boolean;
  /** Also what refers to the image: referrers (distribution-spec) and cosign's tags. */
  withReferrers?: boolean;
  /** Blobs that go at once; 6 unless given. */
  concurrency?: number;
  signal?: AbortSignal;
  onProgress?(progress: CopyProgress): void;
}

/** A step of a copy. */
export interface CopyProgress {
  descriptor: Descriptor;
  kind: 'config' | 'layer' | 'manifest';
  state: 'copying' | 'existed' | 'mounted' | 'done' | 'left out';
  copiedBytes: number;
}

/** What happens to layers, decided once for a copy. */
export interface LayerPolicy {
  /** Undefined: they stay as they are. */
  wanted: CompressionChoice | 'none' | undefined;
  /** Also layers that are compressed otherwise are compressed anew. */
  isStrict: boolean;
}

/** @throws {TareError} InvalidArgument, Unsupported: wishes that exclude each other, or that the destination cannot meet */
export function layerPolicy(options: CopyOptions, destination: ImageDestination): LayerPolicy {
  const { compress = false, decompress = false, compression = {} } = options;
  const choice: CompressionChoice = { format: compression.format ?? 'gzip', level: compression.level };
  checkCompression(choice);
  if (compress && decompress) throw new TareError('InvalidArgument', 'compress or decompress layers, not both');
  if (options.format === 'v2s2' && choice.format === 'zstd') {
    throw new TareError(
      'InvalidArgument',
      "docker's schema 2 has no layers compressed with zstd: copy with --format oci",
    );
  }
  if (isPinned(options, destination)) {
    if (compress || decompress) {
      throw new TareError(
        'InvalidArgument',
        'digests are to be kept, so layers can be neither compressed nor decompressed',
      );
    }
    return { wanted: undefined, isStrict: false };
  }
  const action = decompress ? 'decompress' : compress ? 'compress' : destination.rules.layers;
  if (action === 'preserve') return { wanted: undefined, isStrict: false };
  if (action === 'decompress') return { wanted: 'none', isStrict: false };
  return { wanted: choice, isStrict: compression.format !== undefined };
}

/** Whether every manifest must stay as it is. */
export const isPinned = (options: CopyOptions, destination: ImageDestination): boolean =>
  options.preserveDigests === true || options.withReferrers === true || destination.rules.digest !== undefined;

/**
 * The format that an image gets.
 * @throws {TareError} Unsupported: the destination cannot hold it
 */
export function targetFormat(
  manifest: Manifest,
  options: CopyOptions,
  policy: LayerPolicy,
  destination: ImageDestination,
): ManifestFormat {
  const { manifestTypes } = destination.rules;
  const own = formatOf(manifest.mediaType);
  const wanted = options.format ?? (manifestTypes.includes(manifest.mediaType) ? own : formatOf(manifestTypes[0]!));
  if (!manifestTypes.includes(manifestTypeOf(wanted))) {
    throw new TareError('Unsupported', `${destination.what} cannot hold manifests in the format ${wanted}`);
  }
  const staysZstd = manifest.layers.some(({ mediaType }) => layerTypeOf(mediaType)?.compression === 'zstd');
  const hasZstd = policy.wanted === undefined ? staysZstd : policy.wanted !== 'none' && policy.wanted.format === 'zstd';
  // Docker's format cannot tell zstd; OCI's can, and nobody asked for docker's.
  const isFree = options.format === undefined && manifestTypes.includes(mediaTypes.manifest);
  return wanted === 'v2s2' && hasZstd && isFree ? 'oci' : wanted;
}

/** The format that an index gets: docker's cannot list OCI manifests. */
export function indexFormat(index: Index, options: CopyOptions, destination: ImageDestination): ManifestFormat {
  if (options.format !== undefined) return options.format;
  const own = formatOf(index.mediaType);
  return destination.rules.manifestTypes.includes(manifestTypeOf(own)) ? own : 'oci';
}

/** The image of an index for a platform. Indexes inside count by what their entry says. @throws {TareError} NotFound */
export function chooseInstance(index: Index, wanted: Platform, what: string): Descriptor {
  const offered = index.manifests.filter((entry) => !isAttestation(entry));
  if (offered.length === 1 && offered[0]!.platform === undefined) return offered[0]!;
  const any: Platform = { os: wanted.os, architecture: '' };
  const best = bestPlatform(offered, (entry) => entry.platform ?? any, wanted);
  if (best !== undefined) return best;
  const names = offered.map(({ platform }) => (platform === undefined ? 'unknown' : formatPlatform(platform)));
  throw new TareError(
    'NotFound',
    `${what}: no image for ${formatPlatform(wanted)}: it has ${[...new Set(names)].join(', ') || 'none'}`,
  );
}

/** Whether a manifest is a container image, whose layers have a diffID each. */
export const isImage = (manifest: Manifest): boolean => isImageConfigType(manifest.config.mediaType);

/** @throws {TareError} Unsupported: an index lists something that is neither a manifest nor an index */
export function requireManifestType({ mediaType, digest }: Descriptor, what: string): void {
  if (isManifestType(mediaType) || isIndexType(mediaType)) return;
  throw new TareError('Unsupported', `${what}: ${digest} has the unknown type ${JSON.stringify(mediaType)}`);
}
