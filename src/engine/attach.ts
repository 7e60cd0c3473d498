import { kindOf, TareError } from '../errors/index.ts';
import type { Runtime } from '../runtime/index.ts';
import type { Database } from '../state/index.ts';
import type { AttachHub } from './attach-hub.ts';
import { attachSession, type SessionOptions } from './attach-session.ts';
import { parseDetachKeys } from './detach-keys.ts';
import { containerEvent } from './events.ts';
import { isUp } from './liveness.ts';
import { readLog } from './log-reader.ts';
import type { AttachOptions, AttachSession, ContainerRecord } from './types.ts';

export interface AttachDeps {
  db: Database;
  store: { get(ref: string): ContainerRecord; find(id: string): ContainerRecord | undefined };
  runtime: Runtime;
  hub: AttachHub;
}

/**
 * Attaches a client to a container. On one that does not run, the session waits for its start and misses nothing of it.
 *
 * @throws {TareError} NotFound; Conflict: paused or restarting; InvalidArgument: the detach keys
 */
export async function attachContainer(deps: AttachDeps, ref: string, options: AttachOptions): Promise<AttachSession> {
  const record = deps.store.get(ref);
  const { id } = record;
  refuseAttach(record);
  parseDetachKeys(options.detachKeys);
  const session: SessionOptions = {
    tty: record.config.tty,
    stdin: options.stdin && record.config.openStdin,
    stdout: options.stdout,
    stderr: options.stderr,
    detachKeys: options.detachKeys,
    lingers: record.config.stdinOnce && !record.config.tty,
    ...(options.logs && record.logPath !== '' ? { before: replay(record, options) } : {}),
    onFlow: () => deps.hub.flow(id),
    onDetach: () => deps.db.write((tx) => tx.event(containerEvent(record, 'detach'))),
  };
  if (!options.stream) return attachSession(Promise.resolve(undefined), session);
  await deps.db.write((tx) => tx.event(containerEvent(record, 'attach')));
  if (!isUp(record)) return pendingSession(deps, id, session);
  try {
    return attachSession(await deps.runtime.attach(record.bundle), session);
  } catch (error) {
    if (kindOf(error) !== 'Conflict') throw error;
    return attachSession(Promise.resolve(undefined), session); // it has ended just now
  }
}

function refuseAttach({ id, state }: ContainerRecord): void {
  if (state.status === 'paused') {
    throw new TareError('Conflict', `container ${id} is paused, unpause the container before attach`);
  }
  if (state.status === 'restarting') {
    throw new TareError('Conflict', `container ${id} is restarting, wait until the container is running`);
  }
}

async function* replay(record: ContainerRecord, options: AttachOptions): AttachSession['output'] {
  const { stdout, stderr } = options;
  for await (const { stream, line } of readLog(record.logPath, { follow: false, stdout, stderr })) {
    yield { stream, chunk: line };
  }
}

/**
 * The start in this process joins the session. A start by another process (the command line, the keeper) can't: then we
 * join as soon as the record says that it runs, which may be after its first words.
 */
function pendingSession(deps: AttachDeps, id: string, options: SessionOptions): AttachSession {
  const session = deps.hub.pending(id, options);
  const left = new AbortController();
  joinWhenRunning(deps, id, left.signal).catch(() => deps.hub.fail(id));
  return {
    tty: session.tty,
    output: session.output,
    write: (chunk) => session.write(chunk),
    closeStdin: () => session.closeStdin(),
    async [Symbol.asyncDispose]() {
      left.abort();
      await session[Symbol.asyncDispose]();
    },
  };
}

async function joinWhenRunning(deps: AttachDeps, id: string, left: AbortSignal): Promise<void> {
  for await (const _ of deps.db.watch(left)) {
    if (!deps.hub.hasPending(id)) return; // joined, failed or left
    const record = deps.store.find(id);
    if (record === undefined || record.state.status === 'removing') return deps.hub.fail(id);
    if (isUp(record)) return await deps.hub.connect(id, record.bundle);
  }
}
