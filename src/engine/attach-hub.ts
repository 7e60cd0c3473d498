import { setTimeout as sleep } from 'node:timers/promises';
import type { AttachStream, Runtime } from '../runtime/index.ts';
import { attachSession, type SessionOptions } from './attach-session.ts';
import type { AttachSession } from './types.ts';

/** Docker's patience with a client that does not read the last output. */
const DRAIN_MS = 2_000;

interface Waiting {
  resolve(stream: AttachStream | undefined): void;
  reject(reason: unknown): void;
}

type AttachRuntime = Pick<Runtime, 'attach' | 'attached' | 'endInput'>;

/**
 * Sessions on containers that have not started yet. The start joins them to the container between the runtime's create
 * and start, so they see its first byte.
 */
export class AttachHub {
  readonly #runtime: AttachRuntime;
  readonly #waiting = new Map<string, Set<Waiting>>();
  /** Sessions whose output is under way. */
  readonly #flowing = new Map<string, Set<Promise<void>>>();

  constructor(runtime: AttachRuntime) {
    this.#runtime = runtime;
  }

  /** A session that waits for the container's start. Dispose it when the client leaves. */
  pending(id: string, options: SessionOptions): AttachSession {
    const stream = Promise.withResolvers<AttachStream | undefined>();
    const session = attachSession(stream.promise, options);
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(stream));
    return {
      tty: session.tty,
      output: session.output,
      write: (chunk) => session.write(chunk),
      closeStdin: () => session.closeStdin(),
      [Symbol.asyncDispose]: async () => {
        if (waiting.delete(stream)) stream.resolve(undefined);
        if (waiting.size === 0 && this.#waiting.get(id) === waiting) this.#waiting.delete(id);
        await session[Symbol.asyncDispose]();
      },
    };
  }

  /** Notes that a session passes a container's output on, until disposed. */
  flow(id: string): Disposable {
    const { promise, resolve } = Promise.withResolvers<void>();
    const flowing = this.#flowing.get(id) ?? new Set();
    this.#flowing.set(id, flowing.add(promise));
    return {
      [Symbol.dispose]: () => {
        flowing.delete(promise);
        if (flowing.size === 0 && this.#flowing.get(id) === flowing) this.#flowing.delete(id);
        resolve();
      },
    };
  }

  /** Waits until all that a container which has ended wrote was passed on; not for long, as clients may not read. */
  async drained(id: string): Promise<void> {
    const flowing = this.#flowing.get(id);
    if (flowing !== undefined) await Promise.race([Promise.all(flowing), sleep(DRAIN_MS, undefined, { ref: false })]);
  }

  /** Whether sessions wait for this container. */
  hasPending(id: string): boolean {
    return this.#waiting.has(id);
  }

  /**
   * Joins the waiting sessions to the container whose bundle this is: after its create, before its start.
   *
   * @param endsInput ends its input, too
   */
  async connect(id: string, bundle: string, endsInput = false): Promise<void> {
    const all = this.#take(id);
    if (endsInput && all.length === 0) await this.#runtime.endInput(bundle);
    for (const waiting of all) {
      try {
        const stream = await this.#runtime.attach(bundle);
        if (endsInput) stream.closeStdin();
        waiting.resolve(stream);
      } catch (error) {
        waiting.reject(error);
      }
    }
    // The first is taken in before any output is read.
    if (all.length > 1) await this.#runtime.attached();
  }

  /** The container did not start, or is gone: the waiting sessions end without output. */
  fail(id: string): void {
    for (const waiting of this.#take(id)) waiting.resolve(undefined);
  }

  #take(id: string): Waiting[] {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return [];
    this.#waiting.delete(id);
    const taken = [...waiting];
    waiting.clear();
    return taken;
  }
}
