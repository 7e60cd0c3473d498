import { TareError } from '../../errors/index.ts';
import type { StoredNetwork } from '../records.ts';

export type MacvlanMode = 'bridge' | 'vepa' | 'private' | 'passthru';
export type IpvlanMode = 'l2' | 'l3' | 'l3s';
export type IpvlanFlag = 'bridge' | 'private' | 'vepa';

/** What macvlan and ipvlan links of one network have in common, as the kernel is told. */
export type ChildKind = { kind: 'macvlan'; mode: MacvlanMode } | { kind: 'ipvlan'; mode: IpvlanMode; flag: IpvlanFlag };

const macvlanModes: readonly MacvlanMode[] = ['bridge', 'vepa', 'private', 'passthru'];
const ipvlanModes: readonly IpvlanMode[] = ['l2', 'l3', 'l3s'];
const ipvlanFlags: readonly IpvlanFlag[] = ['bridge', 'private', 'vepa'];

/** @throws {TareError} InvalidArgument, in docker's words */
export function childKind({ driver, options }: Pick<StoredNetwork, 'driver' | 'options'>): ChildKind {
  if (driver === 'macvlan') {
    return { kind: 'macvlan', mode: chosen(macvlanModes, options['macvlan_mode'], 'macvlan mode', 'macvlan') };
  }
  return {
    kind: 'ipvlan',
    mode: chosen(ipvlanModes, options['ipvlan_mode'], 'ipvlan mode', 'ipvlan'),
    flag: chosen(ipvlanFlags, options['ipvlan_flag'], 'ipvlan flag', 'ipvlan'),
  };
}

/** The first of the known ones is the default. */
function chosen<T extends string>(known: readonly T[], text: string | undefined, what: string, driver: string): T {
  const found = known.find((one) => one === (text || known[0]));
  if (found !== undefined) return found;
  throw new TareError(
    'InvalidArgument',
    `requested ${what} '${text}' is not valid, '${known[0]}' ${what.endsWith('mode') ? 'mode ' : ''}is the ${driver} driver default: one of ${known.join(', ')}`,
  );
}

/** Whether packets are routed, not switched: then there is no gateway, and the link itself is the way out. */
export const isRouted = (network: Pick<StoredNetwork, 'driver' | 'options'>): boolean =>
  network.driver === 'ipvlan' && ['l3', 'l3s'].includes(network.options['ipvlan_mode'] ?? '');

/** A network without a parent has a link of its own that leads nowhere; docker's names for it. */
export const innerParent = ({ driver, id }: Pick<StoredNetwork, 'driver' | 'id'>): string =>
  `${driver === 'macvlan' ? 'dm' : 'di'}-${id.slice(0, 12)}`;

/** Name of the link on the host that a network's containers hang on. */
export const parentOf = (network: Pick<StoredNetwork, 'driver' | 'id' | 'options'>): string =>
  network.options['parent'] || innerParent(network);

/** A parent that is to be made: tagged frames of another link. */
export interface VlanName {
  /** The link that carries the tagged frames. */
  carrier: string;
  vlanId: number;
}

/** @throws {TareError} InvalidArgument: the name is not LINK.VLAN, in docker's words */
export function vlanName(parent: string): VlanName {
  const parts = parent.split('.');
  const [carrier = '', tag = ''] = parts;
  if (parts.length < 2) {
    throw new TareError('InvalidArgument', `invalid subinterface vlan name ${parent}, example formatting is eth0.10`);
  }
  if (parts.length > 2 || carrier === '' || !/^\d{1,6}$/.test(tag)) {
    throw new TareError(
      'InvalidArgument',
      `required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${parent}`,
    );
  }
  const vlanId = Number(tag);
  if (vlanId < 1 || vlanId > 4094) {
    throw new TareError('InvalidArgument', `vlan id must be between 1-4094, received: ${tag}`);
  }
  return { carrier, vlanId };
}
