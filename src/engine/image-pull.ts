import { kindOf, messageOf, TareError } from '../errors/index.ts';
import {
  type FetchedImage,
  familiar,
  familiarName,
  isShortName,
  type PullOptions,
  parsePlatform,
  parseReference,
  pullImage,
  type Reference,
  type Registries,
  withDefaultTag,
  withTag,
} from '../image/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import { knownLayers } from './image-load.ts';
import type { ImageParts } from './image-parts.ts';
import { recordPulled } from './image-pulled.ts';
import { findNamed } from './image-resolve.ts';
import type { ImageService, ProgressMessage } from './types.ts';

type PullRequest = NonNullable<Parameters<ImageService['pull']>[1]> & {
  /** Asked of each repository before its registry is. @throws {TareError} Forbidden */
  mayPull?: (reference: Reference) => void;
};

/** See `ImageService.pull`. */
export async function* pullImages(
  parts: ImageParts,
  ref: string,
  options: PullRequest = {},
): AsyncGenerator<ProgressMessage> {
  const asked = parseReference(ref);
  // What can be refused is refused before anything is asked.
  if (options.platform) parsePlatform(options.platform);
  const registries = await parts.registries();
  if (!options.allTags) return yield* pullCandidates(parts, registries, ref, options);
  if (asked.tag !== undefined || asked.digest !== undefined) {
    throw new TareError('InvalidArgument', "tag can't be used with --all-tags/-a");
  }
  options.mayPull?.(asked);
  for (const tag of await tagsOf(registries, asked, options)) {
    yield* pullOne(parts, registries, withTag(asked, tag), options);
  }
}

async function tagsOf(registries: Registries, asked: Reference, options: PullRequest): Promise<string[]> {
  let failure: unknown;
  for (const source of registries.sources(asked, options.credentials)) {
    try {
      return await Array.fromAsync(source.tags(options.signal === undefined ? {} : { signal: options.signal }));
    } catch (error) {
      options.signal?.throwIfAborted();
      failure = error;
    }
  }
  throw explained(failure, asked);
}

/** A short name may stand for several; the first that some registry has is taken. */
async function* pullCandidates(
  parts: ImageParts,
  registries: Registries,
  ref: string,
  options: PullRequest,
): AsyncGenerator<ProgressMessage> {
  const candidates = isShortName(ref) ? registries.candidates(ref) : [];
  const references = candidates.length === 0 ? [parseReference(ref)] : candidates;
  for (const [position, reference] of references.entries()) {
    try {
      return yield* pullOne(parts, registries, withDefaultTag(reference), options);
    } catch (error) {
      const isLast = position === references.length - 1;
      if (isLast || !['NotFound', 'Unavailable'].includes(kindOf(error))) throw error;
    }
  }
}

async function* pullOne(
  parts: ImageParts,
  registries: Registries,
  reference: Reference,
  options: PullRequest,
): AsyncGenerator<ProgressMessage> {
  options.mayPull?.(reference);
  let isChanged = true;
  // Disposed last to first: the collection comes when nothing of ours is held any more.
  await using _collection = {
    [Symbol.asyncDispose]: async () => {
      if (isChanged) await collectGarbage(parts);
    },
  };
  await using _lease = await holdContent(parts);
  const before = findNamed(parts.db, reference);
  let refusal: unknown;
  const check: NonNullable<PullOptions['check']> = async (source, documents, signal) => {
    try {
      return (await parts.trust?.checkPull(source, reference, documents, signal)) ?? [];
    } catch (error) {
      refusal = error;
      throw error;
    }
  };
  const fetching = pullImage(parts, parts.downloads, registries.sources(reference, options.credentials), reference, {
    platform: options.platform ? parsePlatform(options.platform) : undefined,
    allPlatforms: options.allPlatforms ?? false,
    known: knownLayers(parts),
    check,
    signal: options.signal ?? new AbortController().signal,
  });
  try {
    // The first step has met the registry: what it refuses comes as an error of its own, before any progress.
    let step = await fetching.next().catch((error: unknown) => {
      throw error === refusal ? error : explained(error, reference);
    });
    const tag = reference.digest ?? reference.tag!;
    yield { id: tag, status: `Pulling from ${remoteName(reference)}` };
    while (!step.done) {
      yield step.value;
      step = await fetching.next();
    }
    const fetched = step.value;
    isChanged = await record(parts, reference, fetched, before);
    yield { status: `Digest: ${fetched.root.digest}` };
    yield {
      status: isChanged
        ? `Status: Downloaded newer image for ${familiar(reference)}`
        : `Status: Image is up to date for ${familiar(reference)}`,
    };
  } finally {
    await fetching.return({} as FetchedImage);
  }
}

/** Repository as docker's client shows it, without the registry. */
const remoteName = ({ path }: Reference): string => path;

/** Docker's words for what a registry does not have or does not show. */
function explained(error: unknown, reference: Reference): unknown {
  const kind = kindOf(error);
  if (kind === 'Unauthorized' || kind === 'Forbidden') {
    return new TareError(
      'NotFound',
      `pull access denied for ${familiarName(reference)}, repository does not exist or may require 'docker login': denied: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return error;
}

/** @returns whether anything is other than it was */
async function record(
  parts: ImageParts,
  reference: Reference,
  fetched: FetchedImage,
  before: ReturnType<typeof findNamed>,
): Promise<boolean> {
  const { image, index, variants, signatures } = fetched;
  await parts.db.write((tx) =>
    recordPulled(tx, {
      ...{ image, variants, signatures, names: [reference], nowMs: parts.now() },
      ...(index === undefined ? {} : { index }),
    }),
  );
  return !(
    before?.id === image.id &&
    before.manifest.digest === image.manifest.digest &&
    before.index?.digest === index?.digest
  );
}
