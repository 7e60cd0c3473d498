import { closeSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';
import { expectCgroupMove, openPipe, readProcessStat, SyscallError, spawnOnHost } from '../linux/index.ts';
import { restoreOptions } from './checkpoint.ts';
import { CHILD_ENVIRONMENT, pipeReader, reap } from './child.ts';
import { runtimeArgs } from './oci-runtime.ts';
import type { CreateRequest, ExecRequest, ProcessIdentity, RuntimeBinary } from './runtime.ts';
import { runtimeProgram } from './runtime-program.ts';

const SYNC_FD = 3;
const START_FD = 4;
const ATTACH_FD = 5;
const RUNTIME_FD = 6;
const LINE_BYTES = 64 * 1024;

/** A line of conmon's sync pipe: `{"pid": N}` or, in the newer API, `{"data": N}`, and perhaps a message. */
export interface SyncMessage {
  value: number;
  message: string;
}

/** What conmon is told for `RUNTIME create`, or `RUNTIME restore`, but of the runtime itself. */
export function createArgs(request: CreateRequest): string[] {
  const args = [
    ...commonArgs(request.id, request.bundle),
    '--container-pidfile',
    join(request.bundle, 'pidfile'),
    '--exit-dir',
    request.exitDir,
    '--persist-dir',
    request.persistDir,
  ];
  if (request.logPath === undefined) {
    args.push('--log-path', 'none');
  } else {
    args.push('--log-path', `k8s-file:${request.logPath}`);
    if (request.logMaxBytes > 0) args.push('--log-size-max', String(request.logMaxBytes));
  }
  args.push(
    ...stdioArgs(request.terminal, request.stdin || getsEndedInput(request), request.stdin && !request.stdinOnce),
  );
  const [exitCommand, ...exitArgs] = request.exitCommand;
  if (exitCommand !== undefined) args.push('--exit-command', exitCommand);
  for (const arg of exitArgs) args.push('--exit-command-arg', arg);
  if (request.restore !== undefined) {
    args.push('--restore', request.restore.images);
    for (const option of restoreOptions(request.restore)) args.push('--runtime-opt', option);
  }
  return args;
}

/** What conmon is told for `RUNTIME exec`. Its exit file is named after the container, so each exec has a folder of its own. */
export function execArgs(request: ExecRequest, attach: boolean): string[] {
  const { directory } = request;
  const args = [
    ...commonArgs(request.containerId, directory),
    '--api-version',
    '1',
    '--exec',
    '--exec-process-spec',
    join(directory, 'process.json'),
    '--container-pidfile',
    join(directory, 'pidfile'),
    '--exit-dir',
    join(directory, 'exit'),
    '--log-path',
    'none',
    ...stdioArgs(request.terminal, request.stdin || getsEndedInput(request), false),
  ];
  if (attach) args.push('--exec-attach');
  return args;
}

function commonArgs(id: string, bundle: string): string[] {
  return [
    '--cid',
    id,
    '--cuuid',
    id,
    '--name',
    id,
    '--bundle',
    bundle,
    '--full-attach',
    '--no-sync-log', // a sync of the log at each exit costs more than the exit
  ];
}

/** Whether the monitor is to make a pipe for the input although nobody will write to it: see `CreatedContainer`. */
export const getsEndedInput = (request: Pick<CreateRequest, 'terminal' | 'stdin' | 'unprivileged'>): boolean =>
  request.unprivileged && !request.terminal && !request.stdin;

function stdioArgs(terminal: boolean, stdin: boolean, keepOpen: boolean): string[] {
  const args: string[] = [];
  if (terminal) args.push('--terminal');
  if (stdin) args.push('--stdin');
  // Closing conmon's end of a terminal would leave later clients without input, so a terminal's stays open.
  if (stdin && (keepOpen || terminal)) args.push('--leave-stdin-open');
  return args;
}

export interface ConmonOptions {
  conmonPath: string;
  execRoot: string;
  runtime: RuntimeBinary;
  /** Whether the runtime begins with `release` only. */
  waits: boolean;
  env?: readonly string[];
}

/** A conmon just started, before it has said whether its runtime succeeded. */
export class ConmonStart implements Disposable {
  readonly sync: SyncReader;
  readonly #launcherPid: number;
  #startFd: number | undefined;

  /** @throws {TareError} Unavailable: conmon can't be run */
  constructor(args: readonly string[], options: ConmonOptions) {
    const { conmonPath, execRoot, runtime } = options;
    const program = runtimeProgram(runtime.path, RUNTIME_FD);
    const sync = openPipe();
    const start = options.waits ? openPipe() : undefined;
    this.sync = new SyncReader(pipeReader(sync.readFd));
    // Standard error goes to the same pipe: conmon's own complaints come before any message, and are not JSON.
    const descriptors = new Map([[2, sync.writeFd], [SYNC_FD, sync.writeFd], ...program.descriptors]);
    const runtimeWords = runtimeArgs(execRoot, runtime).flatMap((arg) => ['--runtime-arg', arg]);
    const words = [...args, '--runtime', program.path, ...runtimeWords];
    const env = [...(options.env ?? CHILD_ENVIRONMENT), `_OCI_SYNCPIPE=${SYNC_FD}`];
    if (start !== undefined) {
      descriptors.set(START_FD, start.readFd);
      // conmon says on the attach pipe that its socket listens. One pipe serves for both: the order is fixed.
      descriptors.set(ATTACH_FD, sync.writeFd);
      env.push(`_OCI_STARTPIPE=${START_FD}`, `_OCI_ATTACHPIPE=${ATTACH_FD}`);
      writeSync(start.writeFd, '\n');
      this.#startFd = start.writeFd;
    }
    // The runtime will move the new process: by then the kernel is ready.
    expectCgroupMove();
    try {
      this.#launcherPid = spawnOnHost({ path: conmonPath, args: words, env, descriptors });
    } catch (error) {
      this.sync.close();
      this.#closeStart();
      throw conmonUnavailable(conmonPath, error);
    } finally {
      closeSync(sync.writeFd);
      if (start !== undefined) closeSync(start.readFd);
    }
  }

  /** Lets the runtime begin. */
  release(): void {
    if (this.#startFd !== undefined) writeSync(this.#startFd, '\n');
    this.#closeStart();
  }

  /** Collects the process that conmon forked away from. */
  async reapLauncher(): Promise<void> {
    await reap(this.#launcherPid);
  }

  #closeStart(): void {
    if (this.#startFd !== undefined) closeSync(this.#startFd);
    this.#startFd = undefined;
  }

  [Symbol.dispose](): void {
    this.#closeStart();
    this.sync.close();
  }
}

/** Reads conmon's messages, one a line. */
export class SyncReader {
  readonly #pipe: Socket;
  #messages: SyncMessage[] = [];
  #complaint = '';
  #partial = '';
  #closed = false;
  #waiting: (() => void) | undefined;

  constructor(pipe: Socket) {
    this.#pipe = pipe;
    pipe.setEncoding('utf8');
    pipe.on('data', (text: string) => this.#receive(text));
    pipe.on('error', () => undefined); // 'close' follows
    pipe.on('close', () => {
      this.#closed = true;
      this.#waiting?.();
    });
  }

  /** @throws {TareError} Internal: the pipe closed before another message; holds what conmon complained of */
  async next(): Promise<SyncMessage> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#closed) {
        throw new TareError('Internal', `conmon ended early: ${this.#complaint.trim() || 'it said nothing'}`);
      }
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
  }

  /** Whether waiting for a message keeps our process alive. */
  keepAlive(wanted: boolean): void {
    if (wanted) this.#pipe.ref();
    else this.#pipe.unref();
  }

  close(): void {
    this.#pipe.destroy();
  }

  #receive(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop()!.slice(0, LINE_BYTES);
    for (const line of lines) {
      const message = parseSyncLine(line);
      if (message !== undefined) this.#messages.push(message);
      else if (this.#complaint.length < LINE_BYTES) this.#complaint += `${line}\n`;
    }
    this.#waiting?.();
  }
}

/** @returns undefined: not one of conmon's messages */
function parseSyncLine(line: string): SyncMessage | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const parsed: { pid?: unknown; data?: unknown; exit_code?: unknown; message?: unknown } = JSON.parse(line);
    const value = parsed.data ?? parsed.pid ?? parsed.exit_code;
    if (typeof value !== 'number') return undefined;
    return { value, message: typeof parsed.message === 'string' ? parsed.message : '' };
  } catch {
    return undefined;
  }
}

/** The identities of a container's first process and of its conmon, which is its parent as it reaps for it. */
export function identify(pid: number): { process: ProcessIdentity; monitor: ProcessIdentity } {
  const stat = readProcessStat(pid);
  const parent = stat === undefined ? undefined : readProcessStat(stat.parentPid);
  return {
    // Ended already: the start time 0 matches no process, so nobody else is ever taken for it.
    process: { pid, startTicks: stat?.startTicks ?? 0 },
    monitor: { pid: stat?.parentPid ?? 0, startTicks: parent?.startTicks ?? 0 },
  };
}

function conmonUnavailable(path: string, error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  return new TareError('Unavailable', `can't run conmon at ${path} (${error.code}): install it, or set its path`, {
    cause: error,
  });
}
