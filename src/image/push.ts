import { kindOf, TareError } from '../errors/index.ts';
import type { BlobReader, Descriptor, Digest } from '../storage/index.ts';
import { allEnded } from './all-ended.ts';
import { isAttestation, isManifestType, MAX_MANIFEST_BYTES, parseManifest } from './manifest.ts';
import { type Progress, ProgressPace } from './progress.ts';
import { ProgressFeed } from './progress-feed.ts';
import type { ManifestName, RepositoryWriter } from './registry/registry.ts';

/** What goes to a registry for one image or index. */
export interface PushPlan {
  /** Configs and layers, each once. */
  blobs: Descriptor[];
  /** What refers to them: manifests before the indexes that list them, the root last. */
  documents: Descriptor[];
}

const MAX_DEPTH = 4;
const MAX_DOCUMENTS = 1000;

/** A layer that may not be distributed: its manifest tells where it is to be had (image-spec, layer.md, "Non-Distributable Layers"). */
const isForeign = ({ mediaType, urls }: Descriptor): boolean =>
  (mediaType.includes('.foreign.') || mediaType.includes('.nondistributable.')) && (urls?.length ?? 0) > 0;

/**
 * Everything that a manifest or index refers to.
 * @throws {TareError} NotFound: a blob or a document is not here; InvalidArgument: documents that nobody should have made
 */
export async function planPush(content: Pick<BlobReader, 'read' | 'has'>, root: Descriptor): Promise<PushPlan> {
  const blobs = new Map<Digest, Descriptor>();
  const documents = new Map<Digest, Descriptor>();
  const visit = async (descriptor: Descriptor, depth: number): Promise<void> => {
    if (documents.has(descriptor.digest)) return;
    if (depth > MAX_DEPTH || documents.size >= MAX_DOCUMENTS) {
      throw new TareError(
        'InvalidArgument',
        `index ${root.digest}: indexes nest at most ${MAX_DEPTH} deep and list at most ${MAX_DOCUMENTS} manifests`,
      );
    }
    const { digest, mediaType } = descriptor;
    const bytes = await content.read(digest, MAX_MANIFEST_BYTES);
    const document = parseManifest(bytes, `manifest ${digest}`, mediaType);
    if (document.kind === 'index') for (const inner of document.manifests) await visit(inner, depth + 1);
    else {
      for (const blob of [document.config, ...document.layers]) {
        if (isForeign(blob)) continue;
        if (!(await content.has(blob.digest))) {
          throw new TareError('NotFound', `manifest ${digest}: blob ${blob.digest} is not here: pull the image again`);
        }
        blobs.set(blob.digest, blob);
      }
    }
    documents.set(digest, descriptor);
  };
  await visit(root, 0);
  return { blobs: [...blobs.values()], documents: [...documents.values()] };
}

/** Whether all that an index lists is here and fit to be pushed whole. */
export async function isComplete(content: Pick<BlobReader, 'read' | 'has'>, index: Descriptor): Promise<boolean> {
  try {
    const { documents } = await planPush(content, index);
    return documents.some((document) => isManifestType(document.mediaType) && !isAttestation(document));
  } catch (error) {
    if (['NotFound', 'InvalidArgument', 'Unsupported'].includes(kindOf(error))) return false;
    throw error;
  }
}

export interface PushOptions {
  /** What progress calls a layer; blobs without a word here are sent without being told of. */
  labels: ReadonlyMap<Digest, string>;
  /** A repository of the same registry that has the blob, if one is known. */
  mountFrom(digest: Digest): string | undefined;
  /** Blobs under way at a time. */
  concurrency: number;
  signal?: AbortSignal;
}

/**
 * Sends blobs side by side, then the documents in order, the last under `name`. Blobs go as they are stored.
 *
 * @returns the root's descriptor
 */
export async function* pushPlan(
  content: Pick<BlobReader, 'open' | 'read'>,
  repository: Pick<RepositoryWriter, 'putBlob' | 'putManifest'>,
  plan: PushPlan,
  name: ManifestName,
  options: PushOptions,
): AsyncGenerator<Progress, Descriptor> {
  const feed = new ProgressFeed();
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  for (const { digest } of plan.blobs) {
    const id = options.labels.get(digest);
    if (id !== undefined) yield { id, status: 'Preparing' };
  }
  try {
    yield* feed.during(sendBlobs(content, repository, plan.blobs, { ...options, signal }, feed));
    for (const { digest, mediaType } of plan.documents.slice(0, -1)) {
      const bytes = await content.read(digest, MAX_MANIFEST_BYTES);
      await repository.putManifest({ digest }, mediaType, bytes, { signal });
    }
    const root = plan.documents.at(-1)!;
    const bytes = await content.read(root.digest, MAX_MANIFEST_BYTES);
    await repository.putManifest(name, root.mediaType, bytes, { signal });
    return root;
  } finally {
    stop.abort();
  }
}

async function sendBlobs(
  content: Pick<BlobReader, 'open'>,
  repository: Pick<RepositoryWriter, 'putBlob'>,
  blobs: readonly Descriptor[],
  options: PushOptions & { signal: AbortSignal },
  feed: ProgressFeed,
): Promise<void> {
  for (const { digest } of blobs.slice(options.concurrency)) {
    const id = options.labels.get(digest);
    if (id !== undefined) feed.push({ id, status: 'Waiting' });
  }
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const waiting = blobs.values();
  const work = async () => {
    try {
      for (const blob of waiting) {
        signal.throwIfAborted();
        await sendBlob(content, repository, blob, { ...options, signal }, feed);
      }
    } catch (error) {
      // The first to fail stops the others, and is what the others' errors come from.
      failure.abort(error);
      throw failure.signal.reason;
    }
  };
  const workers = Array.from({ length: Math.min(options.concurrency, blobs.length) }, work);
  await allEnded(workers);
}

async function sendBlob(
  content: Pick<BlobReader, 'open'>,
  repository: Pick<RepositoryWriter, 'putBlob'>,
  blob: Descriptor,
  options: PushOptions & { signal: AbortSignal },
  feed: ProgressFeed,
): Promise<void> {
  const { digest, size } = blob;
  const id = options.labels.get(digest);
  const pace = new ProgressPace();
  const from = options.mountFrom(digest);
  const end = await repository.putBlob(blob, (offset) => content.open(digest, offset), {
    signal: options.signal,
    from: from === undefined ? [] : [from],
    onProgress: (currentBytes) => {
      if (id === undefined || !pace.isDue()) return;
      feed.push({ id, status: 'Pushing', currentBytes, totalBytes: size });
    },
  });
  if (id === undefined) return;
  if (end === 'existed') feed.push({ id, status: 'Layer already exists' });
  else if (end === 'mounted') feed.push({ id, status: `Mounted from ${from}` });
  else feed.push({ id, status: 'Pushed' });
}
