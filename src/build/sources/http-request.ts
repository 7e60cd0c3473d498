import { messageOf, TareError } from '../../errors/index.ts';
import { FileRequests } from '../../image/index.ts';

/** What a server sent: its file, once. Disposing gives up what was not read of it. */
export interface HttpAnswer extends Disposable {
  body: AsyncIterable<Uint8Array>;
  sizeBytes?: number;
  etag?: string;
  lastModified?: string;
  disposition?: string;
}

const MAX_REDIRECTS = 10;
const redirects = [301, 302, 303, 307, 308];

/** Connections stay open for a moment, for the next question. */
let requests: FileRequests | undefined;

/**
 * Asks for a file. Credentials go to the address's own host alone.
 *
 * @returns unchanged: it is what it was by its tag or time
 * @throws {TareError} Unavailable: no answer; NotFound, Forbidden …: the server's word
 */
export async function requestFile(
  address: URL,
  options: { etag?: string; lastModified?: string; authorization: string | undefined; signal: AbortSignal },
): Promise<HttpAnswer | 'unchanged'> {
  requests ??= new FileRequests(process.env);
  const { origin } = address;
  let url = new URL(address);
  url.username = '';
  url.password = '';
  for (let followed = 0; followed <= MAX_REDIRECTS; followed += 1) {
    const headers: Record<string, string> = { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'tare' };
    if (options.etag !== undefined) headers['if-none-match'] = options.etag;
    else if (options.lastModified !== undefined) headers['if-modified-since'] = options.lastModified;
    if (options.authorization !== undefined && url.origin === origin) headers['authorization'] = options.authorization;
    const response = await send(url, headers, options.signal);
    const location = redirects.includes(response.status) ? response.header('location') : undefined;
    if (location === undefined) return answerOf(url, response);
    response[Symbol.dispose]();
    url = follow(url, location);
  }
  throw new TareError(
    'Unavailable',
    `failed to GET ${address.origin}${address.pathname}: it redirects more than ${MAX_REDIRECTS} times`,
  );
}

type Response = Awaited<ReturnType<FileRequests['get']>>;

async function send(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  try {
    return await requests!.get(url, headers, signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw new TareError('Unavailable', `failed to GET ${url.href}: ${messageOf(cause)}`, { cause });
  }
}

function follow(from: URL, location: string): URL {
  const url = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new TareError(
      'InvalidArgument',
      `${from.href} leads to ${JSON.stringify(location.slice(0, 200))}: want an http or https URL`,
    );
  url.username = '';
  url.password = '';
  return url;
}

function answerOf(url: URL, response: Response): HttpAnswer | 'unchanged' {
  const { status } = response;
  if (status === 304) {
    response[Symbol.dispose]();
    return 'unchanged';
  }
  if (status < 200 || status >= 300) {
    response[Symbol.dispose]();
    const kind =
      status === 404 || status === 410
        ? 'NotFound'
        : status === 401
          ? 'Unauthorized'
          : status === 403
            ? 'Forbidden'
            : 'Unavailable';
    throw new TareError(kind, `failed to GET ${url.href}: invalid response status ${status}`);
  }
  const length = response.header('content-length');
  const [etag, lastModified, disposition] = ['etag', 'last-modified', 'content-disposition'].map((name) =>
    response.header(name),
  );
  return {
    body: response.body(),
    ...(length === undefined ? {} : { sizeBytes: Number(length) }),
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
    ...(disposition === undefined ? {} : { disposition }),
    [Symbol.dispose]: () => response[Symbol.dispose](),
  };
}
