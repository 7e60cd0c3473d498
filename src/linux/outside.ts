import { Worker } from 'node:worker_threads';
import { SyscallError } from './ffi.ts';
import {
  type BindOptions,
  type BoundSocket,
  bindPort,
  type LocalPort,
  listBoundSockets,
  openSocket,
  type SocketKind,
} from './sockets.ts';
import { type SpawnRequest, spawnProcess } from './spawn.ts';

/*
 * A rootless engine works in a network namespace of its own, and nothing leads back from there: entering the host's needs rights
 * in the user namespace that owns it. So one thread stays outside, where the process began, and does what has to be done there.
 * Descriptors belong to the whole process, and a socket to the namespace it was made in.
 */

/** What the thread that stays outside can be asked for, and how it answers. */
export interface OutsideCalls {
  bindPort(local: LocalPort, options: BindOptions): number | null;
  listBoundSockets(protocol: 'tcp' | 'udp', port: number): BoundSocket[];
  openSocket(kind: SocketKind): number;
  spawnProcess(request: Omit<SpawnRequest, 'descriptors'> & { descriptors: [number, number][] }): number;
}

export type OutsideAnswer = { result: unknown } | { syscall: string; errno: number } | { message: string };

/** Of the memory shared with the thread: whether it has loaded, whether the answer is there, its length, and then its text. */
export const LOADED = 0;
export const ANSWERED = 1;
export const LENGTH = 2;
export const TEXT_OFFSET = 16;
const SHARED_BYTES = 256 * 1024;
const ANSWER_MS = 30_000;

let outside: { thread: Worker; shared: SharedArrayBuffer } | undefined;

/** Leaves a thread behind in the network namespace that this process is in now. Repeating changes nothing. */
export function leaveThreadOutside(): void {
  if (outside !== undefined) return;
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  // The build finds this expression and puts the bundled program's place in it.
  const program = new URL('./outside-worker.ts', import.meta.url);
  const thread = new Worker(program, {
    workerData: shared,
    trackUnmanagedFds: false,
    name: 'outside',
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 32 },
  });
  thread.unref();
  // A thread that is stopped while it loads a library takes the whole process down with an abort.
  process.once('exit', () => Atomics.wait(new Int32Array(shared, 0, 3), LOADED, 0, ANSWER_MS));
  outside = { thread, shared };
}

/** Whether this process has moved away from the host's network and left a thread there. */
export const isAway = (): boolean => outside !== undefined;

/** {@link bindPort} on the host; marks are left out, for they need rights over its network. */
export function bindHostPort(local: LocalPort, options: BindOptions = {}): number | undefined {
  if (outside === undefined) return bindPort(local, options);
  const { mark: _, ...allowed } = options;
  return ask('bindPort', local, allowed) ?? undefined;
}

/** {@link listBoundSockets} of the host. */
export function listHostSockets(protocol: 'tcp' | 'udp', port: number): BoundSocket[] {
  return outside === undefined ? listBoundSockets(protocol, port) : ask('listBoundSockets', protocol, port);
}

/** {@link openSocket} on the host. */
export function openHostSocket(kind: SocketKind): number {
  return outside === undefined ? openSocket(kind) : ask('openSocket', kind);
}

/** {@link spawnProcess}, with the host's network as the program's own. */
export function spawnOnHost(request: SpawnRequest): number {
  if (outside === undefined) return spawnProcess(request);
  return ask('spawnProcess', { ...request, descriptors: [...(request.descriptors ?? [])] });
}

function ask<Call extends keyof OutsideCalls>(
  call: Call,
  ...args: Parameters<OutsideCalls[Call]>
): ReturnType<OutsideCalls[Call]> {
  const { thread, shared } = outside!;
  const state = new Int32Array(shared, 0, 3);
  Atomics.store(state, ANSWERED, 0);
  thread.postMessage([call, args]);
  if (Atomics.wait(state, ANSWERED, 0, ANSWER_MS) === 'timed-out') {
    throw new Error(`the thread on the host's network did not answer ${call}`);
  }
  const text = Buffer.from(shared, TEXT_OFFSET, state[LENGTH]).toString();
  const answer = JSON.parse(text) as OutsideAnswer;
  if ('result' in answer) return answer.result as ReturnType<OutsideCalls[Call]>;
  if ('errno' in answer) throw new SyscallError(answer.syscall, answer.errno);
  throw new Error(answer.message);
}
