import { readFileSync, statSync } from 'node:fs';
import { isIP } from '../../linux/index.ts';

/** How long the file may have changed before we see it. */
const LOOK_MS = 250;
/** What resolv.conf(5) says of a file without a name server. */
const DEFAULT_RESOLVER = '127.0.0.1';
const MAX_RESOLVERS = 3;

/** The resolvers of this host, read again when its file changes. */
export class HostResolvers {
  readonly #path: string;
  #signature = '';
  #lookedMs = Number.NEGATIVE_INFINITY;
  #addresses: readonly string[] = [DEFAULT_RESOLVER];

  constructor(path = '/etc/resolv.conf') {
    this.#path = path;
  }

  /** In the order in which they are asked; never empty. */
  get addresses(): readonly string[] {
    const now = performance.now();
    if (now - this.#lookedMs < LOOK_MS) return this.#addresses;
    this.#lookedMs = now;
    const signature = this.#sign();
    if (signature === this.#signature) return this.#addresses;
    this.#signature = signature;
    this.#addresses = nameServers(readText(this.#path));
    return this.#addresses;
  }

  #sign(): string {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
  }
}

/** The name servers that a resolv.conf names, at most three, as the host's own resolver takes them. */
export function nameServers(text: string): string[] {
  const named = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .flatMap(([key, address = '']) => (key === 'nameserver' && isIP(address) !== 0 ? [address] : []))
    .slice(0, MAX_RESOLVERS);
  return named.length > 0 ? named : [DEFAULT_RESOLVER];
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1').slice(0, 65_536);
  } catch {
    return '';
  }
}
