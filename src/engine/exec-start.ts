import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { kindOf, TareError } from '../errors/index.ts';
import { buildExecProcess, type OciProcess, resolveUserIn } from '../runtime/index.ts';
import { attachSession } from './attach-session.ts';
import { containerEvent } from './events.ts';
import type { ExecDeps } from './exec-deps.ts';
import type { ExecEnds } from './exec-ends.ts';
import type { ExecStore, StoredExec } from './exec-store.ts';
import { isContainerAlive } from './liveness.ts';
import type { AttachSession, ContainerRecord, ExecConfig, ExecService } from './types.ts';

type StartOptions = Parameters<ExecService['start']>[1];

/** docker's exit codes for a program that could not be run; anything else that failed is 126 too. */
const COMMAND_NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/**
 * Runs a recorded exec, once.
 *
 * @returns the session, unless detached; its output ends after the exit code is recorded
 * @throws {TareError} NotFound; Conflict: ran already, or its container does not run; CommandNotFound, NotExecutable: the
 *   record then carries 127 or 126
 */
export async function startExec(
  deps: ExecDeps,
  store: ExecStore,
  ends: ExecEnds,
  id: string,
  options: StartOptions,
): Promise<AttachSession | undefined> {
  const { containerId } = store.get(id);
  const container = deps.store.find(containerId);
  if (container === undefined) throw new TareError('NotFound', `No such container: ${containerId}`);
  refuseExec(container);
  using _lock = await deps.locks.acquire(`exec:${id}`); // tells a reconcile elsewhere that we are alive and at it
  const record = await claim(store, id);
  try {
    return await run(deps, store, ends, container, record, options);
  } catch (error) {
    const exitCode = kindOf(error) === 'CommandNotFound' ? COMMAND_NOT_FOUND : NOT_EXECUTABLE;
    rmSync(ends.directory(id), { recursive: true, force: true });
    await ends.record(id, exitCode);
    throw error;
  }
}

/** Of two who start the same exec, one gets it. */
async function claim(store: ExecStore, id: string): Promise<StoredExec> {
  const record = await store.update(id, (current) => {
    if (current.running) throw new TareError('Conflict', `Error: Exec command ${id} is already running`);
    if (current.startedMs > 0) throw new TareError('Conflict', `Error: Exec command ${id} has already run`);
    current.startedMs = Date.now();
    return [];
  });
  if (record === undefined) throw new TareError('NotFound', `No such exec instance: ${id}`);
  return record;
}

async function run(
  deps: ExecDeps,
  store: ExecStore,
  ends: ExecEnds,
  container: ContainerRecord,
  record: StoredExec,
  options: StartOptions,
): Promise<AttachSession | undefined> {
  const { id, config } = record;
  const directory = ends.directory(id);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const attaches = !options.detach && (config.attachStdin || config.attachStdout || config.attachStderr);
  const { process, stream } = await deps.runtime.exec({
    containerId: container.id,
    execId: id,
    directory,
    runtime: deps.runtimeFor(container.host.runtime),
    process: processOf(deps, container, config, options),
    terminal: config.tty,
    stdin: config.attachStdin && !options.detach,
    attach: attaches,
  });
  await store.update(id, (current) => {
    current.running = true;
    current.pid = process.pid;
    current.pidStartTicks = process.startTicks;
    return [containerEvent(container, `exec_start: ${config.command.join(' ')}`, { execID: id })];
  });
  const ended = ends.watch(id, process);
  if (stream === undefined) return undefined;
  const session = attachSession(stream, {
    tty: config.tty,
    stdin: config.attachStdin,
    stdout: config.attachStdout,
    stderr: config.attachStderr,
    detachKeys: config.detachKeys,
    onDetach: () => void ends.detached(container, id),
  });
  return untilRecorded(session, ended);
}

/** Clients ask for the exit code as soon as the output ends, so it does not end before that is known. */
function untilRecorded(session: AttachSession, ended: Promise<void>): AttachSession {
  const left = Promise.withResolvers<void>();
  return {
    tty: session.tty,
    output: (async function* () {
      yield* session.output;
      await Promise.race([ended, left.promise]);
    })(),
    write: (chunk) => session.write(chunk),
    closeStdin: () => session.closeStdin(),
    async [Symbol.asyncDispose]() {
      left.resolve();
      await session[Symbol.asyncDispose]();
    },
  };
}

function processOf(deps: ExecDeps, container: ContainerRecord, config: ExecConfig, options: StartOptions): OciProcess {
  const spec = JSON.parse(readFileSync(join(container.bundle, 'config.json'), 'utf8')) as { process: OciProcess };
  // The container's own view, through its first process: what it mounted over /etc/passwd counts.
  const user =
    config.user === ''
      ? undefined
      : resolveUserIn(`/proc/${container.state.pid}/root`, config.user, container.host.groupAdd);
  const consoleSize = options.consoleSize ?? config.consoleSize;
  return buildExecProcess(
    spec.process,
    { ...config, ...(consoleSize === undefined ? {} : { consoleSize }) },
    user,
    deps.facts.capabilities,
  );
}

/** @throws {TareError} Conflict: nothing can be run in this container now */
export function refuseExec(container: ContainerRecord): void {
  const { id, state } = container;
  if (state.status === 'paused') {
    throw new TareError('Conflict', `Container ${id} is paused, unpause the container before exec`);
  }
  if (state.status === 'restarting') {
    throw new TareError('Conflict', `Container ${id} is restarting, wait until the container is running`);
  }
  if (state.status !== 'running' || !isContainerAlive(container)) {
    throw new TareError('Conflict', `container ${id} is not running`);
  }
}
