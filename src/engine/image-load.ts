import { resolve } from 'node:path';
import { TareError } from '../errors/index.ts';
import {
  applyChanges,
  familiar,
  hostPlatform,
  importRootFilesystem,
  type LoadedImage,
  type LoadOptions,
  loadArchive,
  loadFolder,
  parsePlatform,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../image/index.ts';
import type { DiffID, Digest } from '../storage/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import { formatOrigin } from './image-origin.ts';
import type { ImageParts } from './image-parts.ts';
import { recordWithVariants } from './image-pulled.ts';
import { everyImage, imageEvent, putImage, putName } from './image-records.ts';
import type { ImageService, ProgressMessage } from './types.ts';

/** See `ImageService.load`. */
export async function* loadImages(
  parts: ImageParts,
  ...[tar, options = {}]: Parameters<ImageService['load']>
): AsyncGenerator<ProgressMessage> {
  const platform = options.platform ? parsePlatform(options.platform) : undefined;
  // Disposed last to first: the collection comes when nothing of ours is held any more.
  await using _collection = collectionAtEnd(parts);
  await using _lease = await holdContent(parts);
  const origins: string[] = [];
  const accept = acceptor(parts, origins);
  const loading = loadArchive(parts, tar, { platform, known: knownLayers(parts), accept });
  try {
    let step = await loading.next();
    while (!step.done) {
      if (!options.quiet) yield step.value;
      step = await loading.next();
    }
    yield* await record(parts, step.value, origins);
  } finally {
    await loading.return([]);
  }
}

/** See `ImageService.loadDirectory`. */
export async function* loadImageFolder(parts: ImageParts, path: string): AsyncGenerator<ProgressMessage> {
  await using _collection = collectionAtEnd(parts);
  await using _lease = await holdContent(parts);
  const origins: string[] = [];
  const accept = acceptor(parts, origins, path);
  const images = await loadFolder(parts, path, { known: knownLayers(parts), accept });
  yield* await record(parts, images, origins);
}

/** Asks the signature policy once the formats of an archive or a folder are known, and notes where it came from. */
function acceptor({ trust }: ImageParts, origins: string[], path?: string): NonNullable<LoadOptions['accept']> {
  return async (formats) => {
    const found = formats.map((format) => {
      if (path === undefined) return { transport: format === 'oci' ? 'oci-archive' : 'docker-archive' };
      return format === 'oci' ? { transport: 'oci', path: resolve(path) } : { transport: 'docker-archive' };
    });
    await trust?.checkLoad(found);
    origins.push(...found.map(formatOrigin));
  };
}

const collectionAtEnd = (parts: ImageParts): AsyncDisposable => ({
  [Symbol.asyncDispose]: () => collectGarbage(parts),
});

/** diffIDs of the blobs of every image. */
export function knownLayers({ db }: ImageParts): Map<Digest, DiffID> {
  return new Map(everyImage(db).flatMap(({ layers }) => layers.map(({ digest, diffID }) => [digest, diffID])));
}

/** Makes all images of an archive visible at once. */
async function record(
  { db, now }: ImageParts,
  images: readonly LoadedImage[],
  origins: string[],
): Promise<ProgressMessage[]> {
  return await db.write((tx) =>
    images.flatMap((image) => {
      const { names, index, variants = [], ...stored } = image;
      const others = variants.map((variant) => ({ ...variant, origins }));
      recordWithVariants(tx, { ...stored, origins }, index, others);
      imageEvent(tx, 'load', image);
      if (names.length === 0) return [{ stream: `Loaded image ID: ${image.id}\n` }];
      return names.flatMap((name) => {
        const before = putName(tx, name, image.id, now());
        const renamed = `The image ${familiar(name)} already exists, renaming the old one with ID ${before} to empty string\n`;
        const loaded = { stream: `Loaded image: ${familiar(name)}\n` };
        return before === undefined ? [loaded] : [{ stream: renamed }, loaded];
      });
    }),
  );
}

/** See `ImageService.import`. */
export async function importImage(
  parts: ImageParts,
  ...[tar, options]: Parameters<ImageService['import']>
): Promise<string> {
  // What can be refused is refused before the input is read.
  const name = options.reference ? importName(options.reference) : undefined;
  const platform = options.platform ? parsePlatform(options.platform) : hostPlatform();
  if (platform.os !== 'linux') {
    throw new TareError('InvalidArgument', `operating system is not supported: ${platform.os}: want linux`);
  }
  const config = applyChanges({}, options.changes ?? []);
  await using _collection = collectionAtEnd(parts);
  await using _lease = await holdContent(parts);
  const image = await importRootFilesystem(parts, tar, {
    platform,
    message: options.message || 'Imported from -',
    config,
    createdMs: parts.now(),
  });
  await parts.db.write((tx) => {
    putImage(tx, image);
    if (name !== undefined) {
      putName(tx, name, image.id, parts.now());
      imageEvent(tx, 'tag', image, familiar(name));
    }
    imageEvent(tx, 'import', image);
  });
  return image.id;
}

function importName(text: string): Reference {
  const name = withDefaultTag(parseReference(text));
  if (name.digest === undefined) return name;
  throw new TareError('InvalidArgument', `cannot import digest reference ${JSON.stringify(text)}: want NAME[:TAG]`);
}
