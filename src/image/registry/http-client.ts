import { type ConnectionOptions, Connections } from './connections.ts';
import { BodyFailed, type RequestBody, type WireResponse } from './exchange.ts';
import { errorOfAnswer, errorOfConnection, type Purpose, quoted, RegistryError } from './registry-error.ts';
import { retryAfterMs } from './response-headers.ts';
import { backOff, mayPass, mayPassStatus } from './retry.ts';

/** Who answers a 401. */
export interface Authorizer {
  /** What to send before anybody asked; undefined: nothing. */
  header(signal: AbortSignal | undefined): Promise<string | undefined>;
  /** What to send now that `refused` was; undefined: there is nothing else. */
  answer(
    response: WireResponse,
    refused: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined>;
}

export interface Call {
  purpose: Purpose;
  method: string;
  /** Asked for every try. */
  url(): URL | Promise<URL>;
  headers?: Record<string, string>;
  body?: RequestBody;
  /** Statuses that are answers; all else is an error. */
  wanted: readonly number[];
  /** Nobody: no credentials are sent, and a 401 is an error. */
  authorizer?: Authorizer | undefined;
  /** Certificates of the host itself are not checked, and it may lead to plain HTTP. */
  isInsecure: boolean;
  /** What the host is called in configuration. Default: as in the URL. */
  domain?: string;
  /** Instead of the limits' own. */
  attempts?: number;
  signal?: AbortSignal | undefined;
}

const redirects = [301, 302, 303, 307, 308];
/** A stale token first, then one whose scope was too narrow. */
const MAX_CHALLENGES = 2;

export interface HttpClientOptions extends ConnectionOptions {
  userAgent: string;
  /** Whether certificates of a host that a registry leads to are not checked. */
  isInsecure(domain: string): boolean;
}

/** HTTP with all that a registry's client needs: tries again, follows, authenticates, and says what went wrong. */
export class HttpClient implements Disposable {
  readonly connections: Connections;
  readonly options: HttpClientOptions;

  constructor(options: HttpClientOptions) {
    this.options = options;
    this.connections = new Connections(options);
  }

  /** @throws {RegistryError}; the signal's reason */
  async call(call: Call): Promise<WireResponse> {
    const { limits } = this.options;
    const attempts = call.attempts ?? limits.attempts;
    for (let failures = 1; ; failures += 1) {
      let response: WireResponse;
      try {
        response = await this.#follow(call);
      } catch (error) {
        call.signal?.throwIfAborted();
        if (!(error instanceof RegistryError && error.isPassing) || failures >= attempts) throw error;
        await backOff(limits, failures, error.retryAfterMs, call.signal);
        continue;
      }
      if (call.wanted.includes(response.status)) return response;
      const askedMs = retryAfterMs(response.header('retry-after'), Date.now());
      const error = await this.#refusal(call, response, askedMs);
      if (!mayPassStatus(error.status!) || failures >= attempts || !error.isPassing) throw error;
      await backOff(limits, failures, askedMs, call.signal);
    }
  }

  async #refusal(call: Call, response: WireResponse, askedMs: number | undefined): Promise<RegistryError> {
    const { errorBodyBytes, maxRetryAfterMs } = this.options.limits;
    const body = await response.bytes(errorBodyBytes).catch(() => undefined);
    call.signal?.throwIfAborted();
    const error = errorOfAnswer(call.purpose, response.status, body, askedMs);
    if (!error.isPassing || askedMs === undefined || askedMs <= maxRetryAfterMs) return error;
    const seconds = Math.ceil(askedMs / 1000);
    const { status, code } = error;
    const problem = `it asks to come back in ${seconds} s (${status}${code === undefined ? '' : ` ${code}`})`;
    return new RegistryError('Unavailable', call.purpose, problem, { status: status!, code });
  }

  /** One try: the answer after redirects and challenges. */
  async #follow(call: Call): Promise<WireResponse> {
    const { purpose, authorizer, signal } = call;
    let url = await call.url();
    const { origin } = url;
    let method = call.method;
    let authorization = await authorizer?.header(signal);
    let challenges = 0;
    for (let followed = 0; ; ) {
      const isOwn = url.origin === origin;
      const response = await this.#send(call, method, url, isOwn, isOwn ? authorization : undefined);
      // Another host's challenge is not answered: whoever it is, it was not the one that the credentials are for.
      if (response.status === 401 && isOwn && authorizer !== undefined && challenges < MAX_CHALLENGES) {
        challenges += 1;
        const next = await authorizer.answer(response, authorization, signal);
        if (next === undefined || next === authorization) return response;
        await this.#finish(response);
        authorization = next;
        continue;
      }
      const location = redirects.includes(response.status) ? response.header('location') : undefined;
      if (location === undefined || call.wanted.includes(response.status)) return response;
      const next = this.target(call, url, location);
      // Only 307 and 308 keep the method; and a body, which may hold a refresh token, goes to nobody else.
      const isReading = method === 'GET' || method === 'HEAD';
      if (!isReading && ((response.status !== 307 && response.status !== 308) || next.origin !== origin))
        return response;
      await this.#finish(response);
      followed += 1;
      if (followed > this.options.limits.redirects) {
        throw new RegistryError(
          'Unavailable',
          purpose,
          `it redirects more than ${this.options.limits.redirects} times`,
        );
      }
      if (response.status === 303 && method !== 'HEAD') method = 'GET';
      url = next;
    }
  }

  /**
   * Where a registry's answer leads.
   * @throws {RegistryError} InvalidArgument: no http URL, or one without TLS where there was TLS
   */
  target(call: Pick<Call, 'purpose' | 'isInsecure'>, from: URL, location: string): URL {
    if (!URL.canParse(location, from)) {
      throw new RegistryError('InvalidArgument', call.purpose, `it leads to ${quoted(location)}, which is no URL`);
    }
    const url = new URL(location, from);
    // Credentials in a link would be somebody else's.
    url.username = '';
    url.password = '';
    if (url.protocol === 'https:') return url;
    if (url.protocol !== 'http:') {
      throw new RegistryError('InvalidArgument', call.purpose, `it leads to ${quoted(url.href)}: want an https URL`);
    }
    if (from.protocol === 'https:' && !call.isInsecure) {
      throw new RegistryError(
        'InvalidArgument',
        call.purpose,
        `it leads from https to ${quoted(url.href)}; a proxy in front of it must pass X-Forwarded-Proto on, or mark it insecure`,
      );
    }
    return url;
  }

  async #send(
    call: Call,
    method: string,
    url: URL,
    isOwn: boolean,
    authorization: string | undefined,
  ): Promise<WireResponse> {
    try {
      return await this.connections.request({
        method,
        url,
        headers: {
          // A body that was compressed on the way would not have the length and the bytes that were promised.
          'accept-encoding': 'identity',
          'user-agent': this.options.userAgent,
          ...call.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: method === call.method ? call.body : undefined,
        domain: (isOwn ? call.domain : undefined) ?? url.host,
        isInsecure: isOwn ? call.isInsecure : this.options.isInsecure(url.host),
        signal: call.signal,
      });
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof BodyFailed) throw error.cause;
      throw errorOfConnection(call.purpose, url, error, mayPass(error));
    }
  }

  /** A body that is kept in memory. @throws {RegistryError} InvalidArgument: over `limitBytes`, of which nothing more is read */
  async read(purpose: Purpose, response: WireResponse, limitBytes: number): Promise<Buffer> {
    let bytes: Buffer | undefined;
    try {
      bytes = await response.bytes(limitBytes);
    } catch (error) {
      response.signal?.throwIfAborted();
      throw errorOfConnection(purpose, response.url, error, mayPass(error));
    }
    if (bytes !== undefined) return bytes;
    throw new RegistryError(
      'InvalidArgument',
      purpose,
      `the answer is larger than the ${limitBytes} bytes that are allowed`,
    );
  }

  /** Reads the little that is left, so that the connection can serve again. */
  async #finish(response: WireResponse): Promise<void> {
    await response.bytes(this.options.limits.errorBodyBytes).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.connections[Symbol.dispose]();
  }
}
