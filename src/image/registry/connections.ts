import type { Agent, RequestOptions } from 'node:http';
import type { LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';
import { isAway } from '../../linux/index.ts';
import { Sending, type WireRequest, type WireResponse } from './exchange.ts';
import { connectByHost } from './host-connection.ts';
import { type ProxySettings, proxySettings } from './hosts.ts';
import type { RegistryLimits } from './limits.ts';

/** What a host's certificates are checked with; PEM. */
export interface HostTls {
  ca?: string[];
  cert?: string[];
  key?: string[];
}

export interface ConnectionOptions {
  limits: RegistryLimits;
  tlsFor(domain: string): HostTls;
  /** Where HTTP_PROXY and the like are read. */
  env: NodeJS.ProcessEnv;
  /** In place of the system's resolver. */
  lookup?: LookupFunction | undefined;
}

interface Modules {
  http: typeof import('node:http');
  https: typeof import('node:https');
  tls: typeof import('node:tls');
}

/** node:https costs ten milliseconds to load, which only those pay who talk to a registry. */
let modules: Promise<Modules> | undefined;
const load = (): Promise<Modules> =>
  (modules ??= (async () => ({
    http: await import('node:http'),
    https: await import('node:https'),
    tls: await import('node:tls'),
  }))());

/** Set once Node's own list of authorities was not enough: reading the system's takes 60 ms. */
let usesSystemAuthorities = false;
const unknownAuthority = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

const CERTIFICATES_LAST_MS = 10_000;
const MAX_HOSTS = 64;

/** Sends HTTP requests over connections that are kept for the next one. Follows nothing, repeats nothing. */
export class Connections implements Disposable {
  readonly #options: ConnectionOptions;
  readonly #proxies: ProxySettings;
  readonly #agents = new Map<string, Agent>();
  /** One for each host with certificates of its own, under these, and one for all others; anew with the system's authorities. */
  readonly #contexts = new Map<string, SecureContext | undefined>();
  readonly #certificates = new Map<string, { tls: HostTls; readAtMs: number }>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#proxies = proxySettings(options.env);
  }

  /** @returns once the answer's head has come. @throws what node's sockets throw, `TimedOut`, or the signal's reason */
  async request(request: WireRequest): Promise<WireResponse> {
    const loaded = await load();
    request.signal?.throwIfAborted();
    const usedSystemAuthorities = usesSystemAuthorities;
    try {
      return await this.#send(loaded, request);
    } catch (error) {
      const isUnknown = unknownAuthority.has((error as NodeJS.ErrnoException).code ?? '');
      // Of several at once, the first to fail may have set it meanwhile.
      if (!isUnknown || usedSystemAuthorities || request.isInsecure) throw error;
      usesSystemAuthorities = true;
      return await this.#send(loaded, request);
    }
  }

  async #send({ http, https, tls }: Modules, request: WireRequest): Promise<WireResponse> {
    const { url, domain, body } = request;
    const isTls = url.protocol === 'https:';
    const options: RequestOptions & { secureContext?: SecureContext | undefined; rejectUnauthorized?: boolean } = {
      method: request.method,
      headers: {
        ...request.headers,
        ...(body === undefined ? {} : { 'content-length': String(body.sizeBytes) }),
      },
      agent: this.#agent(isTls ? https : http, url),
      ...(this.#options.lookup === undefined ? {} : { lookup: this.#options.lookup }),
      ...(isTls ? { secureContext: this.#secureContext(tls, domain), rejectUnauthorized: !request.isInsecure } : {}),
    };
    const sent = (isTls ? https : http).request(url, options);
    return await new Sending(sent, request, this.#options.limits).answer();
  }

  #agent(protocol: Modules['http'] | Modules['https'], url: URL): Agent {
    const { http, https } = this.#proxies;
    const isProxied = (url.protocol === 'https:' ? https : http) !== undefined && !this.#proxies.bypasses(url);
    const key = `${url.protocol}${isProxied}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      agent = new protocol.Agent({
        keepAlive: true,
        // Of connections that nobody uses.
        timeout: 15_000,
        ...(isProxied
          ? {
              proxyEnv: {
                ...(http === undefined ? {} : { HTTP_PROXY: http }),
                ...(https === undefined ? {} : { HTTPS_PROXY: https }),
              },
            }
          : {}),
      });
      if (isAway() && !isProxied) connectByHost(agent, url.protocol === 'https:');
      this.#agents.set(key, agent);
    }
    return agent;
  }

  #secureContext(tls: Modules['tls'], domain: string): SecureContext | undefined {
    const own = this.#certificatesOf(domain);
    const isPlain = own.ca === undefined && own.cert === undefined;
    const key = `${usesSystemAuthorities} ${isPlain ? '' : JSON.stringify(own)}`;
    if (!this.#contexts.has(key)) {
      if (this.#contexts.size >= MAX_HOSTS) this.#contexts.clear();
      const authorities = new Set(own.ca ?? []);
      if (own.ca !== undefined || usesSystemAuthorities) {
        for (const pem of tls.getCACertificates('default')) authorities.add(pem);
      }
      if (usesSystemAuthorities) for (const pem of tls.getCACertificates('system')) authorities.add(pem);
      this.#contexts.set(
        key,
        isPlain && authorities.size === 0
          ? undefined
          : tls.createSecureContext({
              ...(authorities.size === 0 ? {} : { ca: [...authorities] }),
              ...(own.cert === undefined ? {} : { cert: own.cert, key: own.key ?? [] }),
            }),
      );
    }
    return this.#contexts.get(key);
  }

  /** Files are not read for every request, and a change of them counts a moment later. */
  #certificatesOf(domain: string): HostTls {
    const kept = this.#certificates.get(domain);
    if (kept !== undefined && performance.now() - kept.readAtMs < CERTIFICATES_LAST_MS) return kept.tls;
    const tls = this.#options.tlsFor(domain);
    if (this.#certificates.size >= MAX_HOSTS) this.#certificates.clear();
    this.#certificates.set(domain, { tls, readAtMs: performance.now() });
    return tls;
  }

  [Symbol.dispose](): void {
    for (const agent of this.#agents.values()) agent.destroy();
  }
}
