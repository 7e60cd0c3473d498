import type { Database, Locks } from '../state/index.ts';
import { deleteLease, insertLease, leasesOn } from './leases.ts';

const RESOURCE = 'content';
const LOCK = 'content';

/** What of the state a lease needs. */
export interface LeaseParts {
  db: Database;
  locks: Locks;
}

/**
 * Holds all blobs and layers against garbage collection until it is disposed or its process ends: while an image is being
 * stored, nobody can tell yet which of them it will use. Waits while a collection runs.
 */
export async function holdContent({ db, locks }: LeaseParts): Promise<AsyncDisposable> {
  let id: string;
  {
    using _ = await locks.acquire(LOCK);
    id = await db.write((tx) => insertLease(tx, RESOURCE));
  }
  return {
    [Symbol.asyncDispose]: async () => {
      await db.write((tx) => deleteLease(tx, id));
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
  const { living, dead } = leasesOn(db, RESOURCE);
  if (dead.length > 0) {
    await db.write((tx) => {
      for (const id of dead) deleteLease(tx, id);
    });
  }
  if (living.length > 0) return false;
  await collect();
  return true;
}
