import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import type { Database } from '../state/index.ts';
import type { ContainerStore } from './container-store.ts';
import type { EngineMetrics } from './types.ts';
import { version } from './version.ts';

const PAGE_BYTES = 4096;

/** The engine in figures, of which there are always as many. */
export function engineMetrics(db: Pick<Database, 'get'>, store: ContainerStore): EngineMetrics {
  const containers = { running: 0, paused: 0, stopped: 0 };
  let monitors = 0;
  for (const { state } of store.shared()) {
    if (state.status === 'paused') containers.paused += 1;
    else if (state.status === 'running' || state.status === 'restarting') containers.running += 1;
    else containers.stopped += 1;
    if (state.status === 'paused' || state.status === 'running') monitors += residentBytes(state.monitorPid);
  }
  return {
    ...{ containers, cpus: cpus().length, memoryBytes: totalmem(), version },
    // Ids rise by one with each event, also of those that were trimmed.
    events: db.get<{ id: number | null }>('SELECT max(id) AS id FROM events')?.id ?? 0,
    processes: [{ process: 'monitors', residentBytes: monitors }],
  };
}

/** 0: it is gone. */
function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}
