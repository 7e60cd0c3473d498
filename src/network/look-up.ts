import { TareError } from '../errors/index.ts';
import type { NetworkDeps } from './network-deps.ts';
import { findNetwork, listEndpoints, listNetworks, type StoredNetwork } from './records.ts';

/**
 * A network by name, id or unique id prefix: a recorded one first, else a conflist's.
 * @throws {TareError} NotFound; Conflict: an id prefix that fits several
 */
export function lookUpNetwork(deps: Pick<NetworkDeps, 'db' | 'cni'>, ref: string): StoredNetwork {
  try {
    return findNetwork(deps.db, ref);
  } catch (error) {
    if (!(error instanceof TareError && error.kind === 'NotFound')) throw error;
    const found = deps.cni.find(ref);
    if (found !== undefined) return found;
    const [problem] = deps.cni.problems();
    if (problem === undefined) throw error;
    throw new TareError('NotFound', `${error.message} (and a conflist is not usable: ${problem})`, { cause: error });
  }
}

/** Recorded networks, and those of conflists whose names they leave free, by name. */
export function everyNetwork(deps: Pick<NetworkDeps, 'db' | 'cni'>): StoredNetwork[] {
  const described = deps.cni.list();
  const recorded = listNetworks(deps.db).filter(
    ({ driver, id }) =>
      driver !== 'cni' ||
      // One whose file is gone is there until its last container has left.
      (!described.some((one) => one.id === id) && listEndpoints(deps.db, { networkId: id }).length > 0),
  );
  const names = new Set(recorded.map(({ name }) => name));
  const all = [...recorded, ...described.filter(({ name }) => !names.has(name))];
  return all.sort((a, b) => (a.name < b.name ? -1 : 1));
}
