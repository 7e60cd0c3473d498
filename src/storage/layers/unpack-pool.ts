import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { TareError } from '../../errors/index.ts';
import { isGrowing } from '../blob-growth.ts';
import { reviveError, startWorker, type WorkerAnswer, type WorkerOrder } from '../worker.ts';
import type { UnpackedLayer } from './layer-record.ts';
import type { UnpackRequest } from './unpack.ts';

/** Idle workers go after this long: an engine at rest weighs nothing. */
const IDLE_MS = 3000;

interface Job {
  request: UnpackRequest;
  signal: AbortSignal | undefined;
  resolve: (layer: UnpackedLayer) => void;
  reject: (error: unknown) => void;
}

/**
 * A few threads that unpack layers, started when needed. They never keep the process alive by themselves. Threads that wait
 * for blobs from a slow registry, maybe for hours, keep none from a layer whose blob is here: it has a thread more.
 */
export class UnpackPool implements AsyncDisposable {
  /** One more than there are cores: one may wait for a blob that still comes. */
  readonly #size = Math.min(4, availableParallelism() + 1);
  readonly #waiting: Job[] = [];
  readonly #running = new Set<Job>();
  readonly #idle = new Map<Worker, NodeJS.Timeout>();
  readonly #workers = new Set<Worker>();

  /** @throws {TareError} as unpackLayer; the signal's reason when it was aborted */
  async run(request: UnpackRequest, signal?: AbortSignal): Promise<UnpackedLayer> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<UnpackedLayer>();
    const job: Job = { request, signal, resolve, reject };
    const leave = (): void => {
      const position = this.#waiting.indexOf(job);
      if (position < 0) return; // a thread has it, and is told
      this.#waiting.splice(position, 1);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', leave);
    this.#waiting.push(job);
    this.#next();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', leave);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#idle.values()) clearTimeout(timer);
    await Promise.all([...this.#workers].map((worker) => worker.terminate()));
  }

  #next(): void {
    const position = this.#waiting.findIndex((job) => this.#mayRun(job));
    if (position < 0) return;
    const [job] = this.#waiting.splice(position, 1) as [Job];
    this.#work(this.#take(), job);
  }

  #mayRun({ request }: Job): boolean {
    if (this.#running.size < this.#size) return true;
    const isHeldUp =
      this.#running.size === this.#size && [...this.#running].every((job) => isGrowing(job.request.blob));
    return isHeldUp && !isGrowing(request.blob);
  }

  #take(): Worker {
    for (const [worker, timer] of this.#idle) {
      clearTimeout(timer);
      this.#idle.delete(worker);
      return worker;
    }
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
    this.#running.add(job);
    const cancel = (): void => worker.postMessage({ type: 'cancel' } satisfies WorkerOrder);
    const done = (): void => {
      this.#running.delete(job);
      worker.off('message', onMessage);
      worker.off('error', onError);
      worker.off('exit', onExit);
      job.signal?.removeEventListener('abort', cancel);
    };
    const onMessage = (answer: WorkerAnswer<UnpackedLayer>): void => {
      done();
      worker.unref();
      const retire = (): void => {
        // A job must not meet a thread that is ending.
        this.#idle.delete(worker);
        void worker.terminate();
      };
      this.#idle.set(worker, setTimeout(retire, IDLE_MS).unref());
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
