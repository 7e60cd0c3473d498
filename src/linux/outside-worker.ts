import { parentPort, workerData } from 'node:worker_threads';
import { SyscallError } from './ffi.ts';
import { ANSWERED, LENGTH, LOADED, type OutsideAnswer, type OutsideCalls, TEXT_OFFSET } from './outside.ts';
import { bindPort, listBoundSockets, openSocket } from './sockets.ts';
import { spawnProcess } from './spawn.ts';

const calls: OutsideCalls = {
  bindPort: (local, options) => bindPort(local, options) ?? null,
  listBoundSockets,
  openSocket,
  spawnProcess: (request) => spawnProcess({ ...request, descriptors: new Map(request.descriptors) }),
};

const shared = workerData as SharedArrayBuffer;
const state = new Int32Array(shared, 0, 3);

Atomics.store(state, LOADED, 1);
Atomics.notify(state, LOADED);

parentPort!.on('message', ([call, args]: [keyof OutsideCalls, unknown[]]) => {
  const text = Buffer.from(JSON.stringify(answer(call, args)));
  Buffer.from(shared, TEXT_OFFSET).set(text);
  Atomics.store(state, LENGTH, text.length);
  Atomics.store(state, ANSWERED, 1);
  Atomics.notify(state, ANSWERED);
});

function answer(call: keyof OutsideCalls, args: unknown[]): OutsideAnswer {
  try {
    return { result: (calls[call] as (...args: unknown[]) => unknown)(...args) };
  } catch (error) {
    if (error instanceof SyscallError) return { syscall: error.syscall, errno: error.errno };
    return { message: String(error) };
  }
}
