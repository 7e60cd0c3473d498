import { parentPort } from 'node:worker_threads';
import { kindOf, messageOf } from '../errors/index.ts';
import { unpackLayer } from './layers/unpack.ts';
import { assembleHere } from './roots/assemble.ts';
import type { WorkerAnswer, WorkerOrder } from './worker.ts';

// Unpacking is one system call after the other, which would hold the main thread for hundreds of milliseconds.
// Assembling a root changes the thread's own mount namespace.

let current: AbortController | undefined;

parentPort?.on('message', async (order: WorkerOrder) => {
  if (order.type === 'cancel') {
    current?.abort();
    return;
  }
  current = new AbortController();
  const { signal } = current;
  const answer = (message: WorkerAnswer<unknown>): void => parentPort?.postMessage(message);
  try {
    answer({
      result: order.type === 'unpack' ? await unpackLayer(order.request, signal) : assembleHere(order.request),
    });
  } catch (error) {
    // The signal's, or that of a blob whose writer gave it up.
    const isAborted = error instanceof Error && error.name === 'AbortError';
    const stack = error instanceof Error ? error.stack : undefined;
    answer({ error: { kind: kindOf(error), message: messageOf(error), stack, isAborted } });
  }
});
