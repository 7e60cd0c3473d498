import { messageOf, TareError } from '../errors/index.ts';
import { ProgressFeed, ProgressPace } from '../image/index.ts';
import { importImage } from './image-load.ts';
import type { ImageParts } from './image-parts.ts';
import type { ImageService, ProgressMessage } from './types.ts';

/** What a server says of an error, as much of it as a message has room for. */
const MAX_EXPLANATION_CHARACTERS = 1024;

/** See `ImageService.importFrom`. */
export async function* importFrom(
  parts: ImageParts,
  ...[address, options]: Parameters<ImageService['importFrom']>
): AsyncGenerator<ProgressMessage> {
  const url = parseAddress(address);
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const response = await get(url, signal);
  yield { status: `Downloading from ${url.href}` };
  const feed = new ProgressFeed();
  const message = options.message || `Imported from ${address}`;
  const importing = importImage(parts, counted(response, feed), { ...options, message });
  try {
    yield { status: yield* feed.during(importing) };
  } finally {
    // Somebody who does not want the rest: nothing of it goes on.
    stop.abort();
    await importing.catch(() => {});
  }
}

async function* counted(response: Response, feed: ProgressFeed): AsyncGenerator<Uint8Array> {
  const totalBytes = Number(response.headers.get('content-length') ?? 0);
  const pace = new ProgressPace();
  let currentBytes = 0;
  for await (const chunk of response.body ?? []) {
    currentBytes += chunk.byteLength;
    if (pace.isDue()) feed.push({ status: 'Importing', currentBytes, ...(totalBytes > 0 && { totalBytes }) });
    yield chunk;
  }
}

/** @throws {TareError} InvalidArgument: no address of HTTP */
function parseAddress(address: string): URL {
  const url = URL.parse(address.includes('://') ? address : `http://${address}`);
  if (url !== null && ['http:', 'https:'].includes(url.protocol)) return url;
  throw new TareError('InvalidArgument', `cannot import from ${JSON.stringify(address)}: want an http or https URL`);
}

async function get(url: URL, signal: AbortSignal | undefined): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { redirect: 'follow', ...(signal === undefined ? {} : { signal }) });
  } catch (cause) {
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    throw new TareError('Unavailable', `failed to GET ${url.href}: ${messageOf(reason)}`, { cause });
  }
  if (response.ok) return response;
  const told = await explanation(response);
  const kind = response.status === 404 ? 'NotFound' : 'Unavailable';
  throw new TareError(
    kind,
    `failed to GET ${url.href} with status ${response.status} ${response.statusText}${told === '' ? '' : `: ${told}`}`,
  );
}

async function explanation(response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length >= MAX_EXPLANATION_CHARACTERS) break;
  }
  return text.slice(0, MAX_EXPLANATION_CHARACTERS).trim();
}
