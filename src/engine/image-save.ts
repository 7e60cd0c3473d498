import { TareError } from '../errors/index.ts';
import {
  canonicalName,
  familiar,
  isComplete,
  parsePlatform,
  parseReference,
  planPush,
  type Reference,
  type SavedImage,
  saveArchive,
} from '../image/index.ts';
import type { Platform } from '../storage/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import { allImages, findImage, imageEvent, type RecordedImage } from './image-records.ts';
import { isIdPrefix, resolveImage } from './image-resolve.ts';
import { variantFor } from './image-variants.ts';

/** See `ImageService.save`. */
export async function* saveImages(
  parts: ImageParts,
  refs: readonly string[],
  options: { platform?: string } = {},
): AsyncGenerator<Uint8Array> {
  if (refs.length === 0) throw new TareError('InvalidArgument', 'save: name at least one image');
  const wanted = options.platform ? parsePlatform(options.platform) : undefined;
  // Held first, so that the blobs of what is found stay until they are written.
  await using _collection = { [Symbol.asyncDispose]: () => collectGarbage(parts) };
  await using _lease = await holdContent(parts);
  const chosen = new Map<string, SavedImage>();
  for (const ref of refs) {
    for (const { image: found, names } of find(parts, ref)) {
      const image = wanted === undefined ? found : variantFor(parts.db, found, wanted, ref);
      const saved = chosen.get(image.id) ?? (await savedImage(parts, image, wanted));
      saved.names.push(...names.filter((name) => !saved.names.some((known) => familiar(known) === familiar(name))));
      chosen.set(image.id, saved);
    }
  }
  await parts.db.write((tx) => {
    for (const image of chosen.values()) imageEvent(tx, 'save', image);
  });
  yield* saveArchive(parts.content, [...chosen.values()]);
}

/** An index goes with its image when all that it lists is here and no platform was asked for. */
async function savedImage(
  { content }: ImageParts,
  image: RecordedImage,
  wanted: Platform | undefined,
): Promise<SavedImage> {
  const { index } = image;
  if (wanted !== undefined || index === undefined || !(await isComplete(content, index)))
    return { ...image, names: [] };
  const { blobs, documents } = await planPush(content, index);
  return { ...image, names: [], whole: { index, blobs: [...blobs, ...documents].map(({ digest }) => digest) } };
}

/** By id an image goes without names, by name with that name, by a repository's bare name with all of its tags. */
function find(parts: ImageParts, ref: string): { image: RecordedImage; names: Reference[] }[] {
  const repository = repositoryOf(ref);
  if (repository !== undefined) {
    const ofRepository = (name: Reference) => canonicalName(name) === repository && name.tag !== undefined;
    const found = allImages(parts.db)
      .map(({ id, references }) => ({ id, names: references.filter(ofRepository) }))
      .filter(({ names }) => names.length > 0)
      .map(({ id, names }) => ({ image: findImage(parts.db, id)!, names }));
    if (found.length > 0) return found;
  }
  const image = resolveImage(parts.db, ref);
  if (isIdPrefix(image.id, ref)) return [{ image, names: [] }];
  const { domain, path, tag } = parseReference(ref);
  return [{ image, names: tag === undefined ? [] : [{ domain, path, tag }] }];
}

/** The repository that a bare name means; undefined for ids, tags and digests. */
function repositoryOf(ref: string): string | undefined {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(ref)) return undefined;
  const name = parseReference(ref);
  return name.tag === undefined && name.digest === undefined ? canonicalName(name) : undefined;
}
