import { isIP } from '../../../linux/index.ts';
import type { Endpoint } from '../../driver.ts';
import { isObject } from './conflist.ts';

/** What a result says of the container's own link. */
export type ResultAddresses = Pick<Endpoint, 'macAddress' | 'ipv4' | 'ipv6' | 'gatewayIpv4' | 'gatewayIpv6'>;

/**
 * The first address of each family in a success result (section 5), of those that are in the container. What makes no
 * sense is passed over: it comes from a program.
 */
export function addressesOf(result: Record<string, unknown>, ifName: string): ResultAddresses {
  const interfaces = objects(result['interfaces']);
  const isInside = (index: unknown): boolean =>
    typeof index !== 'number' || interfaces[index] === undefined || text(interfaces[index]['sandbox']) !== '';
  const found: ResultAddresses = { macAddress: '', ipv4: '', ipv6: '', gatewayIpv4: '', gatewayIpv6: '' };
  for (const ip of objects(result['ips'])) {
    const [address = '', prefix = ''] = text(ip['address']).split('/');
    if (!isInside(ip['interface']) || !/^\d{1,3}$/.test(prefix)) continue;
    const gateway = text(ip['gateway']);
    if (isIP(address) === 4 && found.ipv4 === '') {
      found.ipv4 = `${address}/${prefix}`;
      if (isIP(gateway) === 4) found.gatewayIpv4 = gateway;
    }
    if (isIP(address) === 6 && found.ipv6 === '') {
      found.ipv6 = `${address}/${prefix}`;
      if (isIP(gateway) === 6) found.gatewayIpv6 = gateway;
    }
  }
  const own = interfaces.find(({ name, sandbox }) => name === ifName && text(sandbox) !== '');
  const mac = text(own?.['mac']).toLowerCase();
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) found.macAddress = mac;
  return found;
}

const MAX_ENTRIES = 16;
/** What may stand in a line of resolv.conf. */
const WORD = /^[\x21-\x7e]{1,255}$/;

/** What a result says of names (section 5, "dns"), where it says anything. */
export function dnsOf(result: Record<string, unknown>): Pick<Endpoint, 'dns'> {
  const said = isObject(result['dns']) ? result['dns'] : {};
  const words = (key: string): string[] =>
    (Array.isArray(said[key]) ? said[key] : []).filter((word) => WORD.test(text(word))).slice(0, MAX_ENTRIES);
  const servers = words('nameservers').filter((address) => isIP(address) !== 0);
  const domain = text(said['domain']);
  const search = words('search');
  const searches = search.length === 0 && WORD.test(domain) ? [domain] : search;
  const options = words('options');
  return servers.length + searches.length + options.length === 0 ? {} : { dns: { servers, searches, options } };
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

const objects = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isObject) : []);
