import type { StoredNetwork } from '../records.ts';
import type { NetworkDriver } from './network-driver.ts';

/** The host's own namespace, and one with nothing but `lo`: being on them is a record. */
export const linklessDriver: NetworkDriver = {
  plan: (network) => network,
  create: async () => {},
  remove: async () => {},
  dismantle: async () => {},
  ready: async (network: StoredNetwork) => network,
  shape: () => ({ hasLink: false, hasAddresses: false, hasGateway: false, hostInterface: '', publishes: false }),
  connect: async (_network, endpoint) => endpoint,
  disconnect: (_network, _endpoint, _netns, forget) => forget(),
  leave: async () => {},
  reconcile: async () => {},
};
