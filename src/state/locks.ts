import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryFlock } from '../linux/index.ts';

/**
 * Named locks that exclude other processes too. A lock is a flock on a file of its own, so the kernel frees it when its
 * holder dies. Within a process, waiters are served in the order they came.
 */
export class Locks {
  readonly #directory: string;
  readonly #queues = new Map<string, Promise<void>>();

  /** @param directory on a file system of this boot (the run-time root); made when missing */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /**
   * Waits for the lock; dispose the result to free it. Not reentrant.
   * @throws the signal's reason, when it aborts first
   */
  async acquire(name: string, signal?: AbortSignal): Promise<Disposable> {
    const before = this.#queues.get(name) ?? Promise.resolve();
    const turn = Promise.withResolvers<void>();
    const queue = before.then(() => turn.promise);
    this.#queues.set(name, queue);
    const leave = () => {
      turn.resolve();
      if (this.#queues.get(name) === queue) this.#queues.delete(name);
    };
    try {
      await before;
      const held = await this.#waitForFile(name, signal);
      return {
        [Symbol.dispose]: () => {
          this.#free(name, held);
          leave();
        },
      };
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** The lock if nobody holds or awaits it. */
  tryAcquire(name: string): Disposable | undefined {
    if (this.#queues.has(name)) return undefined;
    const held = tryFlock(this.#path(name));
    if (held === undefined) return undefined;
    const turn = Promise.withResolvers<void>();
    this.#queues.set(name, turn.promise);
    return {
      [Symbol.dispose]: () => {
        this.#free(name, held);
        turn.resolve();
        if (this.#queues.get(name) === turn.promise) this.#queues.delete(name);
      },
    };
  }

  async #waitForFile(name: string, signal?: AbortSignal): Promise<Disposable> {
    const path = this.#path(name);
    for (let pauseMs = 0.5; ; pauseMs = Math.min(pauseMs * 1.5, 20)) {
      signal?.throwIfAborted();
      const held = tryFlock(path);
      if (held !== undefined) return held;
      await sleep(pauseMs);
    }
  }

  /** Removes the file while it is still locked: whoever opened it meanwhile sees that it is gone, and opens it anew. */
  #free(name: string, held: Disposable): void {
    rmSync(this.#path(name), { force: true });
    held[Symbol.dispose]();
  }

  #path(name: string): string {
    // Names come from users too: only hashes reach the file system.
    return join(this.#directory, createHash('sha256').update(name).digest('hex').slice(0, 32));
  }
}
