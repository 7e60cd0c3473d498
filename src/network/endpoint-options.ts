import { TareError } from '../errors/index.ts';
import { isIP } from '../linux/index.ts';
import { checkedAddress, contains, parseSubnet } from './subnet.ts';

/** What may be asked of an endpoint's link beyond its addresses. */
export interface EndpointOptions {
  /** As the link shall be called in the container; '' for the next free ethN. */
  interfaceName: string;
  /** Paths beneath /proc/sys with IFNAME in place of the link's name, and what is written there. */
  sysctls: Record<string, string>;
}

const INTERFACE_NAME = 'com.docker.network.endpoint.ifname';
const SYSCTLS = 'com.docker.network.endpoint.sysctls';

/** Folders of /proc/sys/net/ipv4/conf that are no links. */
const reservedNames = new Set(['.', '..', 'lo', 'all', 'default']);

/**
 * Reads docker's driver options of an endpoint; those it does not know are left to the driver.
 * @throws {TareError} InvalidArgument: a name that no link can have; a sysctl that is not of the endpoint's link
 */
export function endpointOptions(driverOptions: Readonly<Record<string, string>>): EndpointOptions {
  const interfaceName = driverOptions[INTERFACE_NAME] ?? '';
  // 15 bytes, no slash, no white space (dev_valid_name in net/core/dev.c); no more than what needs no quotes anywhere.
  if (interfaceName !== '' && (!/^[a-zA-Z0-9_.-]{1,15}$/.test(interfaceName) || reservedNames.has(interfaceName))) {
    throw new TareError(
      'InvalidArgument',
      `invalid interface name ${JSON.stringify(interfaceName)} in ${INTERFACE_NAME}: 1 to 15 letters, digits, '_', '.' or '-', and not lo, all or default`,
    );
  }
  const sysctls: Record<string, string> = {};
  for (const setting of (driverOptions[SYSCTLS] ?? '').split(',')) {
    if (setting === '') continue;
    const [path, value] = parseSysctl(setting);
    sysctls[path] = value;
  }
  return { interfaceName, sysctls };
}

/** `net.ipv4.conf.IFNAME.log_martians=1`; docker's client spells IFNAME in small letters as well. */
function parseSysctl(setting: string): [path: string, value: string] {
  const match = /^net\.(ipv4|ipv6|mpls)\.(\w{1,32})\.(?:IFNAME|ifname)\.(\w{1,64})=([\x21-\x7e]{1,128})$/.exec(setting);
  if (match === null) {
    throw new TareError(
      'InvalidArgument',
      `unrecognised network interface sysctl '${setting}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
    );
  }
  const [, family, table, name, value] = match as unknown as [string, string, string, string, string];
  return [`net/${family}/${table}/IFNAME/${name}`, value];
}

/** RFC 3927, RFC 4291. */
const linkLocal = { 4: '169.254.0.0/16', 6: 'fe80::/64' };

/**
 * Link-local addresses with their prefix length.
 * @throws {TareError} InvalidArgument: an address that is none
 */
export function linkLocalAddresses(wanted: readonly string[]): string[] {
  return wanted.map((text) => {
    const address = checkedAddress(text, 'link-local IP address');
    const subnet = parseSubnet(linkLocal[isIP(address) as 4 | 6]);
    if (!contains(subnet, address)) {
      throw new TareError(
        'InvalidArgument',
        `invalid link-local IP address: ${text}: it is not in 169.254.0.0/16 or fe80::/64`,
      );
    }
    return `${address}/${subnet.prefix}`;
  });
}
