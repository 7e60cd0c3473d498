import { BlockList, isIP, isIPv4 } from 'node:net';
import { DEFAULT_DOMAIN } from '../reference.ts';

/** Where a domain's API answers: docker.io is the one name that is no host. */
export const apiHost = (domain: string): string => (domain === DEFAULT_DOMAIN ? 'registry-1.docker.io' : domain);
/** Where a domain's search answers. */
export const searchHost = (domain: string): string => (domain === DEFAULT_DOMAIN ? 'index.docker.io' : domain);

let loopback: BlockList | undefined;

/** Made for the first address: most registries go by a name. */
function loopbackAddresses(): BlockList {
  if (loopback !== undefined) return loopback;
  loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return loopback;
}

/** A URL's or domain's host without port and brackets, in lower case. */
function hostnameOf(domain: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(domain);
  return (bracketed?.[1] ?? domain.replace(/:\d*$/, '')).toLowerCase();
}

/** Whether a host is this machine by its very name; docker takes such registries for insecure ones. */
export function isLoopback(domain: string): boolean {
  const name = hostnameOf(domain);
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  // Whether a name is an IPv6 address is a question that takes Node.js 4 ms, the first time.
  const family = name.includes(':') ? isIP(name) : isIPv4(name) ? 4 : 0;
  return family !== 0 && loopbackAddresses().check(name, family === 4 ? 'ipv4' : 'ipv6');
}

/** The proxies that the environment names, spelled either way. */
export interface ProxySettings {
  http: string | undefined;
  https: string | undefined;
  /** Whether a host is reached without a proxy. */
  bypasses(url: URL): boolean;
}

/**
 * Reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go's programs do, docker and podman among them: NO_PROXY lists domains (with
 * all below them), addresses and CIDR ranges, each with a port or without, or is `*`. Loopback is never proxied.
 * @see golang.org/x/net/http/httpproxy
 */
export function proxySettings(env: NodeJS.ProcessEnv): ProxySettings {
  const read = (name: string) => env[name] || env[name.toLowerCase()] || undefined;
  const entries = (read('NO_PROXY') ?? '').split(',').map((entry) => entry.trim().toLowerCase());
  const matchers = entries.filter((entry) => entry !== '').map(bypassMatcher);
  const withScheme = (proxy: string | undefined) =>
    proxy === undefined || /^[a-z]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
  return {
    http: withScheme(read('HTTP_PROXY')),
    https: withScheme(read('HTTPS_PROXY')),
    bypasses: (url) => {
      const name = hostnameOf(url.host);
      const port = url.port || (url.protocol === 'https:' ? '443' : '80');
      return isLoopback(url.host) || matchers.some((matches) => matches(name, port));
    },
  };
}

type Matcher = (name: string, port: string) => boolean;

function bypassMatcher(entry: string): Matcher {
  if (entry === '*') return () => true;
  const range = /^(.+)\/(\d{1,3})$/.exec(entry);
  if (range !== null) return rangeMatcher(range[1]!, Number(range[2]));
  const port = isIP(entry) === 0 ? /:(\d+)$/.exec(entry)?.[1] : undefined;
  const host = isIP(entry) === 0 ? hostnameOf(entry) : entry;
  const portFits = (actual: string) => port === undefined || port === actual;
  if (isIP(host) !== 0) return (name, actual) => name === host && portFits(actual);
  // `.a.test` and `*.a.test` leave out a.test itself.
  const isOnlyBelow = /^\*?\./.test(host);
  const bare = host.replace(/^\*?\./, '');
  return (name, actual) => portFits(actual) && (name.endsWith(`.${bare}`) || (!isOnlyBelow && name === bare));
}

function rangeMatcher(network: string, prefix: number): Matcher {
  const family = isIPv4(network) ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  try {
    list.addSubnet(network, prefix, family);
  } catch {
    return () => false;
  }
  return (name) => isIP(name) !== 0 && list.check(name, isIPv4(name) ? 'ipv4' : 'ipv6');
}
