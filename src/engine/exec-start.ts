import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kindOf, TareError } from '../errors/index.ts';
import {
  buildExecProcess,
  type OciProcess,
  type OciSpec,
  removeConmonFolder,
  resolveUserIn,
} from '../runtime/index.ts';
import { attachSession } from './attach-session.ts';
import { execSubject } from './audit-subjects.ts';
import { execEvent } from './events.ts';
import type { ExecDeps } from './exec-deps.ts';
import type { ExecEnds } from './exec-ends.ts';
import type { ExecStore, StoredExec } from './exec-store.ts';
import { isContainerAlive } from './liveness.ts';
import { noteSubject } from './request-context.ts';
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
  const { container, record } = findStartable(deps, store, id);
  deps.guard.checkExec(container, record.config);
  noteSubject(() => execSubject(container, id, record.config));
  using lock = ends.lock(id);
  if (lock === undefined) throw alreadyRunning(id);
  await claim(store, container, id);
  try {
    return await run(deps, store, ends, container, record, options);
  } catch (error) {
    const exitCode = kindOf(error) === 'CommandNotFound' ? COMMAND_NOT_FOUND : NOT_EXECUTABLE;
    removeConmonFolder(ends.directory(id));
    await ends.record(id, exitCode);
    throw error;
  }
}

/** @throws {TareError} NotFound; Conflict: ran already, or its container does not run */
export function findStartable(
  deps: ExecDeps,
  store: ExecStore,
  id: string,
): { container: ContainerRecord; record: StoredExec } {
  const record = store.get(id);
  const container = deps.store.find(record.containerId);
  if (container === undefined) throw new TareError('NotFound', `No such container: ${record.containerId}`);
  refuseExec(container);
  refuseSecondStart(record);
  return { container, record };
}

async function claim(store: ExecStore, container: ContainerRecord, id: string): Promise<void> {
  await store.update(id, (current) => {
    refuseSecondStart(current);
    current.startedMs = Date.now();
    return [execEvent(container, current, 'exec_start')];
  });
}

function refuseSecondStart({ id, running, startedMs }: StoredExec): void {
  if (running) throw alreadyRunning(id);
  if (startedMs > 0) throw new TareError('Conflict', `Error: Exec command ${id} has already run`);
}

const alreadyRunning = (id: string) => new TareError('Conflict', `Error: Exec command ${id} is already running`);

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
  const attaches = !options.detach && (config.attachStdin || config.attachStdout || config.attachStderr);
  const spec = processOf(deps, container, config, options);
  const { process, stream } = await deps.runtime.exec({
    containerId: container.id,
    execId: id,
    directory,
    runtime: deps.runtimeFor(container.host.runtime),
    process: spec,
    terminal: config.tty,
    stdin: config.attachStdin && !options.detach,
    unprivileged: spec.user.uid !== 0 || spec.user.gid !== 0,
    attach: attaches,
  });
  await store.update(id, (current) => {
    current.running = true;
    current.pid = process.pid;
    current.pidStartTicks = process.startTicks;
    return [];
  });
  const ended = ends.watch(id, process);
  if (stream === undefined) return undefined;
  return attachSession(stream, {
    tty: config.tty,
    stdin: config.attachStdin,
    stdout: config.attachStdout,
    stderr: config.attachStderr,
    detachKeys: config.detachKeys,
    after: ended, // clients ask for the exit code as soon as the output ends
    onDetach: () => ends.detached(container, id),
  });
}

function processOf(deps: ExecDeps, container: ContainerRecord, config: ExecConfig, options: StartOptions): OciProcess {
  const spec = JSON.parse(readFileSync(join(container.bundle, 'config.json'), 'utf8')) as OciSpec;
  // The image's files, as at the container's start. Its own view, through its first process, could lead into a file system
  // of its making, which may let us wait for ever.
  const user = config.user === '' ? undefined : resolveUserIn(spec.root.path, config.user, container.host.groupAdd);
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
