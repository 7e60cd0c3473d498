import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Endpoint } from '../network/index.ts';
import { hostResolvConf, hostsFile, resolvConf } from './name-files.ts';
import type { ContainerRecord } from './types.ts';

/**
 * Writes the files that the container finds as its hostname, hosts and resolv.conf.
 * @param owner the container whose network it shares: then its files are shared too
 */
export function writeGeneratedFiles(record: ContainerRecord, owner: ContainerRecord | undefined) {
  if (owner !== undefined) {
    return { hostname: owner.hostnamePath, hosts: owner.hostsPath, resolvConf: owner.resolvConfPath };
  }
  mkdirSync(dirname(record.hostsPath), { recursive: true, mode: 0o700 });
  writeFileSync(record.hostnamePath, `${record.config.hostname}\n`, { mode: 0o644 });
  writeHosts(record, [], []);
  writeResolvConf(record, undefined, []);
  return { hostname: record.hostnamePath, hosts: record.hostsPath, resolvConf: record.resolvConfPath };
}

/**
 * Writes resolv.conf anew, into the same inode.
 * @param nameServer where names of containers are served; undefined: the container asks its resolvers, or the host's, itself
 */
export function writeResolvConf(
  record: ContainerRecord,
  nameServer: string | undefined,
  endpoints: readonly Endpoint[],
): void {
  writeFileSync(record.resolvConfPath, resolvConfText(record, nameServer, endpoints), { mode: 0o644 });
}

/** What {@link writeResolvConf} writes. */
export function resolvConfText(
  { host }: Pick<ContainerRecord, 'host'>,
  nameServer: string | undefined,
  endpoints: readonly Endpoint[],
  hostText = hostResolvConf(),
): string {
  // What a network says goes for what the user has not said.
  const search = endpoints.flatMap(({ dns }) => dns?.searches ?? []);
  const options = endpoints.flatMap(({ dns }) => dns?.options ?? []);
  return resolvConf(hostText, {
    ...host,
    dnsSearch: host.dnsSearch.length > 0 ? host.dnsSearch : [...new Set(search)],
    dnsOptions: host.dnsOptions.length > 0 ? host.dnsOptions : [...new Set(options)],
    keepLoopback: host.networkMode === 'host',
    ...(nameServer === undefined ? {} : { nameServer }),
  });
}

/**
 * Writes the hosts file anew, into the same inode: a running container has it mounted.
 * @param linked other containers under the names that only this one uses
 */
export function writeHosts(
  record: ContainerRecord,
  endpoints: readonly Endpoint[],
  linked: readonly { names: string; addresses: readonly string[] }[],
): void {
  const { config, host } = record;
  const gateway = endpoints.find((endpoint) => endpoint.gatewayIpv4 !== '')?.gatewayIpv4 ?? '127.0.0.1';
  const addresses = endpoints
    .flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])
    .flatMap((text) => (text === '' ? [] : text.split('/', 1)));
  const text =
    host.networkMode === 'host' && host.extraHosts.length === 0
      ? readFileSync('/etc/hosts', 'utf8')
      : hostsFile({
          hostname: config.hostname,
          domainname: config.domainname,
          addresses,
          extraHosts: host.extraHosts,
          linked,
          gateway,
        });
  writeFileSync(record.hostsPath, text, { mode: 0o644 });
}
