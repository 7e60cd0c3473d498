import { TareError } from '../errors/index.ts';
import type { ContentStore, Descriptor, Platform } from '../storage/index.ts';
import { type ArchiveBlob, type ArchiveSource, blobName } from './archive-source.ts';
import { type ArchivedLayer, type LoadedImage, readConfig, unpackLayers } from './loaded-image.ts';
import {
  type Index,
  isAttestation,
  isIndexType,
  isManifestType,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseManifest,
  requireImage,
  requireLayerType,
} from './manifest.ts';
import { bestPlatform, formatPlatform, platformFit } from './platform.ts';
import { canonical, parseReference, type Reference, withDefaultTag } from './reference.ts';
import type { Unpacker } from './unpack.ts';

export const MAX_DEPTH = 4;
export const MAX_DOCUMENTS = 1000;

/** An image that an OCI layout offers, chosen for a platform. */
export interface OciImage {
  descriptor: Descriptor;
  names: Reference[];
  /** The only entry of this name, where it is an index. */
  index?: Descriptor;
}

/** A manifest in the layout with what its chain of indexes said of it. */
interface Candidate {
  descriptor: Descriptor;
  platform: Platform | undefined;
}

/**
 * The images of an OCI layout, one for each entry of `index.json`; where an entry or several entries of one name offer
 * several platforms, the best for `wanted`.
 *
 * @throws {TareError} InvalidArgument: malformed documents; NotFound: nothing for this platform
 * @see image-spec, image-layout.md
 */
export async function findOciImages(
  source: ArchiveSource,
  content: ContentStore,
  index: Index,
  wanted: Platform,
): Promise<OciImage[]> {
  const budget = { documents: MAX_DOCUMENTS };
  const groups = new Map<string, { names: Map<string, Reference>; candidates: Candidate[]; entries: Descriptor[] }>();
  for (const [position, descriptor] of index.manifests.entries()) {
    if (isAttestation(descriptor)) continue;
    const name = nameOf(descriptor, source.what);
    const candidates = await expand(source, content, descriptor, descriptor.platform, budget, 0);
    if (candidates.length === 0) continue;
    const key = groupKey(name, descriptor, position);
    const group = groups.get(key) ?? { names: new Map<string, Reference>(), candidates: [], entries: [] };
    if (name !== undefined) group.names.set(canonical(name), name);
    group.candidates.push(...candidates);
    group.entries.push(descriptor);
    groups.set(key, group);
  }
  return mergeByDigest(
    [...groups.values()].map(({ names, candidates, entries: [entry, ...others] }) => ({
      descriptor: choose(candidates, wanted, source.what),
      names: [...names.values()],
      ...(others.length === 0 && isIndexType(entry!.mediaType) ? { index: entry! } : {}),
    })),
  );
}

/** Entries of one name are platforms of one image, and so are nameless entries that say their platform. */
function groupKey(name: Reference | undefined, descriptor: Descriptor, position: number): string {
  if (name !== undefined) return `name ${canonical(name)}`;
  return descriptor.platform === undefined ? `entry ${position}` : 'nameless';
}

function mergeByDigest(images: OciImage[]): OciImage[] {
  const merged = new Map<string, OciImage>();
  for (const image of images) {
    const known = merged.get(image.descriptor.digest);
    if (known === undefined) merged.set(image.descriptor.digest, image);
    else known.names.push(...image.names);
  }
  return [...merged.values()];
}

/**
 * The name that a layout gives an image. containerd writes the whole name in an annotation of its own; the standard's
 * `ref.name` is often a tag alone, which names nothing by itself.
 */
function nameOf(descriptor: Descriptor, what: string): Reference | undefined {
  const whole = descriptor.annotations?.['io.containerd.image.name'];
  const ref = descriptor.annotations?.['org.opencontainers.image.ref.name'];
  const text = whole ?? (ref !== undefined && /[/:]/.test(ref) ? ref : undefined);
  if (text === undefined || text === '') return undefined;
  try {
    const { domain, path, tag } = withDefaultTag(parseReference(text));
    // A digest belongs to the manifest, not to a name that is about to point at it.
    return tag === undefined ? undefined : { domain, path, tag };
  } catch (cause) {
    throw new TareError(
      'InvalidArgument',
      `${what}: index.json names an image ${JSON.stringify(text)}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

async function expand(
  source: ArchiveSource,
  content: ContentStore,
  descriptor: Descriptor,
  platform: Platform | undefined,
  budget: { documents: number },
  depth: number,
): Promise<Candidate[]> {
  if (isManifestType(descriptor.mediaType)) return [{ descriptor, platform }];
  if (!isIndexType(descriptor.mediaType)) return [];
  if (depth >= MAX_DEPTH) {
    throw new TareError('InvalidArgument', `${source.what}: indexes inside indexes, more than ${MAX_DEPTH} deep`);
  }
  const document = await readDocument(source, content, descriptor, budget);
  if (document.kind !== 'index') return [{ descriptor, platform }];
  const candidates: Candidate[] = [];
  for (const inner of document.manifests) {
    if (isAttestation(inner)) continue;
    candidates.push(...(await expand(source, content, inner, inner.platform ?? platform, budget, depth + 1)));
  }
  return candidates;
}

function choose(candidates: Candidate[], wanted: Platform, what: string): Descriptor {
  // A layout with a single image is taken as it is; its config is compared later when a platform was asked for.
  if (candidates.length === 1) return candidates[0]!.descriptor;
  const anyPlatform: Platform = { os: wanted.os, architecture: '' };
  const best = bestPlatform(candidates, (candidate) => candidate.platform ?? anyPlatform, wanted);
  if (best !== undefined) return best.descriptor;
  const offered = candidates.map(({ platform }) => (platform === undefined ? 'unknown' : formatPlatform(platform)));
  throw new TareError(
    'NotFound',
    `${what}: no image for ${formatPlatform(wanted)}: it has ${[...new Set(offered)].join(', ')}`,
  );
}

/** Stores one image of a layout. */
export async function loadOciImage(
  source: ArchiveSource,
  content: ContentStore,
  unpacker: Unpacker,
  image: OciImage,
  platform: Platform | undefined,
): Promise<LoadedImage> {
  const { descriptor } = image;
  const what = `${source.what}: manifest ${descriptor.digest}`;
  const manifest = await readDocument(source, content, descriptor, { documents: 1 });
  if (manifest.kind !== 'manifest') throw new TareError('InvalidArgument', `${what} is an index, not a manifest`);
  requireImage(manifest, what);
  const config = await readConfig(content, await requireBlob(source, manifest.config), what);
  if (platform !== undefined && platformFit(config, platform) === 0) {
    throw new TareError(
      'NotFound',
      `${what}: the image is for ${formatPlatform(config)}, not for ${formatPlatform(platform)}`,
    );
  }
  const layers = await unpackLayers(unpacker, config, await archivedLayers(source, manifest, what), what);
  return {
    id: manifest.config.digest,
    manifest: { mediaType: manifest.mediaType, digest: descriptor.digest, size: descriptor.size },
    config,
    layers,
    names: image.names,
  };
}

async function archivedLayers(source: ArchiveSource, manifest: Manifest, what: string): Promise<ArchivedLayer[]> {
  const layers: ArchivedLayer[] = [];
  for (const layer of manifest.layers) {
    requireLayerType(layer, what);
    layers.push({ blob: await requireBlob(source, layer), mediaType: layer.mediaType });
  }
  return layers;
}

/** Reads an index or a manifest that the archive must have. @throws {TareError} InvalidArgument */
export async function readDocument(
  source: ArchiveSource,
  content: ContentStore,
  descriptor: Descriptor,
  budget: { documents: number },
): Promise<Manifest | Index> {
  budget.documents -= 1;
  if (budget.documents < 0) {
    throw new TareError('InvalidArgument', `${source.what}: more than ${MAX_DOCUMENTS} indexes and manifests`);
  }
  const what = `${source.what}: ${isIndexType(descriptor.mediaType) ? 'index' : 'manifest'} ${descriptor.digest}`;
  const blob = await requireBlob(source, descriptor);
  if (blob.sizeBytes > MAX_MANIFEST_BYTES) {
    throw new TareError(
      'InvalidArgument',
      `${what} has ${blob.sizeBytes} bytes, at most ${MAX_MANIFEST_BYTES} are allowed`,
    );
  }
  return parseManifest(await content.read(blob.digest, MAX_MANIFEST_BYTES), what, descriptor.mediaType);
}

async function requireBlob(source: ArchiveSource, descriptor: Descriptor): Promise<ArchiveBlob> {
  const blob = await source.blob(blobName(descriptor.digest));
  if (blob === undefined) {
    throw new TareError(
      'InvalidArgument',
      `${source.what}: blob ${descriptor.digest} (${descriptor.mediaType}) is missing`,
    );
  }
  if (blob.sizeBytes !== descriptor.size) {
    throw new TareError(
      'InvalidArgument',
      `${source.what}: blob ${descriptor.digest} has ${blob.sizeBytes} bytes, its descriptor says ${descriptor.size}`,
    );
  }
  return blob;
}
