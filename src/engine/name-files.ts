import { readFileSync } from 'node:fs';
import { isIP } from '../linux/index.ts';

/** What the container's hosts file must say. */
export interface HostsInput {
  hostname: string;
  domainname: string;
  /** The container's own addresses, without prefix length. */
  addresses: string[];
  /** `name:address`; `host-gateway` stands for the gateway. */
  extraHosts: string[];
  /** Other containers under the names that only this one uses. */
  linked: readonly { names: string; addresses: readonly string[] }[];
  gateway: string;
}

/** Text of /etc/hosts, as docker writes it. */
export function hostsFile(input: HostsInput): string {
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
  ];
  for (const entry of input.extraHosts) {
    const [name, address] = splitExtraHost(entry);
    lines.push(`${address === 'host-gateway' ? input.gateway : address}\t${name}`);
  }
  for (const { names, addresses } of input.linked) {
    for (const address of addresses) lines.push(`${address}\t${names}`);
  }
  const names = input.domainname === '' ? input.hostname : `${input.hostname}.${input.domainname} ${input.hostname}`;
  for (const address of input.addresses) lines.push(`${address}\t${names}`);
  return `${lines.join('\n')}\n`;
}

/** `name:address` or `name=address`, where the address may be IPv6, in brackets or not. */
export function splitExtraHost(entry: string): [name: string, address: string] {
  const at = entry.search(/[:=]/);
  if (at < 1) return [entry, ''];
  return [entry.slice(0, at), entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1')];
}

/** Whether an `--add-host` entry names a host and an address. */
export function isExtraHost(entry: string): boolean {
  const [, address] = splitExtraHost(entry);
  return address === 'host-gateway' || isIP(address) !== 0;
}

export interface ResolvInput {
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  /** The container shares the host's network: its loopback resolvers work there too. */
  keepLoopback: boolean;
  /** Asked instead of all others, which it asks in turn. */
  nameServer?: string;
}

// What docker falls back to when the host has only resolvers that a container cannot reach.
const publicResolvers = ['8.8.8.8', '8.8.4.4'];

/** Text of /etc/resolv.conf: the host's words, save what the user gave instead. */
export function resolvConf(host: string, input: ResolvInput): string {
  const words = (key: string): string[][] =>
    host
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([first]) => first === key)
      .map(([, ...rest]) => rest);
  const hostServers = words('nameserver').flatMap(([address]) => (address === undefined ? [] : [address]));
  const reachable = input.keepLoopback ? hostServers : hostServers.filter((address) => !isLoopback(address));
  const own = input.dns.length > 0 ? input.dns : reachable.length > 0 ? reachable : publicResolvers;
  const servers = input.nameServer === undefined ? own : [input.nameServer];
  const search =
    input.dnsSearch.length > 0 ? input.dnsSearch : (words('search').at(-1) ?? words('domain').at(-1) ?? []);
  const options = input.dnsOptions.length > 0 ? [...input.dnsOptions] : words('options').flat();
  // Names of containers have no dots: they come before the search list, as with docker.
  if (input.nameServer !== undefined && !options.some((option) => option.startsWith('ndots:'))) options.push('ndots:0');
  return [
    ...servers.map((server) => `nameserver ${server}`),
    // A single dot means: no search list.
    ...(search.length > 0 && search.join() !== '.' ? [`search ${search.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n');
}

const isLoopback = (address: string): boolean =>
  address.startsWith('127.') || address === '::1' || address === '0.0.0.0';

/** The host's resolver file; '' when there is none. systemd-resolved's stub is looked through to its upstreams. */
export function hostResolvConf(): string {
  const text = readText('/etc/resolv.conf');
  if (!/^nameserver\s+127\.0\.0\.53\s*$/m.test(text)) return text;
  return readText('/run/systemd/resolve/resolv.conf') || text;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(0, 65_536);
  } catch {
    return '';
  }
}
