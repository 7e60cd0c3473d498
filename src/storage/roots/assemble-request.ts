import type { DriverOptions } from '../drivers.ts';
import type { RootBind } from '../layer-store.ts';
import type { LayerStack, SnapshotDriver } from '../snapshot-driver.ts';

/** A snapshot to be opened with its binds; it may be sent to a worker. */
export interface AssembleRequest extends DriverOptions {
  driver: SnapshotDriver['name'];
  /** The snapshot's folder. */
  directory: string;
  stack: LayerStack;
  binds: RootBind[];
}
