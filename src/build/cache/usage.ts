import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { directorySize, type LayerName, type LayerStore } from '../../storage/index.ts';
import type { CacheUsage } from '../build-types.ts';
import { type EntryParts, isEntryInUse, UNKNOWN_SIZE } from './entries.ts';
import { type UsageFilter, usageFilter } from './usage-filter.ts';

/** What listing needs. */
export interface UsageParts extends EntryParts {
  layers: Pick<LayerStore, 'diffIDOf' | 'folder'>;
  /** Layers that images have: those of their images are theirs, too. */
  imageLayers(): ReadonlySet<string>;
  /** Layers that builds of this process use now. */
  layersInUse(): ReadonlySet<LayerName>;
}

/** A record with what pruning needs of it. */
export interface CacheRecord extends CacheUsage {
  /** Each name of its files; none: an entry beside the layers. */
  layers: readonly LayerName[];
  /** Of an entry: by what its user knows it. */
  entryID: string | undefined;
}

interface RecordRow {
  id: string;
  layer: LayerName | null;
  folder: string | null;
  type: string;
  description: string;
  parents: string;
  size_bytes: number;
  created_ms: number;
  last_used_ms: number | null;
  usage_count: number;
}

interface BlobRow {
  layer: LayerName;
  digest: string;
  size_bytes: number;
}

/** All records, the oldest first. Files that are recorded by two names count once. */
export async function cacheRecords(parts: UsageParts): Promise<CacheRecord[]> {
  const rows = parts.db.all<RecordRow>('SELECT * FROM build_records ORDER BY created_ms, id');
  const [ofImages, inUse] = [parts.imageLayers(), parts.layersInUse()];
  const blobs = Map.groupBy(
    parts.db.all<BlobRow>('SELECT layer, digest, size_bytes FROM build_blobs'),
    (row) => row.layer,
  );
  const records: CacheRecord[] = [];
  for (const same of rowsByFiles(parts, rows)) {
    const [first] = same as [RecordRow, ...RecordRow[]];
    const layers = same.flatMap(({ layer }) => (layer === null ? [] : [layer]));
    const names = new Set(layers.flatMap((layer) => [layer, parts.layers.diffIDOf(layer) ?? layer]));
    const used = same.flatMap(({ last_used_ms }) => (last_used_ms === null ? [] : [last_used_ms]));
    const isShared = !names.isDisjointFrom(ofImages);
    // An image that has the layer has its blob.
    const ofLayers = isShared ? [] : layers.flatMap((layer) => blobs.get(layer) ?? []);
    const packedBytes = new Map(ofLayers.map(({ digest, size_bytes }) => [digest, size_bytes])).values();
    const filesBytes = first.size_bytes === UNKNOWN_SIZE ? await measure(parts, first) : first.size_bytes;
    records.push({
      ...{ id: shownID(first), layers, recordType: first.type },
      entryID: layers.length === 0 ? first.id : undefined,
      description: same.find(({ description }) => description !== '')?.description ?? '',
      parents: JSON.parse(first.parents) as string[],
      sizeBytes: packedBytes.reduce((sum, bytes) => sum + bytes, filesBytes),
      createdMs: first.created_ms,
      lastUsedMs: used.length === 0 ? undefined : Math.max(...used),
      usageCount: same.reduce((sum, { usage_count }) => sum + usage_count, 0),
      // Folders are changed in place; a layer never.
      isMutable: layers.length === 0,
      isInUse: layers.length === 0 ? isEntryInUse(parts, first.id) : !names.isDisjointFrom(inUse),
      isShared,
    });
  }
  return records;
}

/** Ids of entries are long and alike in the beginning. */
const shownID = ({ id, layer }: RecordRow): string =>
  layer === null ? createHash('sha256').update(id).digest('hex').slice(0, 25) : id;

/** Rows of one layer, which may be recorded by its local name and by its diffID, stand together. */
function rowsByFiles({ layers }: UsageParts, rows: readonly RecordRow[]): RecordRow[][] {
  const byDiffID = Map.groupBy(rows, ({ id, layer }) => (layer === null ? id : (layers.diffIDOf(layer) ?? layer)));
  return [...byDiffID.values()].flatMap((same) =>
    // Two builds may have made equal layers, whose files are there twice.
    same.length === 1 ? [same] : [...Map.groupBy(same, ({ layer }) => placeOf(layers.folder(layer!))).values()],
  );
}

function placeOf(files: string): string {
  try {
    return realpathSync(dirname(files));
  } catch {
    return files; // it is gone
  }
}

async function measure(parts: UsageParts, { id, folder }: RecordRow): Promise<number> {
  let sizeBytes: number;
  try {
    sizeBytes = folder === null ? 0 : await directorySize(join(parts.directory, folder));
  } catch {
    return 0; // it is gone, or was not made yet
  }
  // While somebody uses it, it grows.
  if (!isEntryInUse(parts, id)) {
    const sql = 'UPDATE build_records SET size_bytes = ? WHERE id = ? AND size_bytes = ?';
    await parts.db.write((tx) => void tx.run(sql, sizeBytes, id, UNKNOWN_SIZE));
  }
  return sizeBytes;
}

/** See `BuildCache.usage`. */
export async function cacheUsage(parts: UsageParts, filters: readonly string[]): Promise<CacheUsage[]> {
  const isWanted: UsageFilter = usageFilter(filters, parts.now());
  return (await cacheRecords(parts)).filter(isWanted).map(usageOf);
}

export const usageOf = ({ layers: _layers, entryID: _entry, ...usage }: CacheRecord): CacheUsage => usage;
