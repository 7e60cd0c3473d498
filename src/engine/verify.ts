import { createHash } from 'node:crypto';
import { messageOf, TareError } from '../errors/index.ts';
import {
  isIndexType,
  isManifestType,
  MAX_CONFIG_BYTES,
  type Manifest,
  parseImageConfig,
  parseManifest,
} from '../image/index.ts';
import type { Descriptor, Digest } from '../storage/index.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import { everyImage, findImage, type RecordedImage } from './image-records.ts';
import { resolveImage } from './image-resolve.ts';
import { RepairShop } from './repair.ts';
import type { Damage, VerifyCount, VerifyMessage, VerifyOptions } from './verify-types.ts';

/** Blobs that are read at once. */
const SIDE_BY_SIDE = 4;
const TELL_EVERY_MS = 100;

/** A blob and what is recorded of it. */
interface Expected {
  digest: Digest;
  /** undefined: not recorded. */
  sizeBytes: number | undefined;
  mediaType: string | undefined;
  users: RecordedImage[];
}

/**
 * Compares what is stored with its names and with what is recorded of it: every blob with its digest, every image's
 * documents with each other, every unpacked layer with its record (or, deep, with its blob). Nothing is collected meanwhile.
 *
 * @throws {TareError} NotFound: an image that was named
 */
export async function* verifyContent(parts: ImageParts, options: VerifyOptions = {}): AsyncGenerator<VerifyMessage> {
  await using _held = await holdContent(parts);
  const images = options.images?.map((ref) => resolveImage(parts.db, ref)) ?? recorded(parts);
  const shop = new RepairShop(parts, options);
  const checked: VerifyCount = { images: images.length, blobs: 0, bytes: 0, layers: 0 };
  const tally = { damaged: 0, repaired: 0 };
  const tell = async (found: Omit<Damage, 'isRepaired'>, repair: () => Promise<void>): Promise<VerifyMessage> => {
    const damage: Damage = { ...found, isRepaired: false };
    tally.damaged += 1;
    if (options.repair) {
      try {
        await repair();
        damage.isRepaired = true;
        tally.repaired += 1;
      } catch (error) {
        options.signal?.throwIfAborted();
        damage.obstacle = messageOf(error);
      }
    }
    return { type: 'damage', damage };
  };

  /** Digests of blobs that are damaged still. */
  const broken = new Set<string>();
  const blobs = await expectedBlobs(parts, images, options.images === undefined);
  for await (const found of checkBlobs(parts, blobs, options.signal)) {
    if ('doneBytes' in found) {
      yield { type: 'progress', doing: 'blobs', ...found };
      continue;
    }
    if (found.problem === undefined) {
      checked.blobs += 1;
      checked.bytes += found.sizeBytes;
      continue;
    }
    const { digest, users } = found.blob;
    broken.add(digest);
    const damage = { what: 'blob', id: digest, images: users.map(nameOf), problem: found.problem } as const;
    yield await tell(damage, async () => {
      await shop.fetch(found.blob);
      broken.delete(digest);
    });
  }
  for (const image of images) {
    options.signal?.throwIfAborted();
    // Told already, as the damage of a blob.
    if ([image.manifest.digest, image.id, image.index?.digest ?? ''].some((digest) => broken.has(digest))) continue;
    const problem = await documentProblem(parts, image);
    if (problem === undefined) continue;
    yield await tell({ what: 'image', id: image.id, images: [nameOf(image)], problem }, async () => {
      const left = await documentProblem(parts, image);
      if (left !== undefined) throw new TareError('Internal', 'load or pull the image again');
    });
  }
  const layers = layersOf(images);
  let done = 0;
  for (const { diffID, digest, unpackedBytes, users } of layers.values()) {
    options.signal?.throwIfAborted();
    yield { type: 'progress', doing: 'layers', doneBytes: done, totalBytes: layers.size };
    done += 1;
    const isWhole = !broken.has(digest);
    const problem = await layerProblem(
      parts,
      { diffID, digest, unpackedBytes },
      { ...options, deep: isWhole && options.deep },
    );
    if (problem === undefined) checked.layers += 1;
    else {
      yield await tell({ what: 'layer', id: diffID, images: users.map(nameOf), problem }, () =>
        shop.unpackAgain(diffID, digest),
      );
    }
  }
  yield { type: 'end', checked, ...tally };
}

const recorded = ({ db }: ImageParts): RecordedImage[] => everyImage(db).map(({ id }) => findImage(db, id)!);

const nameOf = (image: RecordedImage): string => image.repoTags[0] ?? image.repoDigests[0] ?? image.id;

async function expectedBlobs(
  { content }: ImageParts,
  images: readonly RecordedImage[],
  isAll: boolean,
): Promise<Expected[]> {
  const blobs = new Map<Digest, Expected>();
  const expect = (digest: Digest, sizeBytes?: number, mediaType?: string, user?: RecordedImage) => {
    const known = blobs.get(digest) ?? { digest, sizeBytes, mediaType, users: [] };
    known.sizeBytes ??= sizeBytes;
    known.mediaType ??= mediaType;
    if (user !== undefined && !known.users.includes(user)) known.users.push(user);
    blobs.set(digest, known);
  };
  for (const image of images) {
    const { manifest, layers, index, signatures, isVariant } = image;
    expect(manifest.digest, manifest.size, manifest.mediaType, image);
    expect(image.id, undefined, undefined, image);
    for (const document of [...(index === undefined ? [] : [index]), ...signatures]) {
      expect(document.digest, document.size, document.mediaType, image);
    }
    for (const layer of layers) {
      // Another platform's layers need not be here.
      if (isVariant && !(await content.has(layer.digest))) continue;
      expect(layer.digest, layer.blobBytes, layer.mediaType, image);
    }
  }
  if (isAll) for (const digest of await content.digests()) expect(digest);
  return [...blobs.values()];
}

interface Checked {
  blob: Expected;
  sizeBytes: number;
  problem: string | undefined;
}

type BlobFinding = { doneBytes: number; totalBytes: number } | Checked;

/** Reads blobs side by side; findings come as they are made. */
async function* checkBlobs(
  parts: ImageParts,
  blobs: readonly Expected[],
  signal: AbortSignal | undefined,
): AsyncGenerator<BlobFinding> {
  const totalBytes = blobs.reduce((sum, { sizeBytes = 0 }) => sum + sizeBytes, 0);
  let doneBytes = 0;
  let toldMs = 0;
  const waiting = [...blobs];
  const running = new Map<Digest, Promise<Checked>>();
  const over = new AbortController();
  const stop = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
  const begin = (blob: Expected): void => {
    const work = checkBlob(parts, blob, stop, (bytes) => {
      doneBytes += bytes;
    });
    work.catch(() => {}); // whoever still waits for it meets the error
    running.set(blob.digest, work);
  };
  try {
    while (waiting.length > 0 || running.size > 0) {
      while (running.size < SIDE_BY_SIDE && waiting.length > 0) begin(waiting.shift()!);
      const finding = await Promise.race([...running.values(), sleep(TELL_EVERY_MS)]);
      if (finding !== undefined) {
        running.delete(finding.blob.digest);
        yield finding;
      }
      if (Date.now() - toldMs < TELL_EVERY_MS) continue;
      toldMs = Date.now();
      // Blobs that nothing records add to what is done.
      yield { doneBytes, totalBytes: Math.max(totalBytes, doneBytes) };
    }
  } finally {
    // Nothing is read any more once the caller has left.
    over.abort();
    await Promise.allSettled(running.values());
  }
}

async function sleep(ms: number): Promise<undefined> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref());
}

async function checkBlob(
  { content }: ImageParts,
  blob: Expected,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<Checked> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const finding = (problem?: string) => ({ blob, sizeBytes, problem });
  if (!(await content.has(blob.digest))) return finding('it is missing');
  try {
    for await (const chunk of content.open(blob.digest)) {
      signal.throwIfAborted();
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      onBytes(chunk.byteLength);
    }
  } catch (error) {
    signal.throwIfAborted();
    return finding(`it cannot be read: ${messageOf(error)}`);
  }
  if (blob.sizeBytes !== undefined && sizeBytes !== blob.sizeBytes) {
    return finding(`it has ${sizeBytes} bytes, ${blob.sizeBytes} are recorded`);
  }
  const actual = `sha256:${hash.digest('hex')}`;
  return finding(actual === blob.digest ? undefined : `its bytes have digest ${actual}`);
}

/** Whether an image's documents say what is recorded of it. */
async function documentProblem({ content }: ImageParts, image: RecordedImage): Promise<string | undefined> {
  const { manifest: descriptor, index, layers } = image;
  try {
    const manifest = await readManifest(content, descriptor.digest, descriptor.mediaType);
    if (manifest.config.digest !== image.id) return `its manifest names config ${manifest.config.digest}`;
    const digests = manifest.layers.map((layer) => layer.digest).join();
    if (digests !== layers.map((layer) => layer.digest).join())
      return 'its manifest names other layers than its record';
    const config = parseImageConfig(await content.read(image.id, MAX_CONFIG_BYTES), `config ${image.id}`);
    if (config.rootfs.diff_ids.join() !== layers.map(({ diffID }) => diffID).join()) {
      return 'its config names other diff_ids than its record';
    }
    if (index !== undefined && isIndexType(index.mediaType)) {
      const document = parseManifest(await content.read(index.digest), `index ${index.digest}`, index.mediaType);
      if (document.kind !== 'index') return `its index ${index.digest} is a manifest`;
      // It may stand in an index inside of this one.
      const lists = ({ digest, mediaType }: Descriptor) => digest === descriptor.digest || isIndexType(mediaType);
      if (!document.manifests.some(lists)) return `its index ${index.digest} does not list its manifest`;
    }
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

async function readManifest(content: ImageParts['content'], digest: Digest, mediaType: string): Promise<Manifest> {
  const what = `manifest ${digest}`;
  const document = parseManifest(await content.read(digest), what, isManifestType(mediaType) ? mediaType : undefined);
  if (document.kind === 'manifest') return document;
  throw new TareError('InvalidArgument', `${what} is an index`);
}

interface UsedLayer {
  diffID: RecordedImage['layers'][number]['diffID'];
  digest: Digest;
  unpackedBytes: number;
  users: RecordedImage[];
}

function layersOf(images: readonly RecordedImage[]): Map<string, UsedLayer> {
  const layers = new Map<string, UsedLayer>();
  for (const image of images) {
    for (const { diffID, digest, unpackedBytes } of image.layers) {
      const known = layers.get(diffID) ?? { diffID, digest, unpackedBytes, users: [] };
      known.users.push(image);
      layers.set(diffID, known);
    }
  }
  return layers;
}

/** A layer that is not unpacked is none: whoever needs it unpacks it from its blob. */
async function layerProblem(
  { content, layers }: ImageParts,
  { diffID, digest, unpackedBytes }: Omit<UsedLayer, 'users'>,
  { deep, signal }: VerifyOptions,
): Promise<string | undefined> {
  if (layers.missing([diffID]).length > 0) return undefined;
  try {
    const { sizeBytes } = await layers.layer(diffID);
    // An image whose layers nobody had unpacked when it came says no size.
    if (unpackedBytes > 0 && sizeBytes !== unpackedBytes)
      return `its record says ${sizeBytes} bytes, the image's ${unpackedBytes}`;
    if (!deep || !(await content.has(digest))) return await layers.check(diffID);
    return await layers.check(diffID, { path: await content.path(digest) }, signal);
  } catch (error) {
    signal?.throwIfAborted();
    return messageOf(error);
  }
}
