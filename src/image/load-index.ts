import type { ContentStore, Descriptor, Digest } from '../storage/index.ts';
import { type ArchiveSource, blobName } from './archive-source.ts';
import { loadOciImage, MAX_DEPTH, MAX_DOCUMENTS, readDocument } from './load-oci.ts';
import type { StoredImage } from './loaded-image.ts';
import { isAttestation, isImageConfigType, isIndexType, isManifestType, type Manifest } from './manifest.ts';
import type { Unpacker } from './unpack.ts';

/**
 * Stores what an index lists beside the image that was chosen from it: other platforms, attestations. What the archive
 * does not hold whole is left out, as archives of one platform do that keep the index.
 *
 * @returns the other platforms
 * @throws {TareError} InvalidArgument, Unsupported: what of it is wrong
 */
export async function loadRest(
  source: ArchiveSource,
  content: ContentStore,
  unpacker: Unpacker,
  index: Descriptor,
  chosen: Digest,
): Promise<StoredImage[]> {
  const budget = { documents: MAX_DOCUMENTS };
  const images = new Map<Digest, StoredImage>();
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    const isIndex = isIndexType(descriptor.mediaType);
    if (!isIndex && !isManifestType(descriptor.mediaType)) return;
    if (descriptor.digest === chosen || depth > MAX_DEPTH || !(await holds(source, descriptor))) return;
    const document = await readDocument(source, content, descriptor, budget);
    if (document.kind === 'index') {
      for (const inner of document.manifests) await visit(inner, depth + 1);
    } else if ((await holdsAll(source, document)) && isImage(descriptor, document)) {
      const { names: _, ...image } = await loadOciImage(
        source,
        content,
        unpacker,
        { descriptor, names: [] },
        undefined,
      );
      images.set(image.id, image);
    }
  };
  await visit(index, 0);
  return [...images.values()];
}

const isImage = (descriptor: Descriptor, { config, artifactType }: Manifest): boolean =>
  !isAttestation(descriptor) && artifactType === undefined && isImageConfigType(config.mediaType);

/** Whether the archive has a blob; it lies in the store then. */
const holds = async (source: ArchiveSource, { digest }: Descriptor): Promise<boolean> =>
  (await source.blob(blobName(digest))) !== undefined;

async function holdsAll(source: ArchiveSource, { config, layers }: Manifest): Promise<boolean> {
  for (const blob of [config, ...layers]) if (!(await holds(source, blob))) return false;
  return true;
}
