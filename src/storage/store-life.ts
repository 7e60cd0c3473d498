import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type FileLock, tryFlock } from '../linux/index.ts';

const PREFIX = 'life-';

/**
 * Tells other processes whether the one that made something still lives: a lock that the kernel frees with it. What was made
 * for a build under way is nobody's yet, and is spared as long as its maker lives.
 */
export class StoreLife implements Disposable {
  readonly #directory: string;
  #id: string | undefined;
  #lock: FileLock | undefined;

  /** @param directory where locks lie */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Names this store, from now on until it is disposed of. */
  get id(): string {
    this.#id ??= this.#begin();
    return this.#id;
  }

  #begin(): string {
    // A sweep takes what nobody has locked, a mark too that was not locked yet.
    for (;;) {
      const id = randomBytes(12).toString('hex');
      this.#lock = tryFlock(join(this.#directory, PREFIX + id));
      if (this.#lock !== undefined) return id;
    }
  }

  /** Whether the store of an id still lives, in this or another process. */
  isAlive(id: string): boolean {
    if (id === this.#id) return true;
    if (!/^[0-9a-f]{24}$/.test(id)) return false;
    const path = join(this.#directory, PREFIX + id);
    if (!statSync(path, { throwIfNoEntry: false })) return false;
    using lock = tryFlock(path);
    if (lock !== undefined) rmSync(path, { force: true });
    return lock === undefined;
  }

  /** Removes the marks of those that died. */
  sweep(): void {
    for (const name of readdirSync(this.#directory)) {
      if (name.startsWith(PREFIX)) this.isAlive(name.slice(PREFIX.length));
    }
  }

  [Symbol.dispose](): void {
    if (this.#id !== undefined) rmSync(join(this.#directory, PREFIX + this.#id), { force: true });
    this.#lock?.[Symbol.dispose]();
    this.#lock = undefined;
    this.#id = undefined;
  }
}
