import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kindOf } from '../errors/index.ts';
import { isProcessAlive, readProcessStat, tryFlock } from '../linux/index.ts';
import { type ProcessIdentity, removeConmonFolder } from '../runtime/index.ts';
import { containerEvent } from './events.ts';
import type { ExecDeps } from './exec-deps.ts';
import type { ExecStore, StoredExec } from './exec-store.ts';
import type { ContainerRecord } from './types.ts';

/** Reported when nobody could say it. */
const UNKNOWN_EXIT_CODE = 255;
/** How long an exec may take to end once its container has: its processes are dead, its monitor has to write. */
const CONTAINER_ENDED_GRACE_MS = 2_000;

/** Learns how execs end, records it, and clears their folders away. */
export class ExecEnds {
  readonly #deps: ExecDeps;
  readonly #store: ExecStore;
  /** Execs that this process waits for. */
  readonly #watched = new Map<string, Promise<void>>();

  constructor(deps: ExecDeps, store: ExecStore) {
    this.#deps = deps;
    this.#store = store;
  }

  directory(id: string): string {
    return join(this.#deps.execRoot, 'execs', id);
  }

  /**
   * Makes an exec's folder and locks it while the exec is started, so that a reconcile elsewhere leaves it alone. The lock
   * goes with the folder.
   *
   * @returns undefined: somebody else is starting it
   */
  lock(id: string): Disposable | undefined {
    mkdirSync(this.directory(id), { recursive: true, mode: 0o700 });
    return tryFlock(join(this.directory(id), 'lock'));
  }

  /** Waits for an exec's end in the background; resolves when it is recorded. */
  watch(id: string, process: ProcessIdentity): Promise<void> {
    const known = this.#watched.get(id);
    if (known !== undefined) return known;
    const ended = this.#settle(id, process).finally(() => this.#watched.delete(id));
    this.#watched.set(id, ended);
    ended.catch(() => undefined); // a reconcile finds what could not be recorded
    return ended;
  }

  async #settle(id: string, process: ProcessIdentity): Promise<void> {
    const exitCode = await this.#deps.runtime.waitExec(this.directory(id), id, process).catch((error: unknown) => {
      if (kindOf(error) === 'Unavailable') return UNKNOWN_EXIT_CODE; // its conmon was killed
      throw error;
    });
    await this.record(id, exitCode);
    removeConmonFolder(this.directory(id));
  }

  /** Records an end, once. */
  async record(id: string, exitCode: number): Promise<void> {
    await this.#store.update(id, (current) => {
      if (current.endedMs > 0) return [];
      const ran = current.running;
      current.running = false;
      current.exitCode = exitCode;
      current.endedMs = Date.now();
      const container = this.#deps.store.find(current.containerId);
      if (!ran || container === undefined) return [];
      return [containerEvent(container, 'exec_die', { execID: id, exitCode: String(exitCode) })];
    });
  }

  /** The client pressed the detach keys. */
  async detached(container: ContainerRecord, id: string): Promise<void> {
    await this.#deps.db.write((tx) => tx.event(containerEvent(container, 'exec_detach', { execID: id })));
  }

  /** The record as it is now, although the process that started the exec may be gone. */
  async refresh(record: StoredExec): Promise<StoredExec> {
    const process = { pid: record.pid, startTicks: record.pidStartTicks };
    if (!record.running || isProcessAlive(process.pid, process.startTicks)) return record;
    await this.watch(record.id, process);
    return this.#store.get(record.id);
  }

  async forget(containerId: string): Promise<void> {
    const execs = this.#store.ofContainer(containerId);
    if (execs.length === 0) return;
    const running = execs.filter(({ running }) => running);
    if (running.length > 0) {
      const all = running.map(({ id, pid, pidStartTicks }) => this.watch(id, { pid, startTicks: pidStartTicks }));
      await Promise.race([Promise.allSettled(all), sleep(CONTAINER_ENDED_GRACE_MS, undefined, { ref: false })]);
    }
    for (const { id } of execs) removeConmonFolder(this.directory(id));
    const status = this.#deps.store.find(containerId)?.state.status;
    if (status === undefined || status === 'removing') await this.#store.delete(execs.map(({ id }) => id));
  }

  async reconcile(): Promise<void> {
    const known = new Set<string>();
    for (const record of this.#store.all()) {
      known.add(record.id);
      if (this.#watched.has(record.id)) continue;
      if (this.#deps.store.find(record.containerId) === undefined) {
        await this.#store.delete([record.id]);
        known.delete(record.id);
      } else if (record.startedMs > 0 && record.endedMs === 0) {
        using lock = this.lock(record.id);
        if (lock !== undefined) await this.#adopt(record.id); // otherwise somebody is starting it
      }
    }
    for (const id of folders(join(this.#deps.execRoot, 'execs'))) {
      if (known.has(id)) continue;
      using lock = this.lock(id);
      if (lock !== undefined && this.#store.find(id) === undefined) {
        removeConmonFolder(this.directory(id));
      }
    }
  }

  /** Waits for an exec that a process which has died started. */
  async #adopt(id: string): Promise<void> {
    const record = this.#store.find(id); // as it is now that nobody is starting it
    if (record === undefined || record.endedMs > 0) return;
    const process = record.running
      ? { pid: record.pid, startTicks: record.pidStartTicks }
      : startedProcess(this.directory(record.id));
    if (process === undefined) {
      await this.record(record.id, UNKNOWN_EXIT_CODE);
      removeConmonFolder(this.directory(record.id));
      return;
    }
    await this.#store.update(record.id, (current) => {
      current.running = true;
      current.pid = process.pid;
      current.pidStartTicks = process.startTicks;
      return [];
    });
    void this.watch(record.id, process);
  }
}

/** The process of an exec that was started, but whose start was never recorded. */
function startedProcess(directory: string): ProcessIdentity | undefined {
  let pid: number;
  try {
    pid = Number(readFileSync(join(directory, 'pidfile'), 'latin1'));
  } catch {
    return undefined;
  }
  const stat = Number.isInteger(pid) ? readProcessStat(pid) : undefined;
  // Only a child of a conmon can be it; a later process with the same pid hardly is. When it has ended, its exit file tells.
  const isOurs = stat !== undefined && isMonitor(stat.parentPid);
  return { pid, startTicks: isOurs ? stat.startTicks : 0 };
}

function isMonitor(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1') === 'conmon\n';
  } catch {
    return false;
  }
}

function folders(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // no exec was ever started
  }
}
