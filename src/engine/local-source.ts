import { TareError } from '../errors/index.ts';
import {
  type BlobRange,
  checkedDocument,
  type ImageDocument,
  type ImageSource,
  isComplete,
  MAX_MANIFEST_BYTES,
  type Reference,
} from '../image/index.ts';
import type { Descriptor, Digest } from '../storage/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import type { RecordedImage } from './image-records.ts';
import { resolveImage } from './image-resolve.ts';
import type { LocalChoice } from './types.ts';

/**
 * An image of the engine's own store, to be copied elsewhere. Its blobs are held until it is disposed.
 *
 * @throws {TareError} NotFound: `No such image: REF`, not for this platform, or not all platforms are here
 */
export async function openLocalSource(parts: ImageParts, ref: string, choice: LocalChoice = {}): Promise<ImageSource> {
  await using opening = new AsyncDisposableStack();
  // Disposed last to first: the collection comes when nothing of ours is held any more.
  opening.defer(() => collectGarbage(parts));
  opening.use(await holdContent(parts));
  const image = resolveImage(parts.db, ref, choice.platform);
  let root = image.manifest;
  if (choice.all === true && image.index !== undefined) {
    if (!(await isComplete(parts.content, image.index))) {
      throw new TareError('NotFound', `${ref}: not all of its platforms are here: pull it with --all-platforms`);
    }
    root = image.index;
  }
  return new LocalSource(parts, image, root, ref, opening.move());
}

class LocalSource implements ImageSource {
  readonly what: string;
  readonly reference: Reference | undefined;
  readonly #parts: ImageParts;
  readonly #image: RecordedImage;
  readonly #root: Descriptor;
  readonly #held: AsyncDisposable;

  constructor(parts: ImageParts, image: RecordedImage, root: Descriptor, ref: string, held: AsyncDisposable) {
    this.what = `local:${ref}`;
    this.reference = image.references.find(({ digest }) => digest === undefined);
    this.#parts = parts;
    this.#image = image;
    this.#root = root;
    this.#held = held;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held[Symbol.asyncDispose]();
  }

  root(): Promise<ImageDocument> {
    return this.manifest(this.#root);
  }

  async manifest(descriptor: Descriptor): Promise<ImageDocument> {
    const bytes = await this.#parts.content.read(descriptor.digest, MAX_MANIFEST_BYTES);
    return checkedDocument(bytes, descriptor, `${this.what}: manifest ${descriptor.digest}`);
  }

  async *blob({ digest }: Descriptor, { offset, signal }: BlobRange = {}): AsyncGenerator<Uint8Array, void, void> {
    if (!(await this.#parts.content.has(digest))) {
      throw new TareError('NotFound', `${this.what}: blob ${digest} is lost: load or pull the image again`);
    }
    for await (const chunk of this.#parts.content.open(digest, offset)) {
      signal?.throwIfAborted();
      yield chunk;
    }
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    const found: Descriptor[] = [];
    for (const descriptor of this.#image.signatures) {
      const { bytes } = await this.manifest(descriptor);
      const { subject } = JSON.parse(bytes.toString('utf8')) as { subject?: { digest?: unknown } };
      if (subject?.digest === digest) found.push(descriptor);
    }
    return found;
  }

  async tagged(): Promise<ImageDocument | undefined> {
    return undefined;
  }

  async signatures(): Promise<Buffer[]> {
    return [];
  }
}
