import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  AT_FDCWD,
  MNT_DETACH,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  toByteString,
  unmount,
  unmountIfMounted,
} from '../linux/index.ts';
import type { LayerName } from './digest.ts';
import type { OpenTree, TreeOptions } from './layer-store.ts';
import type { LayerSet } from './layers/layer-set.ts';
import type { SnapshotDriver } from './snapshot-driver.ts';
import { SHOWN, type SnapshotFolders } from './snapshot-folders.ts';

/** Trees that are looked at without a snapshot of their own. */
export class ShownTrees {
  readonly #layers: LayerSet;
  readonly #snapshots: SnapshotFolders;
  readonly #driver: SnapshotDriver;

  constructor(layers: LayerSet, snapshots: SnapshotFolders, driver: SnapshotDriver) {
    this.#layers = layers;
    this.#snapshots = snapshots;
    this.#driver = driver;
  }

  /** Opens layers merged, at no place of the file tree. */
  async open(names: readonly LayerName[], { isPlain = false }: TreeOptions = {}): Promise<OpenTree> {
    const stack = this.#layers.stack(names, { isBare: true });
    const [files] = stack.paths;
    if (isPlain && files !== undefined && stack.paths.length === 1)
      return new OpenFile(openAt(AT_FDCWD, toByteString(files), O_PATH | O_DIRECTORY));
    const directory = this.#snapshots.hidden(this.#layers.life.id);
    const place = join(directory, SHOWN);
    try {
      mkdirSync(place, { mode: 0o700 });
      await this.#driver.show(directory, stack, place);
      const opened = new OpenFile(openAt(AT_FDCWD, toByteString(place), O_PATH | O_DIRECTORY));
      // The descriptor keeps the mount when it has no place any more.
      unmount(place, MNT_DETACH);
      return {
        fd: opened.fd,
        [Symbol.asyncDispose]: async () => {
          await opened[Symbol.asyncDispose]();
          await this.#snapshots.discard(directory);
        },
      };
    } catch (error) {
      unmountIfMounted(place);
      await this.#snapshots.discard(directory);
      throw error;
    }
  }

  /** Shows layers merged at an empty folder. */
  async mount(names: readonly LayerName[], target: string): Promise<AsyncDisposable> {
    const stack = this.#layers.stack(names, { isBare: true });
    const directory = this.#snapshots.hidden(this.#layers.life.id);
    try {
      await this.#driver.show(directory, stack, target);
    } catch (error) {
      await this.#snapshots.discard(directory);
      throw error;
    }
    return {
      [Symbol.asyncDispose]: async () => {
        unmountIfMounted(target);
        await this.#snapshots.discard(directory);
      },
    };
  }
}
