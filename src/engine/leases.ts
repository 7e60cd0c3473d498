import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isProcessAlive, readProcessStat } from '../linux/index.ts';
import type { Database, Transaction } from '../state/index.ts';

interface LeaseRow {
  id: string;
  pid: number;
  start_ticks: number;
  boot_id: string;
}

let bootId: string | undefined;
/** Names this run of the kernel. */
export const currentBootId = (): string => {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return bootId;
};

/** Records that this process holds a resource, until the lease is given back or the process ends. @returns its id */
export function insertLease(tx: Transaction, resource: string): string {
  const id = randomUUID();
  tx.run(
    'INSERT INTO leases (id, pid, start_ticks, boot_id, resource) VALUES (?, ?, ?, ?, ?)',
    ...[id, process.pid, readProcessStat(process.pid)!.startTicks, currentBootId(), resource],
  );
  return id;
}

export function deleteLease(tx: Transaction, id: string): void {
  tx.run('DELETE FROM leases WHERE id = ?', id);
}

/** The leases on a resource, those of processes that have ended apart. */
export function leasesOn(db: Pick<Database, 'all'>, resource: string): { living: string[]; dead: string[] } {
  const rows = db.all<LeaseRow>('SELECT id, pid, start_ticks, boot_id FROM leases WHERE resource = ?', resource);
  const isDead = (row: LeaseRow) => row.boot_id !== currentBootId() || !isProcessAlive(row.pid, row.start_ticks);
  const dead = rows.filter(isDead).map(({ id }) => id);
  return { living: rows.map(({ id }) => id).filter((id) => !dead.includes(id)), dead };
}

/** Resources whose name begins so that anybody holds or held. */
export const leasedResources = (db: Pick<Database, 'all'>, prefix: string): string[] =>
  db
    .all<{ resource: string }>(
      'SELECT DISTINCT resource FROM leases WHERE substr(resource, 1, ?) = ?',
      prefix.length,
      prefix,
    )
    .map(({ resource }) => resource);
