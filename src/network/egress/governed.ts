import type { Database } from '../../state/index.ts';
import type { Endpoint } from '../driver.ts';
import { isGuarded } from '../network-options.ts';
import { listEndpoints, listNetworks } from '../records.ts';
import { type FollowedName, findPolicy, listNames, listPolicies, type StoredPolicy } from './records.ts';
import type { GovernedSubject } from './rules.ts';

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
  const place = (endpoint: Endpoint) => ({ bridge: byId.get(endpoint.networkId)?.bridge ?? '', endpoint });
  return policies.flatMap(({ subject, policy }) => {
    if (subject.kind === 'container') {
      const places = endpoints.filter(({ containerId }) => containerId === subject.id).map(place);
      return places.length === 0 ? [] : [{ subject, policy, places, names: namesOf(db, { subject, policy }) }];
    }
    const network = byId.get(subject.id);
    if (network === undefined) return [];
    // Without the guard a container's MAC address says nothing about who it is.
    const held = isGuarded(network) ? endpoints.filter(({ networkId }) => networkId === network.id).map(place) : [];
    const places = [{ bridge: network.bridge }, ...held];
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
