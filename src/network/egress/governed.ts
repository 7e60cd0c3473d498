import type { Database } from '../../state/index.ts';
import type { Endpoint, NetworkRecord } from '../driver.ts';
import { isGuarded } from '../network-options.ts';
import { listEndpoints, listNetworks } from '../records.ts';
import { type FollowedName, findPolicy, listNames, listPolicies, type StoredPolicy } from './records.ts';
import type { GovernedPlace, GovernedSubject } from './rules.ts';

/**
 * Every policy that holds for somebody now: those of bridge networks, and of containers that are on one.
 * @param only of these subjects; of all by default
 */
export function governedSubjects(db: Database, only?: readonly string[]): GovernedSubject[] {
  const policies = only === undefined ? listPolicies(db) : only.flatMap((id) => findPolicy(db, id) ?? []);
  if (policies.length === 0) return [];
  const networks = listNetworks(db).filter(({ driver }) => driver === 'bridge');
  const byId = new Map(networks.map((network) => [network.id, network]));
  const endpoints = listEndpoints(db).filter(({ networkId }) => byId.has(networkId));
  const byNetwork = Map.groupBy(endpoints, ({ networkId }) => networkId);
  const place = ({ id, bridge, ipam }: NetworkRecord, endpoint?: Endpoint): GovernedPlace => ({
    bridge,
    subnets: ipam.map(({ subnet }) => subnet),
    members: byNetwork.get(id)?.map(({ macAddress }) => macAddress) ?? [],
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  const placesOf = (its: readonly Endpoint[]) =>
    its.flatMap((endpoint) => {
      const network = byId.get(endpoint.networkId);
      return network === undefined ? [] : [place(network, endpoint)];
    });
  return policies.flatMap(({ subject, policy }) => {
    if (subject.kind === 'container') {
      const places = placesOf(endpoints.filter(({ containerId }) => containerId === subject.id));
      return places.length === 0 ? [] : [{ subject, policy, places, names: namesOf(db, { subject, policy }) }];
    }
    const network = byId.get(subject.id);
    if (network === undefined) return [];
    // Without the guard a container's MAC address says nothing about who it is.
    const held = isGuarded(network) ? placesOf(byNetwork.get(network.id) ?? []) : [];
    const places = [place(network), ...held];
    return [{ subject, policy, places, names: namesOf(db, { subject, policy }) }];
  });
}

export const namesOf = (db: Database, { subject, policy }: StoredPolicy): FollowedName[] =>
  policy.rules.some(({ to }) => to.kind === 'name') ? listNames(db, subject.id) : [];

/** Networks whose containers must ask our name server even where there are no names of containers. */
export function followedNetworks(db: Database): Set<string> {
  const policies = listPolicies(db);
  if (policies.length === 0) return new Set();
  const subjects = new Set(policies.map(({ subject }) => subject.id));
  return new Set([
    ...policies.filter(({ subject }) => subject.kind === 'network').map(({ subject }) => subject.id),
    ...listEndpoints(db)
      .filter(({ containerId }) => subjects.has(containerId))
      .map(({ networkId }) => networkId),
  ]);
}
