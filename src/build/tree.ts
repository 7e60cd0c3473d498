import type { LayerName } from '../storage/index.ts';

/**
 * An immutable file tree: layers merged, base first; none is an empty tree. Equal lists are equal trees. Who holds one by a
 * cache record or a lease may mount it at any time.
 */
export interface Tree {
  readonly layers: readonly LayerName[];
  /** A client's folder: what its root is like is the machine's choice, and counts in no content. */
  readonly isRootless?: boolean;
}

export const emptyTree: Tree = { layers: [] };
