import { statfsSync } from 'node:fs';
import type { LayerName } from '../../storage/index.ts';
import type { CachePrune, CacheUsage } from '../build-types.ts';
import { removeEntry } from './entries.ts';
import { type CacheRecord, cacheRecords, type UsageParts, usageOf } from './usage.ts';
import { usageFilter } from './usage-filter.ts';

/** Types that go only when all is asked for: they are nobody's own. */
const INTERNAL = ['internal', 'frontend'];

/**
 * Forgets records, those unused for longest first, and only what nothing else of the cache stands on; so a whole branch goes from its tip
 * down. Their layers are for the next collection. A build that runs keeps what it uses.
 */
export async function* pruneCache(parts: UsageParts, request: CachePrune): AsyncGenerator<CacheUsage> {
  const isWanted = usageFilter(request.filters, parts.now());
  const all = cacheRecords(parts);
  const keepBytes = bytesToKeep(parts, request, totalOf(all));
  if (keepBytes > 0 && totalOf(all) <= keepBytes) return;
  const unusedSince = parts.now() - (request.keepDurationMs ?? 0);
  const candidates = all
    .filter((record) => !record.isInUse && isWanted(record))
    .filter((record) => request.all || !(record.isShared || INTERNAL.includes(record.recordType)))
    .filter((record) => request.keepDurationMs === undefined || usedMs(record) <= unusedSince)
    .sort((a, b) => usedMs(a) - usedMs(b) || a.usageCount - b.usageCount);
  const tops = new Tops(parts);
  let left = totalOf(all);
  for (let hasMore = true; hasMore; ) {
    hasMore = false;
    for (const [position, record] of candidates.entries()) {
      if (keepBytes > 0 && left <= keepBytes) break;
      if (record.layer !== undefined && !tops.isTop(record.layer)) continue;
      candidates.splice(position, 1);
      hasMore = true;
      if (record.layer === undefined) {
        if (!(await removeEntry(parts, record.id))) break;
      } else await forgetLayer(parts, record.layer, tops);
      if (!record.isShared) left -= record.sizeBytes;
      yield usageOf(record);
      break;
    }
  }
  await trimKeys(parts);
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

/** Which layers are the topmost in all results that they are part of. */
class Tops {
  readonly #above = new Map<LayerName, number>();
  readonly #results = new Map<LayerName, Set<readonly LayerName[]>>();

  constructor({ db }: UsageParts) {
    for (const { layers } of db.all<{ layers: string }>('SELECT DISTINCT layers FROM build_results')) {
      const result = JSON.parse(layers) as LayerName[];
      for (const [position, layer] of result.entries()) {
        if (position < result.length - 1) this.#above.set(layer, (this.#above.get(layer) ?? 0) + 1);
        const known = this.#results.get(layer);
        if (known === undefined) this.#results.set(layer, new Set([result]));
        else known.add(result);
      }
    }
  }

  isTop(layer: LayerName): boolean {
    return (this.#above.get(layer) ?? 0) === 0;
  }

  /** Counts the results with this layer no longer. */
  drop(layer: LayerName): void {
    for (const result of this.#results.get(layer) ?? []) {
      for (const [position, below] of result.entries()) {
        this.#results.get(below)?.delete(result);
        if (position < result.length - 1) this.#above.set(below, this.#above.get(below)! - 1);
      }
    }
  }
}

async function forgetLayer({ db }: UsageParts, layer: LayerName, tops: Tops): Promise<void> {
  await db.write((tx) => {
    tx.run(
      'DELETE FROM build_results WHERE id IN (SELECT result_id FROM build_result_layers WHERE layer = ?)',
      layer as string,
    );
    tx.run('DELETE FROM build_records WHERE layer = ?', layer as string);
  });
  tops.drop(layer);
}

/** Keys that lead to no result any more. */
async function trimKeys({ db }: UsageParts): Promise<void> {
  const dead = `SELECT child_id FROM build_links AS link
    WHERE NOT EXISTS (SELECT 1 FROM build_results WHERE key_id = link.child_id)
    AND NOT EXISTS (SELECT 1 FROM build_links AS next WHERE next.parent_id = link.child_id)`;
  while ((await db.write((tx) => tx.run(`DELETE FROM build_links WHERE child_id IN (${dead})`))) > 0);
}
