import { statfsSync } from 'node:fs';
import type { LayerName } from '../../storage/index.ts';
import type { CachePrune, CacheUsage } from '../build-types.ts';
import { removeEntry } from './entries.ts';
import { trimKeys } from './lost.ts';
import { type CacheRecord, cacheRecords, type UsageParts, usageOf } from './usage.ts';
import { usageFilter } from './usage-filter.ts';

/** Types that go only when all is asked for: they are nobody's own. */
const INTERNAL = ['internal', 'frontend'];

/**
 * Forgets records, those unused for longest first, and only what nothing else of the cache stands on; so a whole branch goes from its tip
 * down. Their layers are for the next collection. A build that runs keeps what it uses.
 *
 * @param given all records, as they are now
 */
export async function* pruneCache(
  parts: UsageParts,
  request: CachePrune,
  given?: readonly CacheRecord[],
): AsyncGenerator<CacheUsage> {
  const isWanted = usageFilter(request.filters, parts.now());
  const all = given ?? (await cacheRecords(parts));
  let left = totalOf(all);
  const keepBytes = bytesToKeep(parts, request, left);
  const isEnough = () => keepBytes > 0 && left <= keepBytes;
  if (isEnough()) return;
  const unusedSince = parts.now() - (request.keepDurationMs ?? 0);
  const candidates = all
    .filter((record) => !record.isInUse && isWanted(record))
    .filter((record) => request.all || !(record.isShared || INTERNAL.includes(record.recordType)))
    .filter((record) => request.keepDurationMs === undefined || usedMs(record) <= unusedSince);
  if (candidates.length === 0) return;
  const heights = new Heights(parts, all);
  const ready = new ByRest(candidates.filter((record) => heights.isTop(record)));
  const waiting = new Set(candidates.filter((record) => !heights.isTop(record)));
  try {
    for (let record = ready.take(); record !== undefined && !isEnough(); record = ready.take()) {
      if (record.entryID === undefined) await forgetLayers(parts, record.layers);
      else if (!(await removeEntry(parts, record.entryID))) continue;
      if (!record.isShared) left -= record.sizeBytes;
      for (const below of heights.drop(record)) if (waiting.delete(below)) ready.put(below);
      yield usageOf(record);
    }
  } finally {
    await trimKeys(parts);
  }
}

const usedMs = ({ lastUsedMs, createdMs }: CacheRecord): number => lastUsedMs ?? createdMs;

/** What images need too would not be free without the cache. */
const totalOf = (records: readonly CacheRecord[]): number =>
  records.reduce((sum, { isShared, sizeBytes }) => sum + (isShared ? 0 : sizeBytes), 0);

/** @returns 0: nothing is kept for its size */
function bytesToKeep({ directory }: UsageParts, request: CachePrune, total: number): number {
  const { reservedSpaceBytes: reserved = 0, maxUsedSpaceBytes: max = 0, minFreeSpaceBytes: minFree = 0 } = request;
  if (reserved === 0 && max === 0 && minFree === 0) return 0;
  let keep = max > 0 ? max : reserved;
  if (minFree > 0) {
    const { bavail, bsize } = statfsSync(directory);
    const lacking = minFree - bavail * bsize;
    // Enough is free: only what is too much for another reason goes.
    if (max === 0 && lacking <= 0) keep = Math.max(total, reserved);
    else if (lacking > 0) keep = Math.min(max > 0 ? max : total, total - lacking);
  }
  return Math.max(keep, reserved, 1);
}

/** Records that rested longest come first. */
class ByRest {
  /** The next one is the last. */
  readonly #records: CacheRecord[];

  constructor(records: readonly CacheRecord[]) {
    this.#records = [...records].sort((a, b) => -compareRest(a, b));
  }

  take(): CacheRecord | undefined {
    return this.#records.pop();
  }

  put(record: CacheRecord): void {
    let [from, to] = [0, this.#records.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (compareRest(this.#records[middle]!, record) > 0) from = middle + 1;
      else to = middle;
    }
    this.#records.splice(from, 0, record);
  }
}

const compareRest = (a: CacheRecord, b: CacheRecord): number =>
  usedMs(a) - usedMs(b) || a.usageCount - b.usageCount || (a.id < b.id ? -1 : 1);

/** On which records others stand, in the results that there are. */
class Heights {
  /** How many results each is in, below another layer. */
  readonly #above = new Map<CacheRecord, number>();
  readonly #results = new Map<CacheRecord, Set<readonly CacheRecord[]>>();

  constructor({ db }: UsageParts, records: readonly CacheRecord[]) {
    const recordOf = new Map(records.flatMap((record) => record.layers.map((layer) => [layer, record] as const)));
    for (const { layers } of db.all<{ layers: string }>('SELECT DISTINCT layers FROM build_results')) {
      const result = (JSON.parse(layers) as LayerName[]).flatMap((layer) => recordOf.get(layer) ?? []);
      for (const [position, record] of result.entries()) {
        if (position < result.length - 1) this.#above.set(record, (this.#above.get(record) ?? 0) + 1);
        const known = this.#results.get(record);
        if (known === undefined) this.#results.set(record, new Set([result]));
        else known.add(result);
      }
    }
  }

  isTop(record: CacheRecord): boolean {
    return (this.#above.get(record) ?? 0) === 0;
  }

  /** Counts the results with this record no longer. @returns those on which nothing stands any more */
  drop(record: CacheRecord): Set<CacheRecord> {
    const tops = new Set<CacheRecord>();
    for (const result of this.#results.get(record) ?? []) {
      for (const [position, below] of result.entries()) {
        this.#results.get(below)?.delete(result);
        if (position === result.length - 1) continue;
        const count = this.#above.get(below)! - 1;
        this.#above.set(below, count);
        if (count === 0) tops.add(below);
      }
    }
    return tops;
  }
}

async function forgetLayers({ db }: UsageParts, layers: readonly LayerName[]): Promise<void> {
  await db.write((tx) => {
    for (const layer of layers) {
      tx.run(
        'DELETE FROM build_results WHERE id IN (SELECT result_id FROM build_result_layers WHERE layer = ?)',
        layer,
      );
      tx.run('DELETE FROM build_records WHERE layer = ?', layer);
    }
  });
}
