import type { Database, Locks } from '../state/index.ts';
import type { AddressPool } from './address-pools.ts';
import type { BridgeLinks } from './bridge-links.ts';
import type { NetworkRecord } from './driver.ts';
import type { CniCatalogue } from './drivers/cni/catalogue.ts';
import type { NetworkDriver } from './drivers/network-driver.ts';
import type { EgressService } from './egress/index.ts';
import type { Firewall } from './firewall.ts';
import type { Namespaces } from './namespaces.ts';
import type { Passage } from './passages.ts';

/** What the use cases of this folder work with. */
export interface NetworkDeps {
  db: Database;
  locks: Locks;
  instance: string;
  /** Gone with a reboot. */
  execRoot: string;
  /** Where ports are published when neither the request nor the network names an address; '' for all addresses. */
  defaultBinding: string;
  /** Options of new networks that do not say otherwise, by driver. */
  defaultOptions: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** How messages call a container. */
  containerName(id: string): string;
  /** What passes between containers of a network that keeps them apart. */
  passages(): readonly Passage[];
  pools: readonly AddressPool[];
  links: BridgeLinks;
  firewall: Firewall;
  egress: EgressService;
  namespaces: Namespaces;
  cni: CniCatalogue;
  /** By the driver's name. */
  drivers: Record<NetworkRecord['driver'], NetworkDriver>;
}
