import type { LookupFunction } from 'node:net';
import { TareError } from '../../errors/index.ts';
import { DEFAULT_DOMAIN, parseReference, type Reference } from '../reference.ts';
import type { RegistriesConf } from '../registries/index.ts';
import type { HostTls } from './connections.ts';
import { isLoopback, searchHost } from './hosts.ts';
import { HttpClient } from './http-client.ts';
import { defaultLimits, type RegistryLimits } from './limits.ts';
import { listCatalog, searchRegistry } from './listing.ts';
import type {
  CredentialSource,
  Credentials,
  Registries,
  Repository,
  RepositoryName,
  RepositoryReader,
  RequestOptions,
  SearchResult,
} from './registry.ts';
import { RegistryError } from './registry-error.ts';
import { RegistryHost } from './registry-host.ts';
import { RemoteRepository } from './remote-repository.ts';
import { Authenticator, fingerprint } from './tokens.ts';

export interface OpenRegistriesOptions {
  /** Mirrors, blocked and insecure registries, short names. */
  conf: Pick<RegistriesConf, 'lookup' | 'isInsecure' | 'refuseBlocked' | 'candidates'>;
  /** Asked when a registry wants to know who asks and nobody gave credentials. */
  credentials?: CredentialSource;
  /** Certificates of a host, `host[:port]`. */
  tlsFor?(domain: string): HostTls;
  /** Default `tare`. */
  userAgent?: string;
  limits?: Partial<RegistryLimits>;
  /** Whether `urls` of a foreign layer are asked when the registry does not have it. Default: no. */
  allowForeign?: boolean;
  /** Where HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read. Default: this process's environment. */
  env?: NodeJS.ProcessEnv;
  /** In place of the system's resolver. */
  lookup?: LookupFunction;
}

/** Where there is another place to ask, a mirror that fails is not waited for long. */
const MIRROR_ATTEMPTS = 2;
const MAX_AUTHENTICATORS = 256;
const MAX_TERM_CHARACTERS = 256;
const MAX_RESULTS = 100;

/**
 * Registries of this machine's configuration. Nothing is read or sent before a method is called; disposing closes idle
 * connections.
 */
export function openRegistries(options: OpenRegistriesOptions): Registries & Disposable {
  return new ConfiguredRegistries(options);
}

class ConfiguredRegistries implements Registries, Disposable {
  readonly #options: OpenRegistriesOptions;
  readonly #client: HttpClient;
  /** Tokens outlive one call, under who asked. */
  readonly #authenticators = new Map<string, Authenticator>();

  constructor(options: OpenRegistriesOptions) {
    this.#options = options;
    this.#client = new HttpClient({
      limits: { ...defaultLimits, ...options.limits },
      tlsFor: options.tlsFor ?? (() => ({})),
      env: options.env ?? process.env,
      lookup: options.lookup,
      userAgent: options.userAgent ?? 'tare',
      isInsecure: (domain) => this.#isInsecure(domain, options.conf.isInsecure(domain)),
    });
  }

  repository({ domain, path }: RepositoryName | Reference, credentials?: Credentials): Repository {
    const scope = `${domain}/${path}`;
    this.#options.conf.refuseBlocked(scope);
    const host = this.#host(domain, scope, credentials, this.#options.conf.isInsecure(scope));
    return new RemoteRepository(host, { domain, path }, this.#options.allowForeign ?? false);
  }

  sources(reference: Reference, credentials?: Credentials): RepositoryReader[] {
    const sources = this.#options.conf.lookup(reference);
    return sources.map(({ domain, path, insecure, isMirror }, index) => {
      // A password for one host is none for another that stands in for it.
      const own = !isMirror && domain === reference.domain ? credentials : undefined;
      const host = this.#host(domain, `${domain}/${path}`, own, insecure, index < sources.length - 1);
      return new RemoteRepository(host, { domain, path }, this.#options.allowForeign ?? false);
    });
  }

  candidates(shortName: string): Reference[] {
    return this.#options.conf.candidates(shortName);
  }

  async authenticate(
    domain: string,
    credentials: Credentials,
    { signal }: RequestOptions = {},
  ): Promise<{ identityToken?: string }> {
    this.#options.conf.refuseBlocked(domain);
    const isInsecure = this.#isInsecure(domain, this.#options.conf.isInsecure(domain));
    // One of its own: a wrong password must not be remembered.
    const authenticator = new Authenticator({ registry: domain, client: this.#client, credentials, isInsecure });
    const host = new RegistryHost({
      domain,
      client: this.#client,
      authenticator: async () => authenticator,
      isInsecure,
    });
    try {
      using _response = await host.call({
        what: 'login',
        method: 'GET',
        path: '/v2/',
        scopes: [],
        wanted: [200],
        signal,
      });
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      const { status, code } = error;
      if (status === 401 && error.kind === 'Unauthorized') {
        const problem = 'the user name or the password is wrong (401)';
        throw new RegistryError('Unauthorized', host.purpose('login'), problem, { status, code, cause: error });
      }
      if (status === 404) {
        const problem = 'nothing answers at /v2/: this is no registry (404)';
        throw new RegistryError('Unsupported', host.purpose('login'), problem, { status, cause: error });
      }
      throw error;
    }
    return await authenticator.login();
  }

  catalog(domain: string, credentials?: Credentials, options?: RequestOptions): AsyncIterable<string> {
    this.#options.conf.refuseBlocked(domain);
    return listCatalog(this.#host(domain, domain, credentials, this.#options.conf.isInsecure(domain)), options);
  }

  async search(
    term: string,
    limit: number,
    credentials?: Credentials,
    options?: RequestOptions,
  ): Promise<SearchResult[]> {
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_RESULTS) {
      throw new TareError('InvalidArgument', `limit ${limit} is outside the range of [1, ${MAX_RESULTS}]`);
    }
    const { domain, words } = splitTerm(term);
    this.#options.conf.refuseBlocked(domain);
    const isInsecure = this.#isInsecure(domain, this.#options.conf.isInsecure(domain));
    const host = new RegistryHost({
      domain,
      host: searchHost(domain),
      client: this.#client,
      authenticator: () => this.#shared(domain, domain, credentials, isInsecure),
      isInsecure,
    });
    return await searchRegistry(host, words, limit, options);
  }

  /** docker takes this machine's own registries for insecure ones; here authorities that were named for them are kept to. */
  #isInsecure(domain: string, isConfigured: boolean): boolean {
    return isConfigured || (isLoopback(domain) && this.#options.tlsFor?.(domain).ca === undefined);
  }

  #host(
    domain: string,
    scope: string,
    credentials: Credentials | undefined,
    isConfiguredInsecure: boolean,
    hasNext = false,
  ): RegistryHost {
    const isInsecure = this.#isInsecure(domain, isConfiguredInsecure);
    return new RegistryHost({
      domain,
      client: this.#client,
      authenticator: () => this.#shared(domain, scope, credentials, isInsecure),
      isInsecure,
      ...(hasNext ? { attempts: Math.min(MIRROR_ATTEMPTS, this.#client.options.limits.attempts) } : {}),
    });
  }

  /** Stored credentials are looked up for every repository anew, so that a login or logout counts at once. */
  async #shared(
    domain: string,
    scope: string,
    given: Credentials | undefined,
    isInsecure: boolean,
  ): Promise<Authenticator> {
    const credentials = given ?? (await this.#options.credentials?.(scope));
    const key = `${domain} ${fingerprint(credentials)} ${isInsecure}`;
    const kept = this.#authenticators.get(key);
    if (kept !== undefined) return kept;
    const made = new Authenticator({ registry: domain, client: this.#client, credentials, isInsecure });
    if (this.#authenticators.size >= MAX_AUTHENTICATORS) this.#authenticators.clear();
    this.#authenticators.set(key, made);
    return made;
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

/** `host/words`, or words for the default registry, as docker reads them. */
function splitTerm(term: string): { domain: string; words: string } {
  if (term === '' || term.length > MAX_TERM_CHARACTERS) {
    throw new TareError('InvalidArgument', `search term: want 1 to ${MAX_TERM_CHARACTERS} characters`);
  }
  const slash = term.indexOf('/');
  const first = slash < 0 ? '' : term.slice(0, slash);
  const isHost = first === 'localhost' || /[.:]/.test(first);
  if (!isHost) return { domain: DEFAULT_DOMAIN, words: term };
  // Its grammar is a reference's.
  const { domain } = parseReference(`${first}/x`);
  // Official images have no folder that a person would type.
  return {
    domain,
    words: domain === DEFAULT_DOMAIN ? term.slice(slash + 1).replace(/^library\//, '') : term.slice(slash + 1),
  };
}
