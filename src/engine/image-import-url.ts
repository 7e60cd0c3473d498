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
  const { url, authorization } = parseAddress(address);
  const stop = new AbortController();
  // Somebody who does not want the rest: nothing of it goes on, wherever he left.
  using _stopping = { [Symbol.dispose]: () => stop.abort() };
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const response = await get(url, authorization, signal);
  yield { status: `Downloading from ${url.href}` };
  const feed = new ProgressFeed();
  const message = options.message || `Imported from ${authorization === undefined ? address : url.href}`;
  const importing = importImage(parts, counted(response, feed), { ...options, message });
  try {
    yield { status: yield* feed.during(importing) };
  } finally {
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

/**
 * A user and a password in the address go to its server alone: neither into messages nor into the image's history.
 * @throws {TareError} InvalidArgument: no address of HTTP
 */
function parseAddress(address: string): { url: URL; authorization: string | undefined } {
  const url = URL.parse(address.includes('://') ? address : `http://${address}`);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new TareError('InvalidArgument', `cannot import from ${JSON.stringify(address)}: want an http or https URL`);
  }
  const [user, password] = [url.username, url.password].map(decoded);
  url.username = '';
  url.password = '';
  if (user === '' && password === '') return { url, authorization: undefined };
  return { url, authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function get(url: URL, authorization: string | undefined, signal: AbortSignal | undefined): Promise<Response> {
  let response: Response;
  try {
    // It is taken off when the server leads elsewhere (fetch standard, "HTTP-redirect fetch").
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    response = await fetch(url, { redirect: 'follow', headers, ...(signal === undefined ? {} : { signal }) });
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
