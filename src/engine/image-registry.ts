import { TareError } from '../errors/index.ts';
import {
  isAttestation,
  MAX_CONFIG_BYTES,
  type Manifest,
  parseImageConfig,
  parseManifest,
  parseReference,
  type RepositoryReader,
  type SearchResult,
  withDefaultTag,
} from '../image/index.ts';
import type { Platform } from '../storage/index.ts';
import { flagFilter, refuseUnknownFilters } from './filters.ts';
import type { ImageParts } from './image-parts.ts';
import type { Distribution, Filters, ImageService } from './types.ts';

const DEFAULT_RESULTS = 25;
const MAX_RESULTS = 100;

/** See `ImageService.search`. */
export async function searchImages(
  parts: ImageParts,
  ...[term, options = {}]: Parameters<ImageService['search']>
): Promise<SearchResult[]> {
  const { filters = {}, credentials, signal } = options;
  refuseUnknownFilters(filters, ['is-automated', 'is-official', 'stars']);
  const limit = options.limit || DEFAULT_RESULTS;
  if (limit < 1 || limit > MAX_RESULTS) {
    throw new TareError('InvalidArgument', `limit ${limit} is outside the range of [1, ${MAX_RESULTS}]`);
  }
  const isOfficial = flagFilter(filters, 'is-official');
  const isAutomated = flagFilter(filters, 'is-automated');
  const leastStars = starsFilter(filters);
  const registries = await parts.registries();
  const results = await registries.search(term, limit, credentials, signal === undefined ? {} : { signal });
  return results
    .filter((result) => isOfficial === undefined || result.isOfficial === isOfficial)
    .filter((result) => isAutomated === undefined || result.isAutomated === isAutomated)
    .filter((result) => result.stars >= leastStars);
}

function starsFilter(filters: Filters): number {
  let least = 0;
  for (const text of filters['stars'] ?? []) {
    if (!/^[0-9]{1,9}$/.test(text)) throw new TareError('InvalidArgument', `invalid filter 'stars=${text}'`);
    least = Math.max(least, Number(text));
  }
  return least;
}

/** See `ImageService.distribution`. */
export async function distribution(
  parts: ImageParts,
  ...[ref, options = {}]: Parameters<ImageService['distribution']>
): Promise<Distribution> {
  const reference = withDefaultTag(parseReference(ref));
  const registries = await parts.registries();
  let failure: unknown;
  // Mirrors first; where all fail, the last is the repository itself, whose word counts.
  for (const source of registries.sources(reference, options.credentials)) {
    try {
      return await offered(source, reference, options.signal);
    } catch (error) {
      options.signal?.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}

async function offered(
  source: RepositoryReader,
  reference: ReturnType<typeof parseReference>,
  signal: AbortSignal | undefined,
): Promise<Distribution> {
  const options = signal === undefined ? {} : { signal };
  const { digest, tag } = reference;
  const { descriptor, bytes } = await source.manifest(digest === undefined ? { tag: tag! } : { digest }, options);
  const { mediaType, digest: found, size } = descriptor;
  const document = parseManifest(bytes, `manifest ${found}`, mediaType);
  const platforms =
    document.kind === 'manifest'
      ? [await platformOf(source, document, options)]
      : document.manifests.filter((inner) => !isAttestation(inner)).flatMap(({ platform }) => platform ?? []);
  return { descriptor: { mediaType, digest: found, size }, platforms: platforms.filter((one) => one !== undefined) };
}

/** undefined: an artifact, which is for no machine. */
async function platformOf(
  source: RepositoryReader,
  { config }: Manifest,
  options: { signal?: AbortSignal },
): Promise<Platform | undefined> {
  if (config.size > MAX_CONFIG_BYTES) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of source.blob(config, options)) chunks.push(chunk);
  try {
    const { architecture, os, variant } = parseImageConfig(Buffer.concat(chunks));
    return { architecture, os, ...(variant === undefined ? {} : { variant }) };
  } catch {
    return undefined;
  }
}

/** See `ImageService.authenticate`. */
export async function authenticate(
  parts: ImageParts,
  ...[domain, options = {}]: Parameters<ImageService['authenticate']>
): Promise<{ identityToken?: string }> {
  const { credentials = {}, signal } = options;
  const registries = await parts.registries();
  return await registries.authenticate(domain, credentials, signal === undefined ? {} : { signal });
}
