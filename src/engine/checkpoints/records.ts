import type { Database, Transaction } from '../../state/index.ts';
import type { CheckpointEndpoint } from './addresses.ts';

/** What is known of a checkpoint beside its files, none of which a restore believes. */
export interface CheckpointRecord {
  containerId: string;
  /** The folder of its folder, without links. */
  directory: string;
  name: string;
  /** Its folder bears its name; before, it is being made. */
  isWhole: boolean;
  tcpEstablished: boolean;
  endpoints: CheckpointEndpoint[];
}

interface Row {
  container_id: string;
  directory: string;
  name: string;
  is_whole: number;
  doc: string;
}

const recordOf = ({ container_id: containerId, directory, name, is_whole, doc }: Row): CheckpointRecord => ({
  ...(JSON.parse(doc) as Pick<CheckpointRecord, 'tcpEstablished' | 'endpoints'>),
  ...{ containerId, directory, name, isWhole: is_whole === 1 },
});

export const checkpointsOf = (db: Pick<Database, 'all'>, containerId: string): CheckpointRecord[] =>
  db.all<Row>('SELECT * FROM checkpoints WHERE container_id = ?', containerId).map(recordOf);

export function findCheckpoint(
  db: Pick<Database, 'get'>,
  containerId: string,
  directory: string,
  name: string,
): CheckpointRecord | undefined {
  const row = db.get<Row>(
    'SELECT * FROM checkpoints WHERE container_id = ? AND directory = ? AND name = ?',
    ...[containerId, directory, name],
  );
  return row === undefined ? undefined : recordOf(row);
}

export function putCheckpoint(tx: Transaction, record: CheckpointRecord): void {
  const { containerId, directory, name, isWhole, ...rest } = record;
  tx.run(
    'INSERT OR REPLACE INTO checkpoints (container_id, directory, name, is_whole, doc) VALUES (?, ?, ?, ?, ?)',
    ...[containerId, directory, name, isWhole ? 1 : 0, JSON.stringify(rest)],
  );
}

export function forgetCheckpoint(tx: Transaction, { containerId, directory, name }: CheckpointRecord): void {
  tx.run(
    'DELETE FROM checkpoints WHERE container_id = ? AND directory = ? AND name = ?',
    ...[containerId, directory, name],
  );
}

/** Of a container that goes: those in folders of the user's stay there. */
export function forgetCheckpoints(tx: Transaction, containerId: string): void {
  tx.run('DELETE FROM checkpoints WHERE container_id = ?', containerId);
}
