import { TareError } from '../errors/index.ts';
import {
  type CommitOptions,
  commitImage as commitLayer,
  familiar,
  familiarName,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../image/index.ts';
import type { Transaction } from '../state/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import { findImage, imageEvent, putImage, putName } from './image-records.ts';
import { noteParent } from './image-uses.ts';

/** An image to be made of another one and a layer above it. */
export interface ImageCommit extends Omit<CommitOptions, 'createdMs'> {
  /** Digest of the base's config. */
  base: string;
  /** Reads the layer's tar, once. */
  layer: AsyncIterable<Uint8Array>;
  name: Reference | undefined;
  /** Called in the transaction that makes the image visible. */
  alongside(tx: Transaction, imageID: string): void;
}

/** The name that a new image is to have. @throws {TareError} InvalidArgument: no name, or one with a digest */
export function commitName(text: string): Reference {
  const name = withDefaultTag(parseReference(text));
  if (name.digest !== undefined) {
    throw new TareError('InvalidArgument', 'refusing to create a tag with a digest reference');
  }
  if (familiarName(name) === 'sha256') {
    throw new TareError(
      'InvalidArgument',
      'refusing to create an ambiguous tag using digest algorithm as name: `sha256:…` names an image by its digest',
    );
  }
  return name;
}

/** Makes an image and records it. @returns its id @throws {TareError} NotFound: the base */
export async function commitImage(parts: ImageParts, request: ImageCommit): Promise<string> {
  // Disposed last to first: the collection comes when nothing of ours is held any more.
  await using _collection = { [Symbol.asyncDispose]: () => collectGarbage(parts) };
  await using _lease = await holdContent(parts);
  const base = findImage(parts.db, request.base);
  if (base === undefined) throw new TareError('NotFound', `No such image: ${request.base}`);
  const image = await commitLayer(parts, base, request.layer, { ...request, createdMs: parts.now() });
  await parts.db.write((tx) => {
    putImage(tx, image);
    noteParent(tx, image.id, base.id, parts.now());
    if (request.name !== undefined) {
      putName(tx, request.name, image.id, parts.now());
      imageEvent(tx, 'tag', image, familiar(request.name));
    }
    request.alongside(tx, image.id);
  });
  return image.id;
}
