import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LayerStore, openLayerStore } from '../../storage/index.ts';
import type { OperationContext } from '../operation.ts';
import { emptyTree, type Tree } from '../tree.ts';

/** Of an operation that nobody watches and that may do nothing special. */
export const quietContext: OperationContext = {
  signal: new AbortController().signal,
  progress: { log() {}, status() {}, warn() {} },
  sessions: () => [],
  allows: () => false,
};

/** A store of layers in a folder of its own, and trees to give to operations. */
export interface TreeStore extends AsyncDisposable {
  directory: string;
  store: LayerStore;
  /** A tree of a function's making. */
  tree(work: (root: string) => void, base?: Tree): Promise<Tree>;
}

export async function openTreeStore(): Promise<TreeStore> {
  const directory = mkdtempSync(join(tmpdir(), 'tare-operations-'));
  const store = await openLayerStore({
    directory: join(directory, 'layers'),
    snapshotDirectory: join(directory, 'snapshots'),
  });
  let count = 0;
  return {
    directory,
    store,
    async tree(work, base = emptyTree) {
      count += 1;
      const key = `made-${count}`;
      await store.prepare(key, base.layers, { isTransient: true, isBare: true });
      work(store.mount(key, { volatile: true }));
      store.unmount(key);
      return { layers: [...base.layers, await store.freeze(key)] };
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      execFileSync('rm', ['-rf', directory]);
    },
  };
}
