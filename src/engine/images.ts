import type { BuildImages } from '../build/index.ts';
import { TareError } from '../errors/index.ts';
import { Downloads, familiar, type Registries, Unpacker } from '../image/index.ts';
import type { Database, Locks } from '../state/index.ts';
import { type ContentStore, type DiffID, detectCompression, type LayerStore, type Platform } from '../storage/index.ts';
import type { CallerGuard } from './caller-policy.ts';
import { collectGarbage } from './image-collect.ts';
import { commitImage, commitName, type ImageCommit } from './image-commit.ts';
import type { ImageGC } from './image-gc-config.ts';
import { importFrom } from './image-import-url.ts';
import { holdContent } from './image-leases.ts';
import { imageHistory, inspectImage, listImages } from './image-list.ts';
import { importImage, loadImageFolder, loadImages } from './image-load.ts';
import type { ImageParts, ImageUser } from './image-parts.ts';
import { pullImages } from './image-pull.ts';
import { pushImages } from './image-push.ts';
import { findImage, imageEvent, isRetired, putLayerSizes, putName, type RecordedImage } from './image-records.ts';
import { authenticate, distribution, searchImages } from './image-registry.ts';
import { pruneImages, removeImage } from './image-remove.ts';
import { resolveImage, rootNamed } from './image-resolve.ts';
import { saveImages } from './image-save.ts';
import { addSignature, signedImage } from './image-signatures.ts';
import { type Trimmed, trimImages } from './image-trim.ts';
import type { ImageTrust } from './image-trust.ts';
import { imageUsage } from './image-usage.ts';
import { openLocalDestination } from './local-destination.ts';
import { openLocalSource } from './local-source.ts';
import type { ImageService, ImageUsage } from './types.ts';
import { verifyContent } from './verify.ts';

export interface ImageServiceDeps {
  db: Database;
  locks: Locks;
  content: ContentStore;
  layers: LayerStore;
  /** Registries as they are configured; undefined: none can be reached. */
  registries?: () => Promise<Registries>;
  /** The same, without checks of their certificates: where a build says so. */
  insecureRegistries?: () => Promise<Registries>;
  /** Asked before an image is stored and before it runs; undefined: every image is trusted. */
  trust?: ImageTrust;
  /** Holds callers to the rules that there are for them. */
  guard?: CallerGuard;
  /** Containers made from an image. Called inside of transactions, so it reads the records and nothing else. */
  containersUsing(imageID: string): ImageUser[];
  /** See `ImageParts`. */
  countContainers(): Map<string, number>;
  /** Blobs that are fetched at once, by all pulls together. */
  concurrentDownloads?: number;
  /** Blobs that one push sends at once. */
  concurrentUploads?: number;
  /** Called when something was stored and nothing is held any more. */
  onStored?(): Promise<void>;
  /** Milliseconds since the epoch; for tests. */
  clock?: () => number;
}

const DEFAULT_DOWNLOADS = 6;
const DEFAULT_UPLOADS = 5;

/** The image service with what the rest of the engine needs of it. */
export interface Images extends ImageService {
  /** @throws {TareError} NotFound: `No such image: REF`, or not for this platform */
  resolve(ref: string, platform?: Platform): RecordedImage;
  /**
   * Layers of an image, base first. Those that a power cut took are unpacked again from their blobs.
   * @throws {TareError} NotFound: the image, or a blob that is needed for it
   */
  ensureUnpacked(imageID: string): Promise<DiffID[]>;
  /**
   * Asks the signature policy whether an image that is here may run.
   * @param asked the user's word for it
   * @throws {TareError} Forbidden
   */
  requireTrusted(imageID: string, asked: string): Promise<void>;
  /** Makes an image of another one and a layer above it. @returns its id */
  commit(request: ImageCommit): Promise<string>;
  /** Images as builds see them. */
  forBuilds(): Promise<BuildImages>;
  /** From now on so many blobs at once. */
  limitTransfers(downloads: number, uploads: number): void;
  /** What images occupy on disk. */
  usage(): Promise<ImageUsage>;
  /** Removes unused images while more is used than wanted. @see trimImages */
  trim(gc: ImageGC, dataRoot: string): Promise<Trimmed | undefined>;
  /** Removes what no image, container or running load owns: half-written blobs too. Safe beside other processes. */
  reconcile(isUsed: (imageID: string) => boolean): Promise<void>;
  /** A container of this image is gone: if the image was removed before, what only that container needed goes. */
  release(imageID: string): Promise<void>;
  /** Removes blobs and layers that nobody needs; while somebody holds the content, that is noted for when he lets go. */
  collect(): Promise<void>;
  /** Keeps all blobs and layers until it is disposed. For whoever puts content into the stores. */
  hold(): Promise<AsyncDisposable>;
}

/** Images: in the content store, unpacked in the layer store, visible through their records. */
export function createImageService(deps: ImageServiceDeps): Images {
  const parts: ImageParts = {
    ...deps,
    registries: deps.registries ?? noRegistries,
    downloads: new Downloads(deps.content, deps.concurrentDownloads ?? DEFAULT_DOWNLOADS),
    concurrentUploads: deps.concurrentUploads ?? DEFAULT_UPLOADS,
    now: deps.clock ?? Date.now,
  };
  const { guard } = deps;
  const stored = async () => await deps.onStored?.();
  return {
    import: async (tar, options) => {
      guard?.checkOwnImages('an import');
      const id = await importImage(parts, tar, options);
      await stored();
      return id;
    },
    importFrom: (address, options) => {
      guard?.checkOwnImages('an import');
      return followed(importFrom(parts, address, options), stored);
    },
    load: (tar, options) => {
      guard?.checkOwnImages('a load');
      return followed(loadImages(parts, tar, options), stored);
    },
    loadDirectory: (path) => {
      guard?.checkOwnImages('a load');
      return followed(loadImageFolder(parts, path), stored);
    },
    save: (refs, options) => saveImages(parts, refs, options),
    pull: (ref, options) => followed(pullImages(parts, ref, { ...options, mayPull: guard?.registryCheck() }), stored),
    push: (ref, options) => pushImages(parts, ref, options),
    search: (term, options) => searchImages(parts, term, options),
    distribution: (ref, options) => distribution(parts, ref, options),
    authenticate: (domain, options) => authenticate(parts, domain, options),
    list: (options) => listImages(parts, options),
    inspect: (ref, options) => inspectImage(parts, ref, options),
    history: async (ref, options) => imageHistory(parts, ref, options),
    tag: (ref, target) => tagImage(parts, ref, target),
    remove: (ref, options) => removeImage(parts, ref, options),
    prune: (filters) => pruneImages(parts, filters),
    verify: (options) => verifyContent(parts, options),
    resolve: (ref, platform) => resolveImage(parts.db, ref, platform),
    ensureUnpacked: (imageID) => ensureUnpacked(parts, imageID),
    requireTrusted: (imageID, asked) => requireTrusted(parts, imageID, asked),
    commit: async (request) => {
      const id = await commitImage(parts, request);
      await stored();
      return id;
    },
    forBuilds: async () => {
      const { openBuildImages } = await import('./builds/build-images.ts');
      return openBuildImages({
        ...parts,
        insecureRegistries: deps.insecureRegistries ?? noRegistries,
        registryCheck: () => guard?.registryCheck() ?? (() => {}),
      });
    },
    limitTransfers: (downloads, uploads) => {
      parts.downloads.limit = downloads;
      parts.concurrentUploads = uploads;
    },
    usage: () => imageUsage(parts),
    trim: (gc, dataRoot) => trimImages(parts, gc, dataRoot),
    openSource: (ref, choice) => openLocalSource(parts, ref, choice),
    openDestination: (ref, options) => openLocalDestination(parts, ref, options),
    sbom: async (ref, options) => {
      const { imageBom } = await import('./image-bom.ts');
      return await imageBom(parts, (imageID) => ensureUnpacked(parts, imageID), ref, options);
    },
    signed: (ref) => signedImage(parts, ref),
    addSignature: (ref, signature) => addSignature(parts, ref, signature),
    scan: async (ref, options) => {
      const { scanImage } = await import('./image-scan.ts');
      return await scanImage(parts, (imageID) => ensureUnpacked(parts, imageID), ref, options);
    },
    release: async (imageID) => {
      if (isRetired(parts.db, imageID) && parts.containersUsing(imageID).length === 0) await collectGarbage(parts);
    },
    collect: () => collectGarbage(parts),
    hold: () => holdContent(parts),
    reconcile: async (isUsed) => {
      await parts.content.reconcile();
      await collectGarbage(parts, isUsed);
    },
  };
}

/** Goes on with something when all has come out. */
async function* followed<T>(work: AsyncIterable<T>, after: () => Promise<void>): AsyncGenerator<T> {
  yield* work;
  await after();
}

async function noRegistries(): Promise<never> {
  throw new TareError('Unsupported', 'this engine was opened without access to registries');
}

async function tagImage({ db, now }: ImageParts, ref: string, target: string): Promise<void> {
  const name = commitName(target);
  await db.write((tx) => {
    const image = resolveImage(tx, ref);
    putName(tx, name, image.id, now(), rootNamed(tx, ref));
    imageEvent(tx, 'tag', image, familiar(name));
  });
}

async function ensureUnpacked(parts: ImageParts, imageID: string): Promise<DiffID[]> {
  const image = findImage(parts.db, imageID);
  if (image === undefined) throw new TareError('NotFound', `No such image: ${imageID}`);
  const diffIDs = image.layers.map(({ diffID }) => diffID);
  const missing = new Set(parts.layers.missing(diffIDs));
  if (missing.size === 0) return diffIDs;
  await using _lease = await holdContent(parts);
  await using unpacker = new Unpacker(parts, new Map(image.layers.map(({ digest, diffID }) => [digest, diffID])));
  const lost = image.layers.filter(({ diffID }) => missing.has(diffID));
  const unpacked = new Map(
    await Promise.all(
      lost.map(async (layer) => [layer.diffID, await unpackAgain(parts, unpacker, image, layer)] as const),
    ),
  );
  // Another platform's layers have no known size before they are needed.
  if (lost.some(({ diffID, unpackedBytes }) => unpackedBytes !== unpacked.get(diffID))) {
    await parts.db.write((tx) => putLayerSizes(tx, image.id, unpacked));
  }
  return diffIDs;
}

async function requireTrusted({ db, trust }: ImageParts, imageID: string, asked: string): Promise<void> {
  if (trust === undefined) return;
  const image = findImage(db, imageID);
  if (image === undefined) throw new TareError('NotFound', `No such image: ${imageID}`);
  await trust.checkRun(image, asked);
}

async function unpackAgain(
  { content }: ImageParts,
  unpacker: Unpacker,
  image: RecordedImage,
  { digest, diffID }: RecordedImage['layers'][number],
): Promise<number> {
  const what = `image ${image.repoTags[0] ?? image.id}`;
  if (!(await content.has(digest))) {
    throw new TareError('NotFound', `${what}: blob ${digest} is lost: load or pull the image again`);
  }
  for await (const head of content.open(digest)) {
    return (await unpacker.finish(digest, detectCompression(head), diffID, what)).sizeBytes;
  }
  return 0;
}
