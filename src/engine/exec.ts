import { randomBytes } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import { execSubject } from './audit-subjects.ts';
import { parseDetachKeys } from './detach-keys.ts';
import { execEvent } from './events.ts';
import type { ExecDeps } from './exec-deps.ts';
import { ExecEnds } from './exec-ends.ts';
import { findStartable, refuseExec, startExec } from './exec-start.ts';
import { ExecStore, type StoredExec } from './exec-store.ts';
import { noteSubject } from './request-context.ts';
import type { ExecConfig, ExecRecord, ExecService } from './types.ts';

/** Execs, and what the container's life asks of them. */
export interface Execs extends ExecService {
  /** Ids of a container's execs. */
  ofContainer(containerId: string): string[];
  /**
   * A container has ended or is being removed. Waits for its execs to end and removes their folders. Their records stay for
   * the clients that ask how they ended, until the container goes too.
   */
  forgetExecs(containerId: string): Promise<void>;
  /** Settles what processes that died left: records that say "running", folders that nothing owns. */
  reconcileExecs(): Promise<void>;
}

/** Ended execs are kept so long for whoever still asks, as docker does. */
const KEPT_MS = 5 * 60_000;

export function createExecService(deps: ExecDeps): Execs {
  const store = new ExecStore(deps.db);
  const ends = new ExecEnds(deps, store);
  return {
    create: (containerRef, config) => createExec(deps, store, containerRef, config),
    async requireStartable(id) {
      findStartable(deps, store, id);
    },
    start: (id, options) => startExec(deps, store, ends, id, options),
    async inspect(id): Promise<ExecRecord> {
      const { startedMs, endedMs, ...record } = await ends.refresh(store.get(id));
      // Clients ask as soon as the start is answered, and the answer comes before the program runs.
      return { ...record, running: startedMs > 0 && endedMs === 0 };
    },
    async resize(id, rows, columns) {
      const record = store.get(id);
      if (record.endedMs > 0) throw new TareError('NotFound', `No such exec instance: ${id}`);
      if (!record.running) throw new TareError('Conflict', `exec ${id} is not running`);
      await deps.runtime.resize(ends.directory(id), rows, columns);
    },
    ofContainer: (containerId) => store.ofContainer(containerId).map(({ id }) => id),
    forgetExecs: (containerId) => ends.forget(containerId),
    reconcileExecs: () => ends.reconcile(),
  };
}

/** Records an exec; nothing is run. @returns its id */
async function createExec(deps: ExecDeps, store: ExecStore, containerRef: string, config: ExecConfig): Promise<string> {
  const container = deps.store.get(containerRef);
  refuseExec(container);
  deps.guard.checkExec(container, config);
  if (config.command.length === 0) throw new TareError('InvalidArgument', 'No exec command specified');
  parseDetachKeys(config.detachKeys);
  const id = randomBytes(32).toString('hex');
  await store.delete(
    store
      .ofContainer(container.id)
      .filter(({ endedMs }) => endedMs > 0 && Date.now() - endedMs > KEPT_MS)
      .map((old) => old.id),
  );
  const record: StoredExec = {
    id,
    containerId: container.id,
    config,
    running: false,
    exitCode: null,
    pid: 0,
    pidStartTicks: 0,
    createdMs: Date.now(),
    startedMs: 0,
    endedMs: 0,
  };
  noteSubject(() => execSubject(container, id, config));
  await store.insert(record, execEvent(container, record, 'exec_create'));
  return id;
}
