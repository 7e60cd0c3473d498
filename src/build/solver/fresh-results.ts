import type { Tree } from '../tree.ts';

/** What steps gave that were made without a look at the cache: it is taken by builds that run beside the one that made it. */
export class FreshResults {
  readonly #kept = new Map<string, { trees: readonly Tree[]; holders: Set<object> }>();

  /** @param holder from now on it is kept for that one, too */
  find(id: string, holder: object): readonly Tree[] | undefined {
    const kept = this.#kept.get(id);
    kept?.holders.add(holder);
    return kept?.trees;
  }

  keep(id: string, trees: readonly Tree[], holder: object): void {
    const holders = this.#kept.get(id)?.holders ?? new Set();
    this.#kept.set(id, { trees, holders: holders.add(holder) });
  }

  release(holder: object): void {
    for (const [id, { holders }] of this.#kept) if (holders.delete(holder) && holders.size === 0) this.#kept.delete(id);
  }
}
