import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { completeHybridCgroups, signalProcess } from '../linux/index.ts';
import { attachTo, clientsAccepted, endInput } from './attach-stream.ts';
import { enter, run } from './attended.ts';
import { checkpoint, criuEnvironment, criuError, requireCheckpoints } from './checkpoint.ts';
import { ConmonStart, createArgs, getsEndedInput, identify } from './conmon.ts';
import { reopenLogFile, resizeTerminal } from './control.ts';
import { ExecStarter } from './exec.ts';
import { runtimeError } from './oci-errors.ts';
import { isAlreadyGone, runRuntime, runsOnHostKernel } from './oci-runtime.ts';
import { runInside } from './run-inside.ts';
import type { CreatedContainer, CreateRequest, ProcessIdentity, Runtime, RuntimeBinary } from './runtime.ts';
import { updateResources } from './update.ts';

export interface RuntimeOptions {
  /** Absolute; Debian's by default. */
  conmonPath?: string;
  /** The program for checkpoints; undefined: `criu` on the usual path. */
  criuPath?: string;
  /** The runtimes keep their state in `runtimes/NAME` beneath it. */
  execRoot: string;
}

/** One driver for every OCI runtime, behind conmon. Spawns nothing but these two, and holds nothing that the disk does not. */
export function openRuntime(options: RuntimeOptions): Runtime & Disposable {
  const { execRoot, criuPath } = options;
  const conmonPath = options.conmonPath ?? '/usr/bin/conmon';
  mkdirSync(join(execRoot, 'runtimes'), { recursive: true, mode: 0o700 });
  completeHybridCgroups();
  const execs = new ExecStarter(conmonPath, execRoot);
  return {
    create: (request) => create(conmonPath, execRoot, criuPath, request),
    async start(id, runtime) {
      await runRuntime(execRoot, runtime, 'start', [id]);
    },
    kill: (id, runtime, signal, process) => kill(execRoot, id, runtime, signal, process),
    delete: (id, runtime, force) => deleteContainer(execRoot, id, runtime, force),
    requireCheckpoints,
    checkpoint: (request) => checkpoint(execRoot, criuPath, request),
    async pause(id, runtime) {
      await runRuntime(execRoot, runtime, 'pause', [id]);
    },
    async resume(id, runtime) {
      await runRuntime(execRoot, runtime, 'resume', [id]);
    },
    update: (id, runtime, resources) => updateResources(execRoot, id, runtime, resources),
    exec: (request) => execs.start(request),
    waitExec: (directory, execId, process) => execs.wait(directory, execId, process),
    runInside: (request) => runInside(execRoot, request),
    run: (request) => run(execRoot, request),
    enter: (request) => enter(execRoot, request),
    attach: attachTo,
    attached: clientsAccepted,
    endInput,
    async resize(directory, rows, columns) {
      resizeTerminal(directory, rows, columns);
    },
    async reopenLog(bundle) {
      reopenLogFile(bundle);
    },
    [Symbol.dispose]: () => execs[Symbol.dispose](),
  };
}

async function create(
  conmonPath: string,
  execRoot: string,
  criuPath: string | undefined,
  request: CreateRequest,
): Promise<CreatedContainer> {
  const { bundle, restore } = request;
  const env = restore === undefined ? {} : { env: criuEnvironment(criuPath) };
  const { runtime } = request;
  using conmon = new ConmonStart(createArgs(request), { conmonPath, execRoot, runtime, waits: false, ...env });
  try {
    const { value: pid, message } = await conmon.sync.next();
    if (pid <= 0 && restore !== undefined) {
      throw criuError(runtimeError('restore', request.runtime.name, message), join(bundle, 'restore.log'));
    }
    if (pid <= 0) throw runtimeError('create', request.runtime.name, message, programOf(bundle));
    const { process, monitor } = identify(pid);
    return { container: process, monitor, endsInput: getsEndedInput(request) };
  } finally {
    await conmon.reapLauncher();
  }
}

/** The program a bundle runs, for an error's text. */
function programOf(bundle: string): string {
  try {
    const config: { process?: { args?: unknown[] } } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
    return String(config.process?.args?.[0] ?? '');
  } catch {
    return '';
  }
}

/** How often a removal by force is tried, each time after another process took something of the container away. */
const REMOVALS = 5;

/**
 * A runtime that stays with its container (`run`) outlives us and cleans up too: when both do it at once, the one that comes second to
 * some file fails half-way. Asked again it finds nothing left to do.
 */
async function deleteContainer(execRoot: string, id: string, runtime: RuntimeBinary, force: boolean): Promise<void> {
  for (let left = force ? REMOVALS : 1; left > 0; left -= 1) {
    try {
      await runRuntime(execRoot, runtime, 'delete', force ? ['--force', id] : [id]);
      return;
    } catch (error) {
      if (isAlreadyGone(error)) return;
      if (left === 1) throw error;
    }
  }
}

async function kill(
  execRoot: string,
  id: string,
  runtime: RuntimeBinary,
  signal: number,
  process: ProcessIdentity | undefined,
): Promise<void> {
  if (process !== undefined && runsOnHostKernel(runtime)) {
    signalProcess(process.pid, process.startTicks, signal);
    return;
  }
  try {
    await runRuntime(execRoot, runtime, 'kill', [id, String(signal)]);
  } catch (error) {
    if (!isAlreadyGone(error)) throw error;
  }
}
