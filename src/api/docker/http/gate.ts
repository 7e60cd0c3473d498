import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { TcpListener } from './listen.ts';

/**
 * Whether a request over TCP was meant for this engine. A web page can make a browser send requests here, under a name that it
 * has pointed at our address (DNS rebinding): such a request carries that name as its Host, or the page's Origin.
 */
export class Gate {
  readonly #names: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  readonly #address: string;

  constructor({ host, tls, allowedHosts = [], allowedOrigins = [] }: TcpListener) {
    this.#address = host.toLowerCase();
    this.#names = new Set(
      ['localhost', hostname(), host, ...(tls?.names ?? []), ...allowedHosts].map((name) => name.toLowerCase()),
    );
    this.#origins = new Set(allowedOrigins.map((origin) => origin.toLowerCase()));
  }

  /** @returns why the request is refused; undefined: it may come in */
  refusal({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
    const { host = '', origin } = headers;
    if (!this.#isOurs(host))
      return `the request is for host ${JSON.stringify(host)}, which this engine is not known as: add it to allowed-hosts of the configuration`;
    if (origin !== undefined && !this.#origins.has(origin.toLowerCase()))
      return `requests of web pages from ${JSON.stringify(origin)} are not answered: add it to allowed-origins of the configuration`;
    return undefined;
  }

  #isOurs(host: string): boolean {
    const [, bracketed, plain] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/i.exec(host) ?? [];
    const name = (bracketed ?? plain ?? '').toLowerCase().replace(/\.$/, '');
    if (this.#names.has(name)) return true;
    // Nobody can point an address elsewhere; only one that we do not listen on is a mistake.
    return isIP(name) !== 0 && (this.#address === '0.0.0.0' || this.#address === '::' || this.#address === name);
  }
}
