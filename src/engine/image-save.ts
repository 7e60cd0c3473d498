import { TareError } from '../errors/index.ts';
import {
  canonicalName,
  familiar,
  formatPlatform,
  parsePlatform,
  parseReference,
  platformFit,
  type Reference,
  type SavedImage,
  saveArchive,
} from '../image/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import { allImages, findImage, imageEvent, type RecordedImage } from './image-records.ts';
import { isIdPrefix, resolveImage } from './image-resolve.ts';

/** See `ImageService.save`. */
export async function* saveImages(
  parts: ImageParts,
  refs: readonly string[],
  options: { platform?: string } = {},
): AsyncGenerator<Uint8Array> {
  if (refs.length === 0) throw new TareError('InvalidArgument', 'save: name at least one image');
  // Held first, so that the blobs of what is found stay until they are written.
  await using _collection = { [Symbol.asyncDispose]: () => collectGarbage(parts) };
  await using _lease = await holdContent(parts);
  const chosen = new Map<string, SavedImage>();
  for (const ref of refs) {
    for (const { image, names } of find(parts, ref)) {
      requirePlatform(image, ref, options.platform);
      const saved = chosen.get(image.id) ?? { ...image, names: [] };
      saved.names.push(...names.filter((name) => !saved.names.some((known) => familiar(known) === familiar(name))));
      chosen.set(image.id, saved);
    }
  }
  await parts.db.write((tx) => {
    for (const image of chosen.values()) imageEvent(tx, 'save', image);
  });
  yield* saveArchive(parts.content, [...chosen.values()]);
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

function requirePlatform(image: RecordedImage, ref: string, platform: string | undefined): void {
  if (!platform) return;
  const wanted = parsePlatform(platform);
  if (platformFit(image.config, wanted) > 0) return;
  throw new TareError(
    'NotFound',
    `image ${ref} is for ${formatPlatform(image.config)}, not for ${formatPlatform(wanted)}`,
  );
}
