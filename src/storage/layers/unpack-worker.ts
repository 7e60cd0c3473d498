import { parentPort } from 'node:worker_threads';
import { kindOf, messageOf } from '../../errors/index.ts';
import { unpackLayer } from './unpack.ts';
import type { WorkerAnswer, WorkerOrder } from './unpack-pool.ts';

// Unpacking is one system call after the other, which would hold the main thread for hundreds of milliseconds.

let current: AbortController | undefined;

parentPort?.on('message', (order: WorkerOrder) => {
  if (order.type === 'cancel') {
    current?.abort();
    return;
  }
  current = new AbortController();
  const answer = (message: WorkerAnswer): void => parentPort?.postMessage(message);
  unpackLayer(order.request, current.signal).then(
    (layer) => answer({ layer }),
    (error: unknown) => {
      const isAborted = current?.signal.aborted === true;
      const stack = error instanceof Error ? error.stack : undefined;
      answer({ error: { kind: kindOf(error), message: messageOf(error), stack, isAborted } });
    },
  );
});
