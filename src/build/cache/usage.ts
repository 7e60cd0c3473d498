import type { DiffID, LayerName } from '../../storage/index.ts';
import type { CacheUsage } from '../build-types.ts';
import { type EntryParts, isEntryInUse } from './entries.ts';
import { type UsageFilter, usageFilter } from './usage-filter.ts';

/** What listing needs. */
export interface UsageParts extends EntryParts {
  layers: { diffIDOf(name: LayerName): DiffID | undefined };
  /** Layers that images have: those of their images are theirs, too. */
  imageLayers(): ReadonlySet<string>;
  /** Layers that builds of this process use now. */
  layersInUse(): ReadonlySet<LayerName>;
}

/** A record with what pruning needs of it. */
export interface CacheRecord extends CacheUsage {
  /** Undefined: an entry beside the layers. */
  layer: LayerName | undefined;
}

interface RecordRow {
  id: string;
  layer: string | null;
  type: string;
  description: string;
  parents: string;
  size_bytes: number;
  created_ms: number;
  last_used_ms: number | null;
  usage_count: number;
}

/** All records, the oldest first. */
export function cacheRecords(parts: UsageParts): CacheRecord[] {
  const [ofImages, inUse] = [parts.imageLayers(), parts.layersInUse()];
  return parts.db.all<RecordRow>('SELECT * FROM build_records ORDER BY created_ms, id').map((row) => {
    const layer = row.layer === null ? undefined : (row.layer as LayerName);
    const diffID = layer && parts.layers.diffIDOf(layer);
    return {
      ...{ id: row.id, layer, recordType: row.type, description: row.description },
      parents: JSON.parse(row.parents) as string[],
      sizeBytes: row.size_bytes,
      createdMs: row.created_ms,
      lastUsedMs: row.last_used_ms ?? undefined,
      usageCount: row.usage_count,
      // Folders are changed in place; a layer never.
      isMutable: layer === undefined,
      isInUse: layer === undefined ? isEntryInUse(parts, row.id) : inUse.has(layer),
      isShared: layer !== undefined && (ofImages.has(layer) || (diffID !== undefined && ofImages.has(diffID))),
    };
  });
}

/** See `Builder.usage`. */
export function cacheUsage(parts: UsageParts, filters: readonly string[]): CacheUsage[] {
  const isWanted: UsageFilter = usageFilter(filters, parts.now());
  return cacheRecords(parts).filter(isWanted).map(usageOf);
}

export const usageOf = ({ layer: _, ...usage }: CacheRecord): CacheUsage => usage;
