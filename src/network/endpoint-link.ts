import { closeSync, openSync, writeFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { isIPv6, RouteSocket, withNamespace } from '../linux/index.ts';
import type { Endpoint } from './driver.ts';
import { setSysctl } from './sysctl.ts';

/**
 * Gives an endpoint's link, still down, what was asked for it: settings first, as some count only for addresses that come
 * later, then its addresses.
 *
 * @param namespace descriptor of the container's network namespace, where `inside` lives
 * @throws {TareError} InvalidArgument: a setting that the kernel does not know, or does not take
 */
export function dressLink(inside: RouteSocket, namespace: number, index: number, endpoint: Endpoint): void {
  const { ipv4, ipv6, linkLocal = [] } = endpoint;
  dress(inside, namespace, index, endpoint, [ipv4, ipv6, ...linkLocal]);
}

/** The same for a link that others made and gave its addresses: what they were not asked for. */
export function dressForeignLink(netns: string, endpoint: Endpoint): void {
  const { interfaceName, sysctls, linkLocal = [] } = endpoint;
  if (sysctls === undefined && linkLocal.length === 0) return;
  const namespace = openSync(netns, 'r');
  try {
    using inside = withNamespace(namespace, () => new RouteSocket());
    const link = inside.link(interfaceName);
    if (link === undefined) throw new TareError('Unavailable', `no link ${interfaceName} was made in ${netns}`);
    dress(inside, namespace, link.index, endpoint, linkLocal);
  } finally {
    closeSync(namespace);
  }
}

function dress(
  inside: RouteSocket,
  namespace: number,
  index: number,
  { interfaceName, sysctls = {} }: Endpoint,
  cidrs: readonly string[],
): void {
  const addresses = cidrs.filter((cidr) => cidr !== '');
  const hasIPv6 = addresses.some((cidr) => isIPv6(cidr.split('/', 1)[0] as string));
  const settings = Object.entries(sysctls);
  if (hasIPv6 || settings.length > 0) {
    withNamespace(namespace, () => {
      if (hasIPv6) {
        setSysctl(`net/ipv6/conf/${interfaceName}/accept_ra`, '0');
        setSysctl(`net/ipv6/conf/${interfaceName}/disable_ipv6`, '0');
      }
      for (const [path, value] of settings) writeSetting(path.replace('IFNAME', interfaceName), value);
    });
  }
  for (const cidr of addresses) {
    const [address = '', prefix = ''] = cidr.split('/');
    inside.addAddress(index, address, Number(prefix));
  }
}

function writeSetting(path: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${path}`, value);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const name = path.replaceAll('/', '.');
    const why = code === 'ENOENT' ? 'this kernel has no such setting' : `the kernel does not take it (${code})`;
    throw new TareError('InvalidArgument', `failed to set sysctl ${name}=${value}: ${why}`, { cause: error });
  }
}
