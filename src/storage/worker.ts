import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type CarriedError, revived } from '../errors/index.ts';
import type { ContentRequest } from './contents/content-selector.ts';
import type { FileActionRequest } from './file-actions/file-action.ts';
import type { PackRequest } from './layers/pack-layer.ts';
import type { UnpackRequest } from './layers/unpack.ts';
import type { AssembleRequest } from './roots/assemble-request.ts';
import type { ReceiveRequest } from './tree/receive-tree.ts';
import type { SendRequest } from './tree/send-tree.ts';
import type { VolumeSource } from './volumes/volume-source.ts';

export type WorkerOrder =
  | { type: 'unpack'; request: UnpackRequest }
  | { type: 'pack'; request: PackRequest }
  | { type: 'contents'; request: ContentRequest }
  | { type: 'files'; request: FileActionRequest }
  | { type: 'send'; request: SendRequest }
  | { type: 'receive'; request: ReceiveRequest }
  | { type: 'cancel' }
  | { type: 'assemble'; request: AssembleRequest }
  | { type: 'mount'; request: { source: VolumeSource; target: string } };

export type WorkerAnswer<T> = { result: T } | { error: CarriedError; isAborted: boolean };

/**
 * A small young generation: what the threads throw away is chunks of megabytes, and each collection frees them. The
 * default lets a hundred megabytes pile up.
 */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 256 };

/** Starts a thread for work that is one system call after the other. It does not keep the process alive. */
export function startWorker(name: string): Worker {
  // The build finds this expression and puts the bundled program's place in it.
  const program = new URL('./unpack-worker.ts', import.meta.url);
  // Our descriptors are plain numbers that scopes close; tracking them would cost a hash entry for every file.
  const worker = new Worker(program, { trackUnmanagedFds: false, name, execArgv: [], resourceLimits });
  worker.unref();
  return worker;
}

/** Has one order done by a thread of its own. @throws what the order threw there */
export async function runInThread<T>(name: string, order: WorkerOrder): Promise<T> {
  const worker = startWorker(name);
  worker.ref();
  try {
    worker.postMessage(order);
    const [answer] = (await once(worker, 'message')) as [WorkerAnswer<T>];
    if ('error' in answer) throw revived(answer.error);
    return answer.result;
  } finally {
    await worker.terminate();
  }
}
