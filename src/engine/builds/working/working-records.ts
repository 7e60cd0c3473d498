import { TareError } from '../../../errors/index.ts';
import type { ImageHistoryEntry, ImageProcessConfig } from '../../../image/index.ts';
import { type Database, isConstraintError, type Transaction } from '../../../state/index.ts';
import type { DiffID, LayerName, LocalLayer } from '../../../storage/index.ts';
import { currentBootId } from '../../leases.ts';

/** What is recorded of a working container. */
export interface WorkingRecord {
  /** 64 hex digits. */
  id: string;
  name: string;
  createdMs: number;
  /** Undefined: it began with nothing. */
  base?: { imageID: string; ref: string; manifestDigest: string; layers: readonly DiffID[] };
  platform: { os: string; architecture: string; variant?: string; 'os.version'?: string; 'os.features'?: string[] };
  config: ImageProcessConfig;
  author: string;
  comment: string;
  createdBy: string;
  historyComment: string;
  annotations: Record<string, string>;
  /** Of the image to come, but for the entry of its next layer. */
  history: ImageHistoryEntry[];
  /** Layers that commits made, above the base's. */
  layers: LayerName[];
  /** What its snapshot is just becoming, and the entry of that; see `settleFreeze`. */
  freezing?: { layer: LocalLayer; entry: ImageHistoryEntry };
  /** How often it was mounted, less how often it was unmounted, in one run of the kernel. */
  mounts: { count: number; bootID: string };
}

type Reader = Pick<Database, 'all' | 'get'>;
interface Row {
  doc: string;
}

const parse = (row: Row): WorkingRecord => JSON.parse(row.doc) as WorkingRecord;

/** The key of a working container's snapshot, and after `container:` the name of its lock. No container's id looks like it. */
export const keyOf = (id: string): string => `${PREFIX}${id}`;
const PREFIX = 'working-';

/** Base first, those of its commits above. */
export const layersOf = ({ base, layers }: WorkingRecord): LayerName[] => [...(base?.layers ?? []), ...layers];

export const isMounted = ({ mounts }: WorkingRecord): boolean => mounts.count > 0 && mounts.bootID === currentBootId();

/** Newest first. */
export const allWorking = (db: Reader): WorkingRecord[] =>
  db
    .all<Row>('SELECT doc FROM working_containers')
    .map(parse)
    .sort((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1));

export function findWorking(db: Reader, id: string): WorkingRecord | undefined {
  const row = db.get<Row>('SELECT doc FROM working_containers WHERE id = ?', id);
  return row && parse(row);
}

/** @param ref id, name, or unique beginning of an id @throws {TareError} NotFound; InvalidArgument: it fits several */
export function getWorking(db: Reader, ref: string): WorkingRecord {
  const exact = db.get<Row>('SELECT doc FROM working_containers WHERE id = ? OR name = ?', ref, ref);
  if (exact !== undefined) return parse(exact);
  if (/^[0-9a-f]{1,63}$/.test(ref)) {
    const rows = db.all<Row>('SELECT doc FROM working_containers WHERE id >= ? AND id < ? LIMIT 2', ref, `${ref}g`);
    if (rows.length > 1) throw new TareError('InvalidArgument', `several working containers' ids begin with ${ref}`);
    if (rows.length === 1) return parse(rows[0]!);
  }
  throw new TareError('NotFound', `no working container ${JSON.stringify(ref)}: tare from makes one`);
}

/**
 * @param alongside is called in the same transaction, first
 * @throws {TareError} AlreadyExists: the name is another's; NotFound: the base was removed meanwhile
 */
export async function insertWorking(
  db: Database,
  record: WorkingRecord,
  alongside: (tx: Transaction) => void,
): Promise<void> {
  const { id, name, base } = record;
  try {
    await db.write((tx) => {
      alongside(tx);
      if (tx.get('SELECT 1 AS there FROM containers WHERE name = ?', name) !== undefined)
        throw new TareError('AlreadyExists', `the name ${JSON.stringify(name)} is a container's: choose another`);
      if (base !== undefined && tx.get('SELECT 1 AS there FROM images WHERE id = ?', base.imageID) === undefined)
        throw new TareError('NotFound', `No such image: ${base.ref}`);
      tx.run(
        'INSERT INTO working_containers (id, name, image_id, doc) VALUES (?, ?, ?, ?)',
        ...[id, name, base?.imageID ?? null, JSON.stringify(record)],
      );
    });
  } catch (error) {
    if (!isConstraintError(error)) throw error;
    throw new TareError('AlreadyExists', `the name ${JSON.stringify(name)} is another working container's`, {
      cause: error,
    });
  }
}

/** Changes a record in one transaction. What goes with its snapshot is changed under the container's lock. @returns the new one */
export async function updateWorking(
  db: Database,
  id: string,
  change: (record: WorkingRecord) => void,
): Promise<WorkingRecord> {
  return await db.write((tx) => {
    const record = findWorking(tx, id);
    if (record === undefined) throw new TareError('NotFound', `working container ${id} was removed`);
    change(record);
    tx.run('UPDATE working_containers SET doc = ? WHERE id = ?', JSON.stringify(record), id);
    return record;
  });
}

export function deleteWorking(tx: Transaction, id: string): void {
  tx.run('DELETE FROM working_containers WHERE id = ?', id);
}

/** Working containers made of an image, as the image's users. Reads the records and nothing else. */
export const workingUsersOf = (db: Reader, imageID: string): { id: string; name: string; isRunning: boolean }[] =>
  db
    .all<{ id: string; name: string }>('SELECT id, name FROM working_containers WHERE image_id = ?', imageID)
    .map((row) => ({ ...row, isRunning: false }));

/** Whether a snapshot is a working container's. */
export const isWorkingKey = (db: Reader, key: string): boolean =>
  key.startsWith(PREFIX) && findWorking(db, key.slice(PREFIX.length)) !== undefined;

/** Layers that working containers have above those of images. */
export const layersOfWorking = (db: Reader): LayerName[] =>
  allWorking(db).flatMap(({ layers, freezing }) => (freezing === undefined ? layers : [...layers, freezing.layer]));
