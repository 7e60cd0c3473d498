import { AT_FDCWD, O_DIRECTORY, OpenFile, openAt, statusOf, toByteString } from '../linux/index.ts';
import type { MountOptions } from './layer-store.ts';
import type { RootStatus, StackedLayer } from './layers/layer-record.ts';

/** The layers below a snapshot. */
export interface LayerStack {
  /** Folders in overlayfs' form, topmost first. */
  paths: string[];
  /** What they are, topmost first. */
  records: StackedLayer[];
}

/** Owner and permissions of the root folder, by the topmost layer that names it. */
export const rootOf = (stack: LayerStack): { uid: number; gid: number; mode: number } =>
  stack.records.find((record) => record.root)?.root ?? { uid: 0, gid: 0, mode: 0o755 };

/** Owner and mode of a written root folder, if they are others than below. */
export function changedRoot(path: string, below: LayerStack): RootStatus | undefined {
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_DIRECTORY));
  const { uid, gid, mode } = statusOf(folder.fd);
  const [now, before] = [{ uid, gid, mode: mode & 0o7777 }, rootOf(below)];
  const isSame = now.uid === before.uid && now.gid === before.gid && now.mode === (before.mode & 0o7777);
  return isSame ? undefined : now;
}

/**
 * How writable snapshots are made of layers. Each has a folder of its own; the store around the driver names, records
 * and removes it.
 */
export interface SnapshotDriver {
  readonly name: 'overlay' | 'vfs';
  /**
   * How a deletion shows in `written`: as a whiteout over the layers, or, where `written` is the whole tree, as a name
   * that is no longer there.
   */
  readonly deletions: 'whiteout' | 'absence';
  /** Fills a snapshot's folder. Repeating after a crash is safe. */
  create(directory: string, stack: LayerStack): Promise<void>;
  /** Shows the root filesystem; a second call shows the same. Synchronous and quick. */
  mount(directory: string, stack: LayerStack, options?: MountOptions): string;
  unmount(directory: string): void;
  /**
   * Opens the root filesystem without giving it a place in the file tree, so that a crash leaves no mount behind.
   * @returns an O_PATH descriptor, the caller's to close
   */
  open(directory: string, stack: LayerStack, options?: MountOptions): number;
  isMounted(directory: string): boolean;
  /** Where `mount` shows it. */
  root(directory: string): string;
  /**
   * What a snapshot changed, as a folder in overlayfs' form that may be taken away; the snapshot is of no use afterwards.
   * @throws {TareError} Conflict: it is mounted
   */
  changed(directory: string, stack: LayerStack): Promise<string>;
  /** Shows layers read-only at another place. @param directory an empty folder for what that takes */
  show(directory: string, stack: LayerStack, target: string): Promise<void>;
  /** Where writes go. */
  written(directory: string): string;
}
