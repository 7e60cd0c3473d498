import { Connections } from './connections.ts';
import type { WireResponse } from './exchange.ts';
import { defaultLimits } from './limits.ts';

/** Plain GET requests over the connections that registries are asked by: proxies, the system's authorities, bounds of time. */
export class FileRequests implements Disposable {
  readonly #connections: Connections;

  /** @param env where HTTP_PROXY and the like are read */
  constructor(env: NodeJS.ProcessEnv) {
    this.#connections = new Connections({ limits: defaultLimits, tlsFor: () => ({}), env });
  }

  /** One request; redirects are answers. @throws what sockets throw, or the signal's reason */
  async get(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<WireResponse> {
    return await this.#connections.request({
      method: 'GET',
      url,
      domain: url.host,
      headers,
      isInsecure: false,
      signal,
    });
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }
}
