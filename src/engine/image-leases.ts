import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isProcessAlive, readProcessStat } from '../linux/index.ts';
import type { Database, Locks } from '../state/index.ts';

const RESOURCE = 'content';
const LOCK = 'content';

/** What of the state a lease needs. */
export interface LeaseParts {
  db: Database;
  locks: Locks;
}

interface LeaseRow {
  id: string;
  pid: number;
  start_ticks: number;
  boot_id: string;
}

let bootId: string | undefined;
const currentBootId = (): string => {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return bootId;
};

/**
 * Holds all blobs and layers against garbage collection until it is disposed or its process ends: while an image is being
 * stored, nobody can tell yet which of them it will use. Waits while a collection runs.
 */
export async function holdContent({ db, locks }: LeaseParts): Promise<AsyncDisposable> {
  const id = randomUUID();
  const startTicks = readProcessStat(process.pid)!.startTicks;
  {
    using _ = await locks.acquire(LOCK);
    await db.write((tx) =>
      tx.run(
        'INSERT INTO leases (id, pid, start_ticks, boot_id, resource) VALUES (?, ?, ?, ?, ?)',
        id,
        process.pid,
        startTicks,
        currentBootId(),
        RESOURCE,
      ),
    );
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await db.write((tx) => tx.run('DELETE FROM leases WHERE id = ?', id));
    },
  };
}

/**
 * Runs a collection while nobody holds the content; new holders wait for its end. Leases of dead processes are dropped.
 *
 * @returns false: somebody holds it; whoever lets go last collects
 */
export async function whileNobodyHolds({ db, locks }: LeaseParts, collect: () => Promise<void>): Promise<boolean> {
  using _ = await locks.acquire(LOCK);
  const rows = db.all<LeaseRow>('SELECT id, pid, start_ticks, boot_id FROM leases WHERE resource = ?', RESOURCE);
  const dead = rows.filter((row) => row.boot_id !== currentBootId() || !isProcessAlive(row.pid, row.start_ticks));
  if (dead.length > 0) {
    await db.write((tx) => {
      for (const { id } of dead) tx.run('DELETE FROM leases WHERE id = ?', id);
    });
  }
  if (rows.length > dead.length) return false;
  await collect();
  return true;
}
