import { kindOf } from '../errors/index.ts';
import { isAttestation, isImageConfigType, isIndexType, isManifestType, parseManifest } from '../image/index.ts';
import { type BlobReader, type Descriptor, type Digest, DigestMismatch } from '../storage/index.ts';

/** What a manifest or an index refers to. */
interface Links {
  manifests: Descriptor[];
  /** Config and layers. */
  blobs: Digest[];
  isImage: boolean;
}

// Blobs never change, so what was read once stays true. Kept small: indexes and attestations are few beside images.
const MAX_REMEMBERED = 10_000;
const remembered = new Map<Digest, Links>();

/**
 * All blobs that documents refer to and that are here: indexes inside of indexes, attestations, artifacts. Images are
 * left to their own records: one that an index lists and nobody recorded was removed.
 *
 * @param isRecorded whether a manifest is that of a recorded image
 */
export async function reachable(
  content: Pick<BlobReader, 'has' | 'read'>,
  roots: readonly Descriptor[],
  isRecorded: (manifest: Digest) => boolean,
): Promise<Set<Digest>> {
  const found = new Set<Digest>(roots.map(({ digest }) => digest));
  const pending = [...roots];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { manifests, blobs } = await linksOf(content, next);
    for (const digest of blobs) found.add(digest);
    for (const manifest of manifests) {
      if (found.has(manifest.digest) || !(await content.has(manifest.digest))) continue;
      if (await isRemoved(content, manifest, isRecorded)) continue;
      found.add(manifest.digest);
      pending.push(manifest);
    }
  }
  return found;
}

async function isRemoved(
  content: Pick<BlobReader, 'has' | 'read'>,
  manifest: Descriptor,
  isRecorded: (manifest: Digest) => boolean,
): Promise<boolean> {
  if (isRecorded(manifest.digest)) return false;
  const subject = manifest.annotations?.['vnd.docker.reference.digest'];
  if (isAttestation(manifest)) return subject !== undefined && !isRecorded(subject as Digest);
  return (await linksOf(content, manifest)).isImage;
}

async function linksOf(content: Pick<BlobReader, 'has' | 'read'>, document: Descriptor): Promise<Links> {
  const known = remembered.get(document.digest);
  if (known !== undefined) return known;
  const links = await readLinks(content, document);
  // It may be fetched again, whole.
  if (links === undefined) return nothing;
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
  remembered.set(document.digest, links);
  return links;
}

const nothing: Links = { manifests: [], blobs: [], isImage: false };

/** @returns undefined: it is not here, or damaged */
async function readLinks(
  content: Pick<BlobReader, 'has' | 'read'>,
  { digest, mediaType }: Descriptor,
): Promise<Links | undefined> {
  if (!isIndexType(mediaType) && !isManifestType(mediaType)) return nothing;
  if (!(await content.has(digest))) return undefined;
  let document: ReturnType<typeof parseManifest>;
  try {
    document = parseManifest(await content.read(digest), `document ${digest}`, mediaType);
  } catch (error) {
    if (error instanceof DigestMismatch) return undefined;
    // Nobody checked what an index lists beside images; what cannot be read refers to nothing.
    if (kindOf(error) === 'InvalidArgument' || kindOf(error) === 'Unsupported') return nothing;
    throw error;
  }
  if (document.kind === 'index') return { ...nothing, manifests: document.manifests };
  return {
    manifests: [],
    blobs: [document.config.digest, ...document.layers.map((layer) => layer.digest)],
    isImage: isImageConfigType(document.config.mediaType) && document.artifactType === undefined,
  };
}
