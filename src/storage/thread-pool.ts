import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { revived, TareError } from '../errors/index.ts';
import { isGrowing } from './blob-growth.ts';
import { startWorker, type WorkerAnswer, type WorkerOrder } from './worker.ts';

/** Idle workers go after this long: an engine at rest weighs nothing. */
const IDLE_MS = 3000;

type WorkOrder = Exclude<WorkerOrder, { type: 'cancel' }>;

interface Job {
  order: WorkOrder;
  signal: AbortSignal | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: each order has an answer of its own type, which its caller names
  resolve: (answer: any) => void;
  reject: (error: unknown) => void;
}

/** May wait for a blob that still comes. */
const isWaiting = (order: WorkOrder): boolean => order.type === 'unpack' && isGrowing(order.request.blob);

/**
 * A few threads for work on files: unpacking, packing, hashing; started when needed. They never keep the process alive by
 * themselves. Threads that wait for blobs from a slow registry, maybe for hours, keep none from work whose bytes are here: it
 * has a thread more.
 */
export class ThreadPool implements AsyncDisposable {
  /** One more than there are cores: one may wait for a blob that still comes. */
  readonly #size = Math.min(4, availableParallelism() + 1);
  readonly #waiting: Job[] = [];
  readonly #running = new Set<Job>();
  readonly #idle = new Map<Worker, NodeJS.Timeout>();
  readonly #workers = new Set<Worker>();

  /** @throws {TareError} what the order threw there; the signal's reason when it was aborted */
  async run<T>(order: WorkOrder, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const job: Job = { order, signal, resolve, reject };
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

  #mayRun(job: Job): boolean {
    if (this.#running.size < this.#size) return true;
    const isHeldUp = this.#running.size === this.#size && [...this.#running].every(({ order }) => isWaiting(order));
    return isHeldUp && !isWaiting(job.order);
  }

  #take(): Worker {
    for (const [worker, timer] of this.#idle) {
      clearTimeout(timer);
      this.#idle.delete(worker);
      return worker;
    }
    const worker = startWorker('files');
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
    const onMessage = (answer: WorkerAnswer<unknown>): void => {
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
      else if (answer.isAborted) job.reject(job.signal?.reason ?? new DOMException(answer.error.message, 'AbortError'));
      else job.reject(revived(answer.error));
    };
    const onError = (error: unknown): void => {
      done();
      job.reject(new TareError('Internal', 'a thread that works on files failed', { cause: error }));
    };
    const onExit = (): void => {
      done();
      job.reject(new TareError('Unavailable', 'work on files was stopped'));
    };
    worker.on('message', onMessage);
    worker.on('error', onError);
    worker.on('exit', onExit);
    job.signal?.addEventListener('abort', cancel);
    worker.postMessage(job.order);
  }
}
