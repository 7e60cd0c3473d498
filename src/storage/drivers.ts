import { opaqueAttribute } from './layers/whiteouts.ts';
import { OverlayDriver } from './overlay/overlay-driver.ts';
import type { SnapshotDriver } from './snapshot-driver.ts';
import { VfsDriver } from './vfs/vfs-driver.ts';

export interface DriverOptions {
  /** An empty folder. */
  emptyLayer: string;
  userXattrs: boolean;
}

/** The driver of a name. */
export function snapshotDriver(name: SnapshotDriver['name'], options: DriverOptions): SnapshotDriver {
  return name === 'vfs'
    ? new VfsDriver(opaqueAttribute(options.userXattrs))
    : new OverlayDriver(options.emptyLayer, options.userXattrs);
}
