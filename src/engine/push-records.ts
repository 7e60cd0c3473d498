import type { Reference } from '../image/index.ts';
import type { Transaction } from '../state/index.ts';
import type { Digest } from '../storage/index.ts';
import { putBlobSources } from './blob-sources.ts';
import { putName, type RecordedImage, transferEvent } from './image-records.ts';
import { findNamed } from './image-resolve.ts';

/**
 * What is known once an image was sent: where its blobs are too, the digest by which the registry has it, and an event.
 *
 * @param image what was sent; undefined: no image of this store
 * @param root of the index or manifest that the registry has under this name
 */
export function recordPush(
  tx: Transaction,
  name: Reference,
  image: RecordedImage | undefined,
  { root, blobs }: { root: Digest; blobs: readonly Digest[] },
): void {
  const { domain, path } = name;
  // Another platform that was sent alone has no name here, and a digest would make it an image of its own.
  if (image !== undefined && findNamed(tx, name)?.id === image.id) {
    putName(tx, { domain, path, digest: root }, image.id, image.lastTaggedMs, root);
  }
  putBlobSources(tx, { domain, path }, blobs);
  transferEvent(tx, 'push', name, image?.labels);
}
