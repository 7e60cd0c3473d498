import { TareError } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import type { WireResponse } from './exchange.ts';
import { type Place, pullScope } from './manifests.ts';
import type { RequestOptions } from './registry.ts';
import { errorOfConnection, quoted, RegistryError } from './registry-error.ts';
import { lengthOf, parseContentRange } from './response-headers.ts';
import { backOff, mayPass } from './retry.ts';

export interface BlobOptions extends RequestOptions {
  offset?: number;
  /** Whether the descriptor's own `urls` are asked when the registry has no such blob. */
  allowForeign?: boolean;
}

export const blobWord = ({ name }: Place, digest: string): string => `blob ${name.path}@${digest}`;
const blobPath = ({ name }: Place, digest: Digest): string => `/v2/${name.path}/blobs/${digest}`;

/** @returns undefined: there is none */
export async function blobSize(
  place: Place,
  digest: Digest,
  { signal }: RequestOptions = {},
  scopes: string[] = pullScope(place),
): Promise<number | undefined> {
  using response = await place.host.call({
    what: blobWord(place, digest),
    method: 'HEAD',
    path: blobPath(place, digest),
    scopes,
    wanted: [200, 404],
    signal,
  });
  if (response.status === 404) return undefined;
  const size = lengthOf(response.header('content-length'));
  if (size !== undefined) return size;
  const problem = 'the registry does not say how large it is (no Content-Length)';
  throw new RegistryError('InvalidArgument', place.host.purpose(blobWord(place, digest)), problem);
}

/** Bytes of a blob from an offset on, over as many connections as it takes, within bounds. */
export async function* downloadBlob(
  place: Place,
  descriptor: Descriptor,
  { offset = 0, allowForeign = false, signal }: BlobOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const { digest, size } = descriptor;
  const what = blobWord(place, digest);
  const { limits } = place.host;
  let at = offset;
  for (let failures = 0; at < size; ) {
    signal?.throwIfAborted();
    const begun = at;
    let cause: RegistryError | undefined;
    using response = await openBlob(place, descriptor, at, allowForeign, signal);
    try {
      for await (const chunk of wantedPart(place, what, response, at, size)) {
        at += chunk.byteLength;
        yield chunk;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof TareError) throw error;
      cause = errorOfConnection(place.host.purpose(what), response.url, error, mayPass(error));
      if (!cause.isPassing) throw cause;
    }
    // A registry may send less than the range that was asked for; crumbs count as breaks.
    if (at >= size || (cause === undefined && at - begun >= MIN_RANGE_BYTES)) continue;
    failures += 1;
    if (failures > limits.resumptions) {
      const problem = `it broke ${failures} times, the last time at byte ${at} of ${size}`;
      const details = { isPassing: true, ...(cause === undefined ? {} : { cause }) };
      throw new RegistryError('Unavailable', place.host.purpose(what), problem, details);
    }
    await backOff(limits, failures, undefined, signal);
  }
}

const MIN_RANGE_BYTES = 1 << 20;

const wrongLength = (place: Place, what: string, problem: string, size: number) =>
  new RegistryError('InvalidArgument', place.host.purpose(what), `${problem}, its descriptor says ${size}`);

/** Of an answer's body what was asked for: a registry without ranges sends the beginning as well. */
async function* wantedPart(place: Place, what: string, response: WireResponse, from: number, size: number) {
  const range = response.status === 206 ? parseContentRange(response.header('content-range')) : undefined;
  if (response.status === 206) {
    const isRight = range?.start === from && (range.sizeBytes ?? size) === size && range.end < size;
    if (!isRight) {
      const said = quoted(response.header('content-range') ?? 'nothing');
      const problem = `it answers a range from byte ${from} with Content-Range ${said}`;
      throw new RegistryError('InvalidArgument', place.host.purpose(what), problem);
    }
  }
  let skip = response.status === 206 ? 0 : from;
  const begin = from - skip;
  const end = range === undefined ? size : range.end + 1;
  const length = lengthOf(response.header('content-length'));
  if (length !== undefined && length !== end - begin) {
    throw wrongLength(place, what, `the registry sends ${begin + length} bytes`, size);
  }
  let left = end - from;
  for await (const chunk of response.body()) {
    const part = skip >= chunk.byteLength ? undefined : chunk.subarray(skip);
    skip -= Math.min(skip, chunk.byteLength);
    if (part === undefined) continue;
    if (part.byteLength > left) throw wrongLength(place, what, 'the registry sends more bytes', size);
    left -= part.byteLength;
    yield part;
  }
  if (left > 0) throw wrongLength(place, what, `it ends after ${end - left} bytes`, size);
}

async function openBlob(
  place: Place,
  descriptor: Descriptor,
  at: number,
  allowForeign: boolean,
  signal: AbortSignal | undefined,
): Promise<WireResponse> {
  const { digest, size, urls = [] } = descriptor;
  const what = blobWord(place, digest);
  const headers: Record<string, string> = at === 0 ? {} : { range: `bytes=${at}-` };
  const wanted = [200, 206];
  try {
    const path = blobPath(place, digest);
    return await place.host.call({ what, method: 'GET', path, scopes: pullScope(place), headers, wanted, signal });
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    if (error.status === 416) throw wrongLength(place, what, `the registry has nothing from byte ${at} on`, size);
    if (error.status !== 404 || urls.length === 0) throw error;
    if (!allowForeign) {
      const problem = `not here but, says its descriptor, at ${quoted(urls[0]!)}; foreign layers are ignored unless they are allowed`;
      throw new RegistryError('NotFound', place.host.purpose(what), problem, { status: 404, cause: error });
    }
    return await openForeign(place, what, urls, headers, error, signal);
  }
}

const MAX_FOREIGN_URLS = 5;

/** The first of the descriptor's own URLs that answers. Nobody's credentials go there. */
async function openForeign(
  place: Place,
  what: string,
  urls: readonly string[],
  headers: Record<string, string>,
  cause: RegistryError,
  signal: AbortSignal | undefined,
): Promise<WireResponse> {
  const { client, isInsecure } = place.host;
  const errors: unknown[] = [cause];
  for (const text of urls.slice(0, MAX_FOREIGN_URLS)) {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol !== 'https:' && !(isInsecure && url?.protocol === 'http:')) continue;
    const purpose = place.host.purpose(`${what} at ${quoted(url.host)}`);
    try {
      return await client.call({
        purpose,
        method: 'GET',
        url: () => url,
        headers,
        wanted: [200, 206],
        isInsecure: false,
        signal,
      });
    } catch (error) {
      signal?.throwIfAborted();
      errors.push(error);
    }
  }
  const last = errors.at(-1) as Error;
  throw new RegistryError('NotFound', place.host.purpose(what), `none of its foreign URLs gave it: ${last.message}`, {
    cause: last,
  });
}
