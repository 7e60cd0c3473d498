import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tryFlock } from '../linux/index.ts';

/**
 * Marks of operations under way: one locked file each. A mark whose lock is free was left by a process that died in the
 * middle, and tells whoever opens the engine next that a full reconcile is due.
 */
export class Intents {
  readonly #directory: string;
  #count = 0;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Marks an operation; dispose the result when its effects are complete or undone. */
  begin(): Disposable {
    this.#count += 1;
    const path = join(this.#directory, `${process.pid}-${this.#count}`);
    const lock = tryFlock(path);
    return {
      [Symbol.dispose]: () => {
        rmSync(path, { force: true });
        lock?.[Symbol.dispose]();
      },
    };
  }

  /** The names of marks whose process died. */
  abandoned(): string[] {
    return readdirSync(this.#directory).filter((name) => {
      using lock = tryFlock(join(this.#directory, name));
      return lock !== undefined;
    });
  }

  /** Forgets marks, once a reconcile has settled what they left. */
  forget(names: readonly string[]): void {
    for (const name of names) rmSync(join(this.#directory, name), { force: true });
  }
}
