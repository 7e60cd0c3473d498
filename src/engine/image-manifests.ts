import { kindOf } from '../errors/index.ts';
import {
  blobsOf,
  isAttestation,
  isIndexType,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseManifest,
} from '../image/index.ts';
import type { Descriptor, Digest, Platform } from '../storage/index.ts';
import type { ImageParts } from './image-parts.ts';
import type { ImageOutline } from './image-records.ts';
import { variantsOf } from './image-variants.ts';
import type { ManifestSummary } from './types.ts';

const MAX_DEPTH = 4;
const MAX_LEAVES = 1000;

/** What an image's index lists, or its only manifest, with what of it is here. */
export async function manifestsOf(parts: ImageParts, image: ImageOutline): Promise<ManifestSummary[]> {
  const here = new Map([image, ...variantsOf(parts.db, image)].map((one) => [one.manifest.digest, one]));
  const { index, manifest, platform } = image;
  const leaves = new Map<Digest, Descriptor>();
  if (index !== undefined) await addLeaves(parts, index, leaves, new Set(), 0);
  const listed = [...leaves.values()];
  if (!listed.some(({ digest }) => digest === manifest.digest)) listed.unshift({ ...manifest, platform });
  return await Promise.all(listed.map((descriptor) => summaryOf(parts, descriptor, here)));
}

/** Adds the manifests of an index and of the indexes in it, each once. */
async function addLeaves(
  parts: ImageParts,
  index: Descriptor,
  leaves: Map<Digest, Descriptor>,
  seen: Set<Digest>,
  depth: number,
): Promise<void> {
  if (depth > MAX_DEPTH || seen.has(index.digest)) return;
  seen.add(index.digest);
  const document = await documentOf(parts, index);
  if (document?.kind !== 'index') return;
  for (const inner of document.manifests) {
    if (isIndexType(inner.mediaType)) await addLeaves(parts, inner, leaves, seen, depth + 1);
    else if (leaves.size < MAX_LEAVES && !leaves.has(inner.digest)) leaves.set(inner.digest, inner);
  }
}

/** undefined: it is not here, or no manifest; nobody looked into it before. */
async function documentOf({ content }: ImageParts, { digest, mediaType }: Descriptor) {
  if (!(await content.has(digest))) return undefined;
  try {
    return parseManifest(await content.read(digest, MAX_MANIFEST_BYTES), `manifest ${digest}`, mediaType);
  } catch (error) {
    if (['InvalidArgument', 'Unsupported', 'NotFound'].includes(kindOf(error))) return undefined;
    throw error;
  }
}

async function summaryOf(
  parts: ImageParts,
  descriptor: Descriptor,
  here: ReadonlyMap<Digest, ImageOutline>,
): Promise<ManifestSummary> {
  const image = here.get(descriptor.digest);
  if (image !== undefined) {
    const { bytes } = await storedBytes(parts, blobsOf(image));
    return {
      descriptor,
      isAvailable: true,
      contentBytes: bytes,
      kind: 'image',
      image: {
        platform: image.platform,
        unpackedBytes: image.sizeBytes,
        containers: parts.containersUsing(image.id).map(({ id }) => id),
      },
    };
  }
  const document = await documentOf(parts, descriptor);
  const blobs = document?.kind === 'manifest' ? blobsIn(document) : [];
  const { bytes, isAll } = await storedBytes(parts, [descriptor.digest, ...blobs]);
  const found = { descriptor, isAvailable: document !== undefined && isAll, contentBytes: bytes };
  if (isAttestation(descriptor)) {
    const attests = descriptor.annotations?.['vnd.docker.reference.digest'];
    return { ...found, kind: 'attestation', ...(attests === undefined ? {} : { attests }) };
  }
  const { platform } = descriptor;
  if (platform === undefined) return { ...found, kind: 'unknown' };
  return { ...found, kind: 'image', image: { platform: bare(platform), unpackedBytes: 0, containers: [] } };
}

const blobsIn = ({ config, layers }: Manifest): Digest[] => [config.digest, ...layers.map(({ digest }) => digest)];

const bare = ({ architecture, os, variant }: Platform): Platform => ({
  ...{ architecture, os },
  ...(variant === undefined ? {} : { variant }),
});

async function storedBytes({ content }: ImageParts, digests: readonly Digest[]) {
  let bytes = 0;
  let isAll = true;
  for (const digest of new Set(digests)) {
    if (await content.has(digest)) bytes += (await content.info(digest)).sizeBytes;
    else isAll = false;
  }
  return { bytes, isAll };
}
