import { TareError } from '../errors/index.ts';
import type { Descriptor, DiffID, Digest, Platform } from '../storage/index.ts';
import { chooseManifest, documentBudget, findRoot, MAX_DEPTH, readDocument } from './choose-manifest.ts';
import { type ImageConfigFile, MAX_CONFIG_BYTES } from './config.ts';
import type { DownloadFollower, Downloads } from './downloads.ts';
import type { ImageStores } from './load.ts';
import { readConfig, type StoredImage, type StoredLayer } from './loaded-image.ts';
import { isAttestation, type Manifest, parseManifest, requireImage, requireLayerType } from './manifest.ts';
import { formatPlatform, hostPlatform, platformFit } from './platform.ts';
import { type Progress, ProgressPace } from './progress.ts';
import { ProgressFeed } from './progress-feed.ts';
import { canonical, familiar, type Reference } from './reference.ts';
import type { RemoteDocument, RepositoryReader } from './registry/registry.ts';
import { isStored } from './stored-blob.ts';
import { Unpacker } from './unpack.ts';

/** What of a pull its caller decides. */
export interface PullOptions {
  /** Choose and demand this platform; undefined: the host's where there is a choice. */
  platform?: Platform | undefined;
  /** What the reference stands for, when that is known: nobody is asked for it. */
  root?: RemoteDocument;
  /** Fetch all that an index lists; only the chosen image is unpacked. */
  allPlatforms?: boolean;
  /** diffIDs of blobs as images that are here have them. */
  known: ReadonlyMap<Digest, DiffID>;
  /**
   * Told of the documents that lead to the image, the root first, before anything of it is fetched. The signal ends it.
   * @returns documents in the store that speak for its trust @throws {TareError} Forbidden: it is not to be trusted
   */
  check?(source: RepositoryReader, documents: readonly RemoteDocument[], signal: AbortSignal): Promise<Descriptor[]>;
  signal: AbortSignal;
}

/** An image whose blobs and layers lie, checked, in the stores. It is visible once somebody records it. */
export interface FetchedImage {
  image: StoredImage;
  /** What the reference stands for: an index or the image's manifest. */
  root: Descriptor;
  index: Descriptor | undefined;
  variants: StoredImage[];
  signatures: Descriptor[];
}

/** Work on one pull: where from, where to, and who hears of it. */
interface Pull extends ImageStores {
  reference: Reference;
  /** The one that answered first, then those that could. */
  sources: readonly RepositoryReader[];
  downloads: Downloads;
  unpacker: Unpacker;
  feed: ProgressFeed;
  options: PullOptions;
  budget: { documents: number };
  abort: AbortController;
  signal: AbortSignal;
}

/**
 * Fetches an image: its layers side by side, each hashed and unpacked while it comes. What is here already is not fetched,
 * and what is unpacked already is not unpacked. Hold the stores against garbage collection meanwhile; what a failed pull
 * leaves in them belongs to nobody.
 *
 * @param sources mirrors first, see `Registries.sources`
 * @throws {TareError} of the registry's client; NotFound: nothing for the platform; InvalidArgument: what of a document is
 *   wrong; Unsupported: no container image; Forbidden: the check's
 */
export async function* pullImage(
  stores: ImageStores,
  downloads: Downloads,
  sources: readonly RepositoryReader[],
  reference: Reference,
  options: PullOptions,
): AsyncGenerator<Progress, FetchedImage> {
  const abort = new AbortController();
  const { signal } = abort;
  options.signal.addEventListener('abort', () => abort.abort(options.signal.reason), { signal });
  if (options.signal.aborted) abort.abort(options.signal.reason);
  const feed = new ProgressFeed();
  const work = (async () => {
    const budget = documentBudget();
    const { at, root } =
      options.root === undefined
        ? await findRoot({ ...stores, sources, reference, budget, signal })
        : { at: sources[0]!, root: options.root };
    await using unpacker = new Unpacker(stores, options.known);
    const others = sources.filter((source) => source !== at);
    return await fetchImage(
      { ...stores, reference, sources: [at, ...others], downloads, unpacker, feed, options, budget, abort, signal },
      root,
    );
  })();
  try {
    return yield* feed.during(work);
  } finally {
    // The reader may have left: nothing is written after this.
    abort.abort();
    await work.catch(() => {});
  }
}

async function fetchImage(pull: Pull, root: RemoteDocument): Promise<FetchedImage> {
  const { options } = pull;
  const what = canonical(pull.reference);
  const chain = await chooseManifest(pull, root, options.platform ?? hostPlatform());
  const chosen = chain.at(-1)!;
  const manifest = parseManifest(chosen.bytes, what, chosen.descriptor.mediaType) as Manifest;
  requireImage(manifest, what);
  const signatures = (await options.check?.(pull.sources[0]!, chain, pull.signal)) ?? [];
  const stored = chain.map(({ bytes }) => pull.content.put(bytes));
  const fetched = fetchPlatform(pull, chosen, manifest, 'unpacked');
  await together(pull, [fetched, ...stored]);
  const image = await fetched;
  const index = chain.length > 1 ? root.descriptor : undefined;
  const variants =
    options.allPlatforms && index !== undefined ? await fetchOthers(pull, root, chosen.descriptor.digest) : [];
  return { image, root: root.descriptor, index, variants, signatures };
}

/** Waits for all; when one fails, the others are stopped and waited for, so that nothing runs on. @throws the first failure */
async function together({ abort }: Pull, work: readonly Promise<unknown>[]): Promise<void> {
  const failures: unknown[] = [];
  const watched = work.map((one) =>
    one.catch((error: unknown) => {
      failures.push(error);
      abort.abort(error);
    }),
  );
  await Promise.all(watched);
  if (failures.length > 0) throw failures[0];
}

/** Everything else below an index: images of other platforms, and what attests to them. */
async function fetchOthers(pull: Pull, root: RemoteDocument, chosen: Digest): Promise<StoredImage[]> {
  const images: StoredImage[] = [];
  const seen = new Set<Digest>([chosen, root.descriptor.digest]);
  const visit = async (document: RemoteDocument, depth: number): Promise<void> => {
    const what = `${canonical(pull.reference)}: ${document.descriptor.digest}`;
    const parsed = parseManifest(document.bytes, what, document.descriptor.mediaType);
    await pull.content.put(document.bytes);
    if (parsed.kind === 'manifest') {
      if (isAttestation(document.descriptor) || !isImage(parsed)) await fetchBlobs(pull, parsed);
      else images.push(await fetchPlatform(pull, document, parsed, 'stored'));
      return;
    }
    if (depth >= MAX_DEPTH) throw new TareError('InvalidArgument', `${what}: indexes are nested too deep`);
    for (const descriptor of parsed.manifests) {
      if (seen.has(descriptor.digest)) continue;
      seen.add(descriptor.digest);
      await visit(await readDocument(pull, descriptor), depth + 1);
    }
  };
  await visit(root, 0);
  return images;
}

function isImage(manifest: Manifest): boolean {
  try {
    requireImage(manifest, '');
    return true;
  } catch {
    return false;
  }
}

const fetchBlobs = async (pull: Pull, { config, layers }: Manifest): Promise<void> => {
  await together(
    pull,
    [config, ...layers].map((descriptor) => fetchPlain(pull, descriptor)),
  );
};

async function fetchPlain(pull: Pull, descriptor: Descriptor): Promise<void> {
  if (!(await isStored(pull.content, descriptor, canonical(pull.reference)))) await download(pull, descriptor);
}

async function download(
  { content, downloads, sources, signal, reference }: Pull,
  descriptor: Descriptor,
  follower: Omit<DownloadFollower, 'signal'> = {},
): Promise<void> {
  await downloads.fetch(sources, descriptor, { ...follower, signal });
  // Another pull may have brought it, by a descriptor of its own.
  await isStored(content, descriptor, canonical(reference));
}

async function fetchPlatform(
  pull: Pull,
  document: RemoteDocument,
  manifest: Manifest,
  as: 'unpacked' | 'stored',
): Promise<StoredImage> {
  const what = canonical(pull.reference);
  for (const layer of manifest.layers) requireLayerType(layer, what);
  const config = readRemoteConfig(pull, manifest, what, as === 'unpacked' ? pull.options.platform : undefined);
  config.catch(() => {}); // every layer awaits it
  const layers = manifest.layers.map(async (descriptor, position) => {
    // Layers of one blob are one piece of work; the first stands for all of them.
    const isFirst = manifest.layers.findIndex(({ digest }) => digest === descriptor.digest) === position;
    const diffID = config.then(({ rootfs }) => rootfs.diff_ids[position]!);
    diffID.catch(() => {});
    return as === 'unpacked'
      ? await fetchLayer(pull, descriptor, diffID, what, isFirst)
      : await storeLayer(pull, descriptor, diffID);
  });
  await together(pull, [config, ...layers]);
  const { mediaType, digest, size } = document.descriptor;
  return {
    id: manifest.config.digest,
    manifest: { mediaType, digest, size },
    config: await config,
    layers: await Promise.all(layers),
  };
}

/** @param demanded the platform that it must be for */
async function readRemoteConfig(
  pull: Pull,
  manifest: Manifest,
  what: string,
  demanded: Platform | undefined,
): Promise<ImageConfigFile> {
  const { digest, size } = manifest.config;
  if (size > MAX_CONFIG_BYTES) {
    throw new TareError(
      'InvalidArgument',
      `${what}: its config has ${size} bytes, at most ${MAX_CONFIG_BYTES} are allowed`,
    );
  }
  await fetchPlain(pull, manifest.config);
  const config = await readConfig(pull.content, { digest, sizeBytes: size }, what);
  if (demanded !== undefined && platformFit(config, demanded) === 0) {
    throw new TareError(
      'NotFound',
      `image with reference ${familiar(pull.reference)} was found but its platform (${formatPlatform(config)}) does not match the specified platform (${formatPlatform(demanded)})`,
    );
  }
  const diffIDs = config.rootfs.diff_ids.length;
  if (diffIDs === manifest.layers.length) return config;
  throw new TareError(
    'InvalidArgument',
    `${what}: it lists ${manifest.layers.length} layers, but its config ${diffIDs} diff_ids: they must be as many`,
  );
}

/** Fetches a layer without unpacking it. */
async function storeLayer(pull: Pull, descriptor: Descriptor, diffID: Promise<DiffID>): Promise<StoredLayer> {
  await fetchPlain(pull, descriptor);
  const { digest, mediaType, size } = descriptor;
  return { digest, diffID: await diffID, mediaType, blobBytes: size, unpackedBytes: 0 };
}

/** Fetches a layer and unpacks it meanwhile; tells of both in docker's words. */
async function fetchLayer(
  pull: Pull,
  descriptor: Descriptor,
  diffID: Promise<DiffID>,
  what: string,
  tells: boolean,
): Promise<StoredLayer> {
  const { content, layers, unpacker } = pull;
  const { digest, mediaType, size } = descriptor;
  const id = digest.slice('sha256:'.length, 'sha256:'.length + 12);
  const tell = (status: string, progress: Partial<Progress> = {}) => {
    if (tells) pull.feed.push({ id, status, ...progress });
  };
  const pace = new ProgressPace();
  const isHere = await isStored(content, descriptor, what);
  if (!isHere) {
    tell('Pulling fs layer');
    await download(pull, descriptor, {
      onWaiting: () => tell('Waiting'),
      onStart: (follow) => {
        const growth = follow();
        // Unpacking begins when the config says what to expect.
        diffID.then(
          (expected) => unpacker.follow(digest, growth, expected),
          () => growth[Symbol.dispose](),
        );
      },
      onBytes: (currentBytes) => {
        if (pace.isDue()) tell('Downloading', { currentBytes, totalBytes: size });
      },
      onVerifying: () => tell('Verifying Checksum'),
    });
    tell('Download complete');
  }
  const expected = await diffID;
  const isUnpacked = layers.missing([expected]).length === 0;
  if (isHere && isUnpacked) tell('Already exists');
  else if (!isUnpacked) tell('Extracting', { currentBytes: size, totalBytes: size });
  const layer = await unpacker.finish(digest, undefined, expected, what);
  if (!(isHere && isUnpacked)) tell('Pull complete');
  return { digest, diffID: layer.diffID, mediaType, blobBytes: size, unpackedBytes: layer.sizeBytes };
}
