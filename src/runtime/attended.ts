import { closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { basename, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import {
  ConsoleSocket,
  expectCgroupMove,
  openPipe,
  readProcessStat,
  setTerminalSize,
  signalProcess,
  spawnOnHost,
  terminalStream,
} from '../linux/index.ts';
import { CHILD_ENVIRONMENT, pipeReader, reap } from './child.ts';
import { runtimeError } from './oci-errors.ts';
import { runtimeArgs, runtimeUnavailable } from './oci-runtime.ts';
import type { AttendedProcess, AttendedRequest, EnterRequest, ProcessIdentity, RunRequest } from './runtime.ts';
import { runtimeProgram } from './runtime-program.ts';

const ALIVE_FD = 3;
const SIGKILL = 9;
const LOOK_MS = 2;
/** More than a runtime needs to get a process going, on whatever machine. */
const RUNTIME_MS = 10_000;

/** See `Runtime.run`. */
export function run(execRoot: string, request: RunRequest): Promise<AttendedProcess> {
  // The runtime moves the container's process into its cgroups.
  expectCgroupMove();
  const words = ['run', '--bundle', request.directory];
  return attend(execRoot, request, 'create', words, request.id, request.program, request.held);
}

/** See `Runtime.enter`. */
export function enter(execRoot: string, request: EnterRequest): Promise<AttendedProcess> {
  const file = join(request.directory, 'process.json');
  writeFileSync(file, JSON.stringify(request.process), { mode: 0o600 });
  return attend(execRoot, request, 'exec', ['exec', '--process', file], request.containerId, request.process.args[0]);
}

/** What the runtime has to do with a process that it stays the parent of. */
async function attend(
  execRoot: string,
  request: AttendedRequest,
  verb: 'create' | 'exec',
  words: readonly string[],
  id: string,
  program: string | undefined,
  held: readonly number[] = [],
): Promise<AttendedProcess> {
  const { runtime, directory, terminal } = request;
  const [pidFile, logFile] = ['pidfile', 'log'].map((name) => join(directory, name)) as [string, string];
  if (terminal && basename(runtime.path) !== 'crun') {
    // runc hands a terminal over only when it does not stay, and then nobody learns the exit code.
    throw new TareError(
      'Unsupported',
      `OCI runtime ${runtime.name} cannot be attended in a terminal: use crun for that`,
    );
  }
  for (const old of [pidFile, logFile]) rmSync(old, { force: true });
  await using undo = new AsyncDisposableStack();
  const console = terminal ? undo.use(new ConsoleSocket(join(directory, 'console'))) : undefined;
  const place = console === undefined ? [] : ['--console-socket', console.path];
  const flags = ['--pid-file', pidFile, ...place, id];
  const args = [...runtimeArgs(execRoot, runtime), '--log', logFile, ...words, ...flags];
  const started = start(request, args, held);
  const end = Promise.withResolvers<void>();
  const over = new AbortController();
  started.alive.on('error', () => undefined); // 'close' follows
  started.alive.on('close', () => {
    over.abort();
    end.resolve();
  });
  started.alive.resume();
  const ended = end.promise.then(async () => {
    const exitCode = await reap(started.pid);
    const complaint = exitCode === 0 ? '' : readOr(logFile, '');
    if (complaint !== '') throw runtimeError(verb, runtime.name, complaint, program);
    return exitCode;
  });
  // Who asks late is not too late.
  ended.catch(() => undefined);
  const first = new FirstProcess(pidFile, started.pid, () => over.signal.aborted);
  const common = {
    ended,
    signal: (number: number) => first.signal(number),
    kill: () => first.kill(),
    identity: () => first.identity(),
  };
  if (console === undefined) {
    const { stdout, stderr, stdin } = started;
    return { ...common, stdout: stdout!, stderr, stdin, resize: () => undefined };
  }
  const master = await console.receive(over.signal);
  if (master === undefined) {
    await ended;
    throw runtimeError(verb, runtime.name, 'the runtime gave no terminal', program);
  }
  const { stream, fd } = terminalStream(master);
  const screen = new PassThrough();
  stream.on('data', (chunk) => void (screen.write(chunk) || stream.pause()));
  screen.on('drain', () => void stream.resume());
  // EIO: the last of the terminal's programs has ended.
  stream.on('error', () => undefined);
  stream.on('close', () => void screen.end());
  screen.on('close', () => void stream.destroy());
  const resize = (rows: number, columns: number) => {
    if (!stream.destroyed) setTerminalSize(fd, rows, columns);
  };
  return { ...common, stdout: screen, stderr: undefined, stdin: stream, resize };
}

interface Started {
  pid: number;
  stdout: Socket | undefined;
  stderr: Socket | undefined;
  stdin: Socket | undefined;
  /** Closes when the runtime itself has ended: it gives this descriptor to nobody. */
  alive: Socket;
}

function start(
  { runtime, terminal, stdin }: AttendedRequest,
  args: readonly string[],
  held: readonly number[],
): Started {
  using given = new DisposableStack();
  using kept = new DisposableStack();
  const give = (fd: number): number => given.adopt(fd, closeSync);
  const keep = (socket: Socket): Socket => kept.adopt(socket, (one) => void one.destroy());
  const descriptors = new Map<number, number>();
  const reader = (to: number): Socket => {
    const { readFd, writeFd } = openPipe();
    descriptors.set(to, give(writeFd));
    return keep(pipeReader(readFd));
  };
  // Without one, an input that has ended and is no file of the host's: crun gives the streams to the container's user.
  const input = openPipe();
  descriptors.set(0, give(input.readFd));
  let writer: Socket | undefined;
  if (stdin && !terminal) writer = keep(new Socket({ fd: input.writeFd, readable: false, writable: true }));
  else closeSync(input.writeFd);
  const output = terminal ? {} : { stdout: reader(1), stderr: reader(2) };
  const alive = reader(ALIVE_FD);
  for (const [index, fd] of held.entries()) descriptors.set(ALIVE_FD + 1 + index, fd);
  const program = runtimeProgram(runtime.path, ALIVE_FD + 1 + held.length);
  for (const [to, fd] of program.descriptors) descriptors.set(to, fd);
  let pid: number;
  try {
    pid = spawnOnHost({ path: program.path, name: runtime.path, args, env: CHILD_ENVIRONMENT, descriptors });
  } catch (error) {
    throw runtimeUnavailable(runtime, error);
  }
  kept.move();
  return { pid, alive, stdin: writer, stdout: output.stdout, stderr: output.stderr };
}

/** The process that a runtime runs for us, found by the file that it writes. */
class FirstProcess {
  readonly #pidFile: string;
  readonly #runtimePid: number;
  readonly #hasEnded: () => boolean;
  #known: ProcessIdentity | undefined;

  constructor(pidFile: string, runtimePid: number, hasEnded: () => boolean) {
    this.#pidFile = pidFile;
    this.#runtimePid = runtimePid;
    this.#hasEnded = hasEnded;
  }

  async identity(): Promise<ProcessIdentity | undefined> {
    for (; !this.#hasEnded(); await sleep(LOOK_MS)) {
      const found = this.#look();
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** @returns undefined: the runtime has not made it yet, or it has ended */
  #look(): ProcessIdentity | undefined {
    if (this.#known !== undefined) return this.#known;
    const pid = Number(readOr(this.#pidFile, '0'));
    const stat = Number.isInteger(pid) && pid > 0 && !this.#hasEnded() ? readProcessStat(pid) : undefined;
    // The runtime that we wait for is its parent, so it is no other process with this number.
    if (stat === undefined || stat.parentPid !== this.#runtimePid) return undefined;
    this.#known = { pid, startTicks: stat.startTicks };
    return this.#known;
  }

  signal(number: number): boolean {
    const found = this.#look();
    return found !== undefined && signalProcess(found.pid, found.startTicks, number);
  }

  /** Kills it as soon as there is something to kill. A runtime that does not get so far is killed itself. */
  async kill(): Promise<void> {
    for (const deadline = Date.now() + RUNTIME_MS; !this.#hasEnded(); await sleep(LOOK_MS)) {
      if (this.signal(SIGKILL)) return;
      if (Date.now() > deadline) process.kill(this.#runtimePid, SIGKILL);
    }
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
