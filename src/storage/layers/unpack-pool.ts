import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { TareError } from '../../errors/index.ts';
import { reviveError, startWorker, type WorkerAnswer, type WorkerOrder } from '../worker.ts';
import type { UnpackedLayer, UnpackRequest } from './unpack.ts';

/** Idle workers go after this long: an engine at rest weighs nothing. */
const IDLE_MS = 3000;

interface Job {
  request: UnpackRequest;
  signal: AbortSignal | undefined;
  resolve: (layer: UnpackedLayer) => void;
  reject: (error: unknown) => void;
}

/** A few threads that unpack layers, started when needed. They never keep the process alive by themselves. */
export class UnpackPool implements AsyncDisposable {
  /** One more than there are cores: one may wait for a blob that still comes. */
  readonly #size = Math.min(4, availableParallelism() + 1);
  readonly #waiting: Job[] = [];
  readonly #idle = new Map<Worker, NodeJS.Timeout>();
  readonly #workers = new Set<Worker>();

  /** @throws {TareError} as unpackLayer; the signal's reason when it was aborted */
  run(request: UnpackRequest, signal?: AbortSignal): Promise<UnpackedLayer> {
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, signal, resolve, reject });
      this.#next();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#idle.values()) clearTimeout(timer);
    await Promise.all([...this.#workers].map((worker) => worker.terminate()));
  }

  #next(): void {
    if (this.#waiting.length === 0) return;
    const worker = this.#take();
    if (worker === undefined) return;
    this.#work(worker, this.#waiting.shift() as Job);
  }

  #take(): Worker | undefined {
    for (const [worker, timer] of this.#idle) {
      clearTimeout(timer);
      this.#idle.delete(worker);
      return worker;
    }
    if (this.#workers.size >= this.#size) return undefined;
    const worker = startWorker('unpack');
    this.#workers.add(worker);
    worker.on('exit', () => {
      this.#workers.delete(worker);
      clearTimeout(this.#idle.get(worker));
      this.#idle.delete(worker);
      this.#next();
    });
    return worker;
  }

  #work(worker: Worker, job: Job): void {
    worker.ref();
    const cancel = (): void => worker.postMessage({ type: 'cancel' } satisfies WorkerOrder);
    const done = (): void => {
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
      job.signal?.removeEventListener('abort', cancel);
    };
    const onMessage = (answer: WorkerAnswer<UnpackedLayer>): void => {
      done();
      worker.unref();
      this.#idle.set(worker, setTimeout(() => void worker.terminate(), IDLE_MS).unref());
      this.#next();
      if ('result' in answer) job.resolve(answer.result);
      else if (answer.error.isAborted)
        job.reject(job.signal?.reason ?? new DOMException(answer.error.message, 'AbortError'));
      else job.reject(reviveError(answer.error));
    };
    const onError = (error: unknown): void => {
      done();
      job.reject(new TareError('Internal', 'the thread that unpacks a layer failed', { cause: error }));
    };
    const onExit = (): void => {
      done();
      job.reject(new TareError('Unavailable', 'unpacking a layer was stopped'));
    };
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
    job.signal?.addEventListener('abort', cancel);
    worker.postMessage({ type: 'unpack', request: job.request } satisfies WorkerOrder);
  }
}
