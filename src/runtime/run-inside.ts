import { closeSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { openPipe, readProcessStat, signalProcess, spawnOnHost } from '../linux/index.ts';
import { CHILD_ENVIRONMENT, pipeReader, reap } from './child.ts';
import { runtimeError } from './oci-errors.ts';
import { runtimeArgs, runtimeUnavailable } from './oci-runtime.ts';
import type { InsideEnd, InsideRequest, RuntimeBinary } from './runtime.ts';
import { runtimeProgram } from './runtime-program.ts';

const ALIVE_FD = 3;
const RUNTIME_FD = 4;

/** See `Runtime.runInside`. */
export async function runInside(execRoot: string, request: InsideRequest): Promise<InsideEnd> {
  const { containerId, runtime, directory } = request;
  makeFolder(directory);
  const [processFile, pidFile, logFile] = ['process.json', 'pidfile', 'log'].map((name) => join(directory, name));
  // Whoever ran one here before may have been killed meanwhile.
  killStarted(pidFile!);
  for (const old of [pidFile!, logFile!]) rmSync(old, { force: true });
  writeFileSync(processFile!, JSON.stringify(request.process), { mode: 0o600 });
  const files = ['--process', processFile!, '--pid-file', pidFile!];
  const args = [...runtimeArgs(execRoot, runtime), '--log', logFile!, 'exec', ...files, containerId];
  const started = start(runtime, args);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    if (!killStarted(pidFile!)) process.kill(started.pid, 'SIGKILL');
  }, request.timeoutMs);
  try {
    const output = keepStart(started.output, request.outputBytes);
    await closed(started.alive);
    const exitCode = await reap(started.pid);
    // What it wrote before its end is read in this turn of the event loop; its children may keep the pipe for ever.
    await new Promise((resolve) => setImmediate(resolve));
    const complaint = exitCode === 0 || isLate ? '' : readOr(logFile!, '');
    if (complaint !== '') throw runtimeError('exec', runtime.name, complaint, request.process.args[0]);
    return { isLate, exitCode, output: output() };
  } finally {
    clearTimeout(timer);
    started.output.destroy();
    rmSync(pidFile!, { force: true });
  }
}

/** Its parent is the container's, and is not made again when the container has gone. */
function makeFolder(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

interface Started {
  pid: number;
  output: Socket;
  /** Closes when the runtime itself has ended: it gives this descriptor to nobody. */
  alive: Socket;
}

function start(runtime: RuntimeBinary, args: readonly string[]): Started {
  // An input that has ended, and is no file of the host's: crun gives the streams to the container's user.
  const [input, output, alive] = [openPipe(), openPipe(), openPipe()];
  closeSync(input.writeFd);
  const readers = { output: pipeReader(output.readFd), alive: pipeReader(alive.readFd) };
  const { path, descriptors: own } = runtimeProgram(runtime.path, RUNTIME_FD);
  const descriptors = new Map([
    ...own,
    [0, input.readFd],
    [1, output.writeFd],
    [2, output.writeFd],
    [ALIVE_FD, alive.writeFd],
  ]);
  try {
    const request = { path, name: runtime.path, args, env: CHILD_ENVIRONMENT, descriptors };
    return { pid: spawnOnHost(request), ...readers };
  } catch (error) {
    readers.output.destroy();
    readers.alive.destroy();
    throw runtimeUnavailable(runtime, error);
  } finally {
    for (const fd of [input.readFd, output.writeFd, alive.writeFd]) closeSync(fd);
  }
}

/** Reads all, keeps the start. */
function keepStart(pipe: Socket, limit: number): () => Buffer {
  const kept: Buffer[] = [];
  let bytes = 0;
  pipe.on('error', () => undefined); // 'close' follows
  pipe.on('data', (chunk: Buffer) => {
    if (bytes < limit) kept.push(chunk.subarray(0, limit - bytes));
    bytes += chunk.length;
  });
  return () => Buffer.concat(kept);
}

function closed(pipe: Socket): Promise<void> {
  return new Promise((resolve) => {
    pipe.on('error', () => undefined); // 'close' follows
    pipe.on('close', () => resolve());
    pipe.resume();
  });
}

/** @returns false: nothing runs by this file, or nothing that is surely the child of a runtime that we started so */
function killStarted(pidFile: string): boolean {
  const pid = Number(readOr(pidFile, '0'));
  const stat = Number.isInteger(pid) && pid > 0 ? readProcessStat(pid) : undefined;
  if (stat === undefined) return false;
  if (!readOr(`/proc/${stat.parentPid}/cmdline`, '').split('\0').includes(pidFile)) return false;
  return signalProcess(pid, stat.startTicks, 9);
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
