import type { NetworkRecord } from '../driver.ts';
import type { NetworkDeps } from '../network-deps.ts';
import { BridgeDriver } from './bridge.ts';
import { CniDriver } from './cni/cni.ts';
import { linklessDriver } from './linkless.ts';
import type { NetworkDriver } from './network-driver.ts';
import { ParentedDriver } from './parented.ts';

/** Every kind of network by its driver's name. */
export function openDrivers(deps: NetworkDeps): Record<NetworkRecord['driver'], NetworkDriver> {
  const parented = new ParentedDriver(deps);
  return {
    bridge: new BridgeDriver(deps),
    macvlan: parented,
    ipvlan: parented,
    cni: new CniDriver(deps),
    host: linklessDriver,
    none: linklessDriver,
  };
}
