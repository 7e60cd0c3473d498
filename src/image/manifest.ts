import { TareError } from '../errors/index.ts';
import { type Compression, type Descriptor, type Platform, parseDigest } from '../storage/index.ts';
import { MAX_LAYERS, parsePlatformFields } from './config.ts';
import {
  compact,
  type Foreign,
  listAt,
  objectAt,
  optional,
  parseJson,
  sizeAt,
  textAt,
  textMapAt,
  textsAt,
} from './json.ts';

/** Media types, of OCI's image-spec (media-types.md) and of docker's distribution (schema 2). */
export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

const indexTypes: readonly string[] = [mediaTypes.index, mediaTypes.dockerIndex];
const manifestTypes: readonly string[] = [mediaTypes.manifest, mediaTypes.dockerManifest];
const configTypes: readonly string[] = [mediaTypes.config, mediaTypes.dockerConfig];

/** One image: a config and its layers, base first. */
export interface Manifest {
  kind: 'manifest';
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
  annotations: Record<string, string>;
  artifactType?: string;
}

/** A list of manifests, or of further indexes. */
export interface Index {
  kind: 'index';
  mediaType: string;
  manifests: Descriptor[];
  annotations: Record<string, string>;
}

/** The least that image-spec asks a registry to accept. */
export const MAX_MANIFEST_BYTES = 4 << 20;
const MAX_INDEX_ENTRIES = 10_000;

export const isIndexType = (mediaType: string): boolean => indexTypes.includes(mediaType);
export const isManifestType = (mediaType: string): boolean => manifestTypes.includes(mediaType);
export const isImageConfigType = (mediaType: string): boolean => configTypes.includes(mediaType);

/**
 * Reads a manifest or an index, of OCI or docker schema 2.
 *
 * @param what names the document in errors
 * @param expectedType the media type that its descriptor said; the document's own must agree (image-spec, descriptor.md)
 * @throws {TareError} InvalidArgument: the field and what would be right; Unsupported: docker's schema 1
 */
export function parseManifest(bytes: Uint8Array, what: string, expectedType?: string): Manifest | Index {
  const document = objectAt(parseJson(bytes, what, MAX_MANIFEST_BYTES), what);
  if (document['schemaVersion'] === 1 || 'fsLayers' in document) {
    throw new TareError(
      'Unsupported',
      `${what} is in docker's schema 1, which is obsolete: save or push the image again with a current tool`,
    );
  }
  if (document['schemaVersion'] !== 2) {
    throw new TareError(
      'InvalidArgument',
      `${what}: schemaVersion: want 2, not ${JSON.stringify(document['schemaVersion'])}`,
    );
  }
  const ownType = optional(document['mediaType'], `${what}: mediaType`, textAt);
  if (ownType !== undefined && expectedType !== undefined && ownType !== expectedType) {
    throw new TareError(
      'InvalidArgument',
      `${what}: it says mediaType ${ownType}, its descriptor says ${expectedType}`,
    );
  }
  const isIndex = 'manifests' in document;
  if (isIndex && ('layers' in document || 'config' in document)) {
    // Two readers could take such a document for two different images (CVE-2021-41190).
    throw new TareError('InvalidArgument', `${what} has both manifests and layers: it must be an index or a manifest`);
  }
  const mediaType = ownType ?? expectedType ?? (isIndex ? mediaTypes.index : mediaTypes.manifest);
  if (isIndex ? !isIndexType(mediaType) : !isManifestType(mediaType)) {
    throw new TareError(
      'InvalidArgument',
      `${what}: mediaType ${JSON.stringify(mediaType)} is not that of an ${isIndex ? 'image index' : 'image manifest'}`,
    );
  }
  const annotations = optional(document['annotations'], `${what}: annotations`, textMapAt) ?? {};
  if (isIndex) {
    const manifests = optional(document['manifests'], `${what}: manifests`, (value, where) =>
      listAt(value, where, parseDescriptor, MAX_INDEX_ENTRIES),
    );
    return { kind: 'index', mediaType, manifests: manifests ?? [], annotations };
  }
  const config = parseDescriptor(document['config'], `${what}: config`);
  // What is no image stacks nothing: BuildKit's caches list the layers of all their steps.
  const most = isImageConfigType(config.mediaType) ? MAX_LAYERS : MAX_INDEX_ENTRIES;
  const layers = optional(document['layers'], `${what}: layers`, (value, where) =>
    listAt(value, where, parseDescriptor, most),
  );
  return compact({
    kind: 'manifest' as const,
    mediaType,
    config,
    layers: layers ?? [],
    annotations,
    artifactType: optional(document['artifactType'], `${what}: artifactType`, textAt),
  });
}

/** @throws {TareError} InvalidArgument */
export function parseDescriptor(value: unknown, where: string): Descriptor {
  const document = objectAt(value, where);
  return compact({
    mediaType: textAt(document['mediaType'], `${where}.mediaType`),
    digest: digestAt(document, where),
    size: sizeAt(document['size'], `${where}.size`),
    urls: optional(document['urls'], `${where}.urls`, textsAt),
    annotations: optional(document['annotations'], `${where}.annotations`, textMapAt),
    platform: optional(document['platform'], `${where}.platform`, platformAt),
    artifactType: optional(document['artifactType'], `${where}.artifactType`, textAt),
  });
}

function digestAt(document: Foreign, where: string): Descriptor['digest'] {
  try {
    return parseDigest(document['digest']);
  } catch (cause) {
    throw new TareError('InvalidArgument', `${where}.digest: ${(cause as Error).message}`, { cause });
  }
}

const platformAt = (value: unknown, where: string): Platform => parsePlatformFields(objectAt(value, where), where);

/** @throws {TareError} Unsupported: the manifest is of an artifact (a chart, a signature), not of a container image */
export function requireImage(manifest: Manifest, what: string): void {
  if (isImageConfigType(manifest.config.mediaType)) return;
  throw new TareError(
    'Unsupported',
    `${what} is not a container image: its config is of type ${JSON.stringify(manifest.config.mediaType)}`,
  );
}

/** Whether a descriptor in an index stands for provenance or other attestations, which no machine runs. */
export const isAttestation = (descriptor: Descriptor): boolean =>
  descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
  (descriptor.platform?.os === 'unknown' && descriptor.platform.architecture === 'unknown');

export const isLayerType = (mediaType: string): boolean =>
  mediaType.startsWith('application/vnd.oci.image.layer.') ||
  mediaType.startsWith('application/vnd.docker.image.rootfs.') ||
  mediaType === 'application/vnd.docker.container.image.rootfs.diff+x-gtar';

/**
 * Checks that a layer's media type is one that can be unpacked.
 * @throws {TareError} Unsupported: encrypted layers, and what is no tar
 */
export function requireLayerType(descriptor: Descriptor, what: string): void {
  const { mediaType } = descriptor;
  if (mediaType.includes('+encrypted')) {
    throw new TareError('Unsupported', `${what}: layer ${descriptor.digest} is encrypted (${mediaType})`);
  }
  if (!isLayerType(mediaType)) {
    throw new TareError(
      'Unsupported',
      `${what}: layer ${descriptor.digest} has the unknown type ${JSON.stringify(mediaType)}`,
    );
  }
}

/** The media type of a layer stored with this compression. bzip2 and xz have none in the specification: docker's reader takes them anyway. */
export function layerMediaType(compression: Compression): string {
  if (compression === 'gzip') return mediaTypes.layerGzip;
  if (compression === 'zstd') return mediaTypes.layerZstd;
  return mediaTypes.layer;
}
