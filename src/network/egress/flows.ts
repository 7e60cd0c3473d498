import { forgetFlow, isIPv6, listFlows, type NetlinkSocket, type TrackedFlow } from '../../linux/index.ts';
import type { Database } from '../../state/index.ts';
import { nameServersOf } from '../named-networks.ts';
import { listEndpoints, listNetworks } from '../records.ts';
import { interfaceAddress } from '../spoof-guard.ts';
import { isLetThrough } from './decide.ts';
import { governedSubjects } from './governed.ts';
import { type GovernedSubject, opens } from './rules.ts';

/**
 * Cuts the open connections of containers that their policies no longer let through: the kernel forgets them, and judges the
 * next packet as a first one. Repeating is safe.
 *
 * @param hostAddresses addresses that this host has
 */
export function cutForbiddenFlows(db: Database, conntrack: NetlinkSocket, hostAddresses: ReadonlySet<string>): number {
  const governed = governedSubjects(db);
  if (governed.length === 0) return 0;
  const networks = new Map(listNetworks(db).map((network) => [network.id, network]));
  const servers = new Set([...networks.values()].flatMap((network) => nameServersOf(network, true)));
  const bySource = new Map<string, GovernedSubject[]>();
  for (const { containerId, networkId, macAddress, ipv4, ipv6, linkLocal = [] } of listEndpoints(db)) {
    const its = governed.filter(({ subject }) => subject.id === containerId || subject.id === networkId);
    for (const cidr of [ipv4, ipv6, ...linkLocal, ipv6 === '' ? '' : interfaceAddress(macAddress)])
      if (cidr !== '' && its.length > 0) bySource.set(cidr.split('/', 1)[0] as string, its);
  }
  let count = 0;
  for (const flow of listFlows(conntrack)) {
    const policies = bySource.get(flow.source);
    if (policies === undefined || (flow.destinationPort === 53 && servers.has(flow.destination))) continue;
    if (policies.every((policy) => isFlowAllowed(policy, flow, hostAddresses))) continue;
    forgetFlow(conntrack, flow);
    count += 1;
  }
  return count;
}

function isFlowAllowed({ policy, names }: GovernedSubject, flow: TrackedFlow, hosts: ReadonlySet<string>): boolean {
  return isLetThrough(policy, {
    address: flow.destination,
    protocol: flow.protocol,
    port: flow.destinationPort,
    isHost: hosts.has(flow.destination) || isLoopback(flow.destination),
    // Also by a name that has expired: what is open stays open as long as its rule is there.
    isNamed: (rule) => names.some(({ name, address }) => address === flow.destination && opens(rule, name, address)),
  });
}

const isLoopback = (address: string): boolean => (isIPv6(address) ? address === '::1' : address.startsWith('127.'));
