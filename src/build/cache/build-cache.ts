import type { LayerName, LayerStore } from '../../storage/index.ts';
import type { CachePrune, CacheUsage } from '../build-types.ts';
import { sweepScratch } from '../scratch.ts';
import { type EntryParts, sweepRemoved } from './entries.ts';
import { forgetLost } from './lost.ts';
import type { CachePolicy } from './policy.ts';
import { pruneCache } from './prune.ts';
import { sweepFolders } from './sweep-folders.ts';
import { type CacheRecord, cacheRecords, cacheUsage, type UsageParts } from './usage.ts';

/** What listing, pruning and mending the cache need. */
export interface BuildCacheParts extends EntryParts {
  layers: Pick<LayerStore, 'diffIDOf' | 'folder' | 'missing'>;
  locks: { tryAcquire(name: string): Disposable | undefined };
  /** Layers that images have, by diffID. */
  imageLayers(): ReadonlySet<string>;
  /** Removes blobs and layers that neither images nor the cache keep; while somebody holds the content, once he has let go. */
  collect(): Promise<void>;
}

/**
 * The cache of builds, without what building needs: listed, pruned, kept within a policy. Any number of processes may do so
 * at once; what a build uses stays for it, whatever they forget.
 */
export class BuildCache {
  /** Layers that builds of this process use now; whoever builds says it. */
  layersInUse: () => ReadonlySet<LayerName> = () => new Set();
  readonly #parts: BuildCacheParts;

  constructor(parts: BuildCacheParts) {
    this.#parts = parts;
  }

  /** @throws {TareError} InvalidArgument: a filter */
  async usage(filters: readonly string[]): Promise<readonly CacheUsage[]> {
    return await cacheUsage(this.#usageParts(), filters);
  }

  /**
   * Forgets records as it goes, and tells of each; at the end their bytes are free, unless a build or a pull holds the content: then
   * that is done after the next build. @throws {TareError} InvalidArgument: a filter
   */
  prune(request: CachePrune): AsyncIterable<CacheUsage> {
    return this.#prune(request);
  }

  async *#prune(request: CachePrune, records?: readonly CacheRecord[]): AsyncGenerator<CacheUsage> {
    let isAny = false;
    try {
      for await (const usage of pruneCache(this.#usageParts(), request, records)) {
        isAny = true;
        yield usage;
      }
    } finally {
      if (isAny) {
        await sweepRemoved(this.#parts);
        await this.#parts.collect();
      }
    }
  }

  /** What is beyond the policy goes. @returns bytes that are free then */
  async keepTo(policy: CachePolicy): Promise<number> {
    let bytes = 0;
    let records: readonly CacheRecord[] | undefined;
    for (const rule of policy) {
      records ??= await cacheRecords(this.#usageParts());
      for await (const { sizeBytes, isShared } of this.#prune(rule, records)) {
        bytes += isShared ? 0 : sizeBytes;
        records = undefined;
      }
    }
    return bytes;
  }

  /** Mends what processes left that died in the middle: records of what is gone, folders that no record has. */
  async reconcile(): Promise<void> {
    await sweepScratch(this.#parts.execDirectory);
    await sweepRemoved(this.#parts);
    await sweepFolders(this.#parts);
    await forgetLost(this.#parts);
  }

  #usageParts(): UsageParts {
    return { ...this.#parts, layersInUse: () => this.layersInUse() };
  }
}
