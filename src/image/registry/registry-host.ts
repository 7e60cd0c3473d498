import { TareError } from '../../errors/index.ts';
import type { WireResponse } from './exchange.ts';
import { apiHost } from './hosts.ts';
import type { Call, HttpClient } from './http-client.ts';
import type { RegistryLimits } from './limits.ts';
import { errorOfConnection, type Purpose, RegistryError } from './registry-error.ts';
import { codeOf, mayPass } from './retry.ts';
import type { Authenticator } from './tokens.ts';

/** How hosts that may do without TLS were found to speak. One process asks once. */
const knownOrigins = new Map<string, string>();
const MAX_KNOWN_ORIGINS = 1000;

export interface RegistryCall extends Omit<Call, 'url' | 'purpose' | 'authorizer' | 'isInsecure'> {
  /** In the words of an error, e.g. `manifest a/b:latest`. */
  what: string;
  /** From the root, or a whole URL that the registry gave; the credentials go to the registry's own host alone. */
  path: string | URL;
  /** What a token must allow. */
  scopes: readonly string[];
}

export interface RegistryHostOptions {
  domain: string;
  client: HttpClient;
  /** Called before the first request. */
  authenticator(): Promise<Authenticator>;
  /** Certificates are not checked, and plain HTTP is tried after TLS. */
  isInsecure: boolean;
  /** Instead of the limits' own, where there is another place to ask. */
  attempts?: number;
  /** Where it answers, if not where the domain says. */
  host?: string;
}

/** One registry: where it is, how it speaks, who asks. */
export class RegistryHost {
  readonly #options: RegistryHostOptions;
  readonly #host: string;
  #authenticator: Promise<Authenticator> | undefined;

  /** @throws {TareError} InvalidArgument: the domain is no host of a URL */
  constructor(options: RegistryHostOptions) {
    this.#options = options;
    this.#host = options.host ?? apiHost(options.domain);
    // The grammar of references takes more than a URL does, a port of 99999 for one.
    // And a login's domain is what its client wrote: nothing of it may be read as a user, a path or a query.
    if (/[\s@/\\?#]/.test(this.#host) || !URL.canParse(`https://${this.#host}/`)) {
      throw new TareError(
        'InvalidArgument',
        `invalid registry ${JSON.stringify(options.domain)}: want HOST or HOST:PORT`,
      );
    }
  }

  get domain(): string {
    return this.#options.domain;
  }

  get limits(): RegistryLimits {
    return this.#options.client.options.limits;
  }

  get client(): HttpClient {
    return this.#options.client;
  }

  get isInsecure(): boolean {
    return this.#options.isInsecure;
  }

  purpose(what: string): Purpose {
    return { registry: this.domain, what };
  }

  /** @throws {RegistryError}; the signal's reason */
  async call({ what, path, scopes, ...call }: RegistryCall): Promise<WireResponse> {
    const { client, isInsecure, attempts } = this.#options;
    const authenticator = await this.#whoAsks();
    const purpose = this.purpose(what);
    const origin = () => this.#origin(purpose, call.signal);
    // A link of the registry's to another host is followed as a stranger.
    const isOwn = typeof path === 'string' || path.origin === (await origin());
    try {
      return await client.call({
        ...(attempts === undefined ? {} : { attempts }),
        ...call,
        purpose,
        url: async () => (typeof path === 'string' ? new URL(path, await origin()) : path),
        ...(isOwn ? { authorizer: authenticator.for(scopes), domain: this.domain, isInsecure } : { isInsecure: false }),
      });
    } catch (error) {
      if (isInsecure && error instanceof RegistryError) this.#doubt(error);
      throw error;
    }
  }

  /** Asked once; a credential helper that failed is asked again. */
  async #whoAsks(): Promise<Authenticator> {
    this.#authenticator ??= this.#options.authenticator();
    try {
      return await this.#authenticator;
    } catch (error) {
      this.#authenticator = undefined;
      throw error;
    }
  }

  /** A link in an answer, as `RegistryCall.path`. @throws {RegistryError} InvalidArgument */
  link(what: string, from: WireResponse, location: string): URL {
    return this.client.target({ purpose: this.purpose(what), isInsecure: this.isInsecure }, from.url, location);
  }

  /**
   * A link to more of the same, which must be on the registry itself.
   * @throws {RegistryError} InvalidArgument: it leads elsewhere
   */
  ownLink(what: string, from: WireResponse, location: string): URL {
    const url = this.link(what, from, location);
    if (url.origin === from.url.origin) return url;
    const problem = `its next page is on another host, ${url.host}, where this login must not go`;
    throw new RegistryError('InvalidArgument', this.purpose(what), problem);
  }

  /** As `HttpClient.read`. */
  async read(what: string, response: WireResponse, limitBytes: number): Promise<Buffer> {
    return await this.client.read(this.purpose(what), response, limitBytes);
  }

  /** `https://host`, or `http://host` where an insecure host knows no TLS. */
  async #origin(purpose: Purpose, signal: AbortSignal | undefined): Promise<string> {
    const secure = `https://${this.#host}`;
    if (!this.isInsecure) return secure;
    const known = knownOrigins.get(this.#host);
    if (known !== undefined) return known;
    const plain = `http://${this.#host}`;
    const tlsError = await this.#greet(secure, signal);
    const origin = tlsError === undefined ? secure : plain;
    if (tlsError !== undefined) {
      const plainError = await this.#greet(plain, signal);
      if (plainError !== undefined) {
        // Without a port the two are different doors; the first is the one that was meant.
        const url = new URL(isOfTls(tlsError) ? plain : secure);
        throw errorOfConnection(purpose, url, plainError, mayPass(plainError));
      }
    }
    if (knownOrigins.size >= MAX_KNOWN_ORIGINS) knownOrigins.clear();
    knownOrigins.set(this.#host, origin);
    return origin;
  }

  /** It may have changed how it speaks: TLS answers plain text with an end, or, in Go, with status 400. */
  #doubt(error: RegistryError): void {
    const isPlain = knownOrigins.get(this.#host)?.startsWith('http:') === true;
    const isOther = /^(ECONNREFUSED|EPROTO|ERR_SSL_|HPE_)/.test(codeOf(error.cause) ?? '');
    if (isOther || (isPlain && (error.status === undefined || error.status === 400))) knownOrigins.delete(this.#host);
  }

  /** Whether anybody speaks HTTP there. @returns the error if not */
  async #greet(origin: string, signal: AbortSignal | undefined): Promise<Error | undefined> {
    const { client, isInsecure } = this.#options;
    const url = new URL('/v2/', origin);
    try {
      using response = await client.connections.request({
        method: 'GET',
        url,
        headers: { 'user-agent': client.options.userAgent },
        domain: this.domain,
        isInsecure,
        signal,
      });
      const body = await response.bytes(this.limits.errorBodyBytes);
      // What Go's server says to plain text where it expects TLS.
      const isRefused = response.status === 400 && body?.includes('HTTPS server') === true;
      return isRefused ? Object.assign(new Error('it wants TLS'), { code: 'EPROTO' }) : undefined;
    } catch (error) {
      signal?.throwIfAborted();
      // Not the host's: its certificates are configured wrongly, which must not end in plain HTTP.
      if (error instanceof TareError && !(error instanceof RegistryError)) throw error;
      return error as Error;
    }
  }
}

const isOfTls = (error: Error): boolean => {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return code === 'EPROTO' || code.startsWith('ERR_SSL_') || code === 'ECONNRESET';
};
