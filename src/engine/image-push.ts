import { availableParallelism } from 'node:os';
import { TareError } from '../errors/index.ts';
import {
  canonicalName,
  compressLayer,
  familiar,
  familiarName,
  gzipTypeFor,
  isComplete,
  isSentAsItIs,
  MAX_MANIFEST_BYTES,
  ProgressFeed,
  ProgressPace,
  parseManifest,
  parsePlatform,
  parseReference,
  planPush,
  pushPlan,
  type Reference,
  type Repository,
  Slots,
  type StoredLayer,
  storedCompression,
  withDefaultTag,
  withLayers,
} from '../image/index.ts';
import type { Descriptor, Digest } from '../storage/index.ts';
import { blobSources } from './blob-sources.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import { allImages, everyImage, findImage, putImage, type RecordedImage } from './image-records.ts';
import { findNamed } from './image-resolve.ts';
import { variantFor, variantsOf } from './image-variants.ts';
import { recordPush } from './push-records.ts';
import type { ImageService, ProgressMessage } from './types.ts';

/** See `ImageService.push`. */
export async function* pushImages(
  parts: ImageParts,
  ...[ref, options = {}]: Parameters<ImageService['push']>
): AsyncGenerator<ProgressMessage> {
  const asked = parseReference(ref);
  const platform = options.platform ? parsePlatform(options.platform) : undefined;
  if (asked.digest !== undefined) {
    throw new TareError('InvalidArgument', 'cannot push a digest reference: name a tag');
  }
  const registries = await parts.registries();
  const repository = registries.repository(asked, options.credentials);
  // Held before looking, so that the blobs of what is found stay until they are sent.
  await using _collection = { [Symbol.asyncDispose]: () => collectGarbage(parts) };
  await using _lease = await holdContent(parts);
  const images = namesToPush(parts, asked, options.allTags === true).map((name) => {
    const found = findNamed(parts.db, name);
    if (found === undefined) throw new TareError('NotFound', `tag does not exist: ${familiar(name)}`);
    return { name, image: platform === undefined ? found : variantFor(parts.db, found, platform, familiar(name)) };
  });
  yield { status: `The push refers to repository [${canonicalName(asked)}]` };
  for (const { name, image } of images) {
    const sent = yield* prepared(parts, image, options.signal);
    yield* pushOne(parts, repository, name, sent, { wantsIndex: platform === undefined, signal: options.signal });
  }
}

function namesToPush(parts: ImageParts, asked: Reference, allTags: boolean): Reference[] {
  const ofRepository = allImages(parts.db)
    .flatMap(({ references }) => references)
    .filter((name) => canonicalName(name) === canonicalName(asked) && name.digest === undefined);
  if (ofRepository.length === 0) {
    throw new TareError('NotFound', `An image does not exist locally with the tag: ${familiarName(asked)}`);
  }
  return allTags ? ofRepository : [withDefaultTag(asked)];
}

async function* pushOne(
  parts: ImageParts,
  repository: Repository,
  name: Reference,
  image: RecordedImage,
  options: { wantsIndex: boolean; signal: AbortSignal | undefined },
): AsyncGenerator<ProgressMessage> {
  const { content, db } = parts;
  const { index, manifest } = image;
  const isWhole = options.wantsIndex && index !== undefined && (await isComplete(content, index));
  const plan = await planPush(content, isWhole ? index : manifest);
  const { tag = 'latest', domain, path } = name;
  const root = yield* pushPlan(
    content,
    repository,
    plan,
    { tag },
    {
      labels: layerLabels([image, ...variantsOf(db, image)]),
      mountFrom: (digest) => blobSources(db, digest, domain).find((other) => other !== path),
      concurrency: parts.concurrentUploads,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    },
  );
  const sent = { root: root.digest, blobs: plan.blobs.map(({ digest }) => digest) };
  await db.write((tx) => recordPush(tx, name, image, sent));
  if (options.wantsIndex && index !== undefined && !isWhole) {
    yield { pushedInstead: { index, manifest: { ...manifest, platform: image.platform } } };
  }
  yield { status: `${tag}: digest: ${root.digest} size: ${root.size}` };
  yield { pushed: { tag, digest: root.digest, sizeBytes: root.size } };
}

/** Docker names layers by their diffIDs while it pushes. */
function layerLabels(images: readonly RecordedImage[]): Map<Digest, string> {
  const layers = images.flatMap((image) => image.layers);
  return new Map(layers.map(({ digest, diffID }) => [digest, diffID.slice('sha256:'.length, 'sha256:'.length + 12)]));
}

/** The image as it can be sent. Loaded layers that registries don't take are compressed, once: the image keeps the result. */
async function* prepared(
  parts: ImageParts,
  image: RecordedImage,
  signal: AbortSignal | undefined,
): AsyncGenerator<ProgressMessage, RecordedImage> {
  // What a registry or a signature names by its digest goes as it came.
  if (image.repoDigests.length > 0 || image.index !== undefined || image.signatures.length > 0) return image;
  const compressions = await Promise.all(image.layers.map(({ digest }) => storedCompression(parts.content, digest)));
  if (compressions.every(isSentAsItIs)) return image;
  const bytes = await parts.content.read(image.manifest.digest, MAX_MANIFEST_BYTES);
  const manifest = parseManifest(bytes, `manifest ${image.manifest.digest}`, image.manifest.mediaType);
  if (manifest.kind === 'index') return image;
  const feed = new ProgressFeed();
  const mediaType = gzipTypeFor(manifest);
  const slots = new Slots(availableParallelism());
  const layers: StoredLayer[] = yield* feed.during(
    Promise.all(
      image.layers.map(async (layer, position) => {
        if (isSentAsItIs(compressions[position]!)) return layer;
        const known =
          (await compressedBefore(parts, layer)) ?? (await slots.run(() => compressed(parts, layer, feed, signal)));
        return { ...layer, ...known, mediaType };
      }),
    ),
  );
  const document = withLayers(bytes, manifest, layers.map(asDescriptor));
  const stored = await parts.content.put(document);
  const changed: RecordedImage = {
    ...image,
    layers,
    manifest: { mediaType: image.manifest.mediaType, digest: stored.digest, size: stored.sizeBytes },
  };
  await parts.db.write((tx) => {
    // Loaded again meanwhile, or removed: then its record is not ours to change.
    if (findImage(tx, image.id)?.manifest.digest === image.manifest.digest) putImage(tx, changed);
  });
  return changed;
}

const asDescriptor = ({ mediaType, digest, blobBytes }: StoredLayer): Descriptor => ({
  ...{ mediaType, digest },
  size: blobBytes,
});

/** The same layer as another image has it. Media types may lie; the bytes do not. */
async function compressedBefore(
  { db, content }: ImageParts,
  layer: StoredLayer,
): Promise<Pick<StoredLayer, 'digest' | 'blobBytes'> | undefined> {
  const others = everyImage(db)
    .flatMap(({ layers }) => layers)
    .filter((other) => other.diffID === layer.diffID && other.digest !== layer.digest);
  for (const { digest, blobBytes } of others) {
    if ((await content.has(digest)) && (await storedCompression(content, digest)) === 'gzip')
      return { digest, blobBytes };
  }
  return undefined;
}

async function compressed(
  { content }: ImageParts,
  layer: StoredLayer,
  feed: ProgressFeed,
  signal: AbortSignal | undefined,
): Promise<Pick<StoredLayer, 'digest' | 'blobBytes'>> {
  const pace = new ProgressPace();
  const id = layer.diffID.slice('sha256:'.length, 'sha256:'.length + 12);
  const { digest, sizeBytes } = await compressLayer(content, layer, {
    ...(signal === undefined ? {} : { signal }),
    onProgress: (currentBytes) => {
      if (pace.isDue()) feed.push({ id, status: 'Compressing', currentBytes, totalBytes: layer.blobBytes });
    },
  });
  return { digest, blobBytes: sizeBytes };
}
