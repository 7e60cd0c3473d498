import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FileLock, tryFlock } from '../linux/index.ts';

const FOLDER = 'scratch';
const LOCK = '.lock';
/** How long killed processes may take to end. */
const MAX_WAIT_MS = 5_000;

/**
 * A folder in memory for one piece of work. Programs that work in it have it for their `HOME`: by that they are found when this process
 * died before them.
 */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/** Makes one, with mode 0700. It goes with its disposal, or when somebody sweeps after this process died. */
export function makeScratch(execDirectory: string): Scratch {
  const folder = join(execDirectory, FOLDER);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let path: string;
  let lock: FileLock | undefined;
  // Locked before it is there: a sweep takes what nobody has locked, a lock's file too that was not locked yet.
  do {
    path = join(folder, randomBytes(8).toString('hex'));
    lock = tryFlock(path + LOCK);
  } while (lock === undefined);
  const held = lock;
  mkdirSync(path, { mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => remove(path, held) };
}

async function remove(path: string, lock: FileLock): Promise<void> {
  await rm(path, { recursive: true, force: true });
  rmSync(path + LOCK, { force: true });
  lock[Symbol.dispose]();
}

/** Removes what dead processes left, and ends what works on for them. Safe beside other processes. */
export async function sweepScratch(execDirectory: string): Promise<void> {
  const folder = join(execDirectory, FOLDER);
  const locks = (existsSync(folder) ? readdirSync(folder) : []).filter((name) => name.endsWith(LOCK));
  for (const name of locks) {
    const path = join(folder, name.slice(0, -LOCK.length));
    const lock = tryFlock(path + LOCK);
    if (lock === undefined) continue;
    await endWorkersIn(path);
    await remove(path, lock);
  }
}

async function endWorkersIn(home: string): Promise<void> {
  const until = performance.now() + MAX_WAIT_MS;
  for (let pids = workersIn(home); pids.length > 0 && performance.now() < until; pids = workersIn(home)) {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await sleep(5);
  }
}

const workersIn = (home: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => environmentOf(pid).includes(`HOME=${home}`))
    .map(Number);

/** Of one that has ended: nothing. */
function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
  } catch {
    return [];
  }
}
