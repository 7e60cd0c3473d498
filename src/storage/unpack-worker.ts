import { parentPort } from 'node:worker_threads';
import { carried } from '../errors/index.ts';
import { contentDigestHere } from './contents/content-digest.ts';
import { runFileActionsHere } from './file-actions/run-actions.ts';
import { packLayerHere } from './layers/pack-layer.ts';
import { unpackLayer } from './layers/unpack.ts';
import { assembleHere } from './roots/assemble.ts';
import { receiveTreeHere } from './tree/receive-here.ts';
import { sendTreeHere } from './tree/send-here.ts';
import { mountHere } from './volumes/mounted-volume.ts';
import type { WorkerAnswer, WorkerOrder } from './worker.ts';

// Unpacking is one system call after the other, which would hold the main thread for hundreds of milliseconds.
// Assembling a root changes the thread's own mount namespace. A mount waits for a server.

function resultOf(order: Exclude<WorkerOrder, { type: 'cancel' }>, signal: AbortSignal): unknown {
  switch (order.type) {
    case 'unpack':
      return unpackLayer(order.request, signal);
    case 'pack':
      return packLayerHere(order.request, signal);
    case 'contents':
      return contentDigestHere(order.request, signal);
    case 'files':
      return runFileActionsHere(order.request, signal);
    case 'receive':
      return receiveTreeHere(order.request);
    case 'send':
      return sendTreeHere(order.request);
    case 'assemble':
      return assembleHere(order.request);
    case 'mount':
      return mountHere(order.request.source, order.request.target);
  }
}

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
    answer({ result: await resultOf(order, signal) });
  } catch (error) {
    // The signal's, or that of a blob whose writer gave it up.
    const isAborted = error instanceof Error && error.name === 'AbortError';
    answer({ error: carried(error), isAborted });
  }
});
