import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { tryFlock } from '../linux/index.ts';

const MARK = /^\d+-\d+$/;
const UNSETTLED = 'unsettled';
/** What can't be settled is tried again after this long, twice as long, … at most after `MAX_REST_MS`. */
const REST_MS = 1_000;
const MAX_REST_MS = 3_600_000;

/** What the last reconcile could not settle. */
interface Unsettled {
  /** What was told of it. */
  failures: string[];
  /** Reconciles in a row that failed. */
  attempts: number;
  /** When the next one is due, by the time since boot. */
  dueMs: number;
}

/** A reconcile under way. Disposed without its end, all marks stay. */
export interface Reconciling extends Disposable {
  /** What the last one failed at, as it was told. */
  readonly known: ReadonlySet<string>;
  /** What dead processes left has been dealt with, but for what failed: for that, another one will be due. */
  end(failures: readonly string[]): void;
}

/**
 * Marks of operations under way: one locked file each. A mark whose lock is free was left by a process that died in the
 * middle, and tells whoever opens the engine next that a full reconcile is due. It is due again, ever more rarely, as long as one fails.
 */
export class Intents {
  readonly #directory: string;
  #count = 0;

  /** @param directory on a file system of this boot (the run-time root); made when missing */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Marks an operation; dispose the result when its effects are complete or undone. */
  begin(): Disposable {
    for (;;) {
      this.#count += 1;
      const path = join(this.#directory, `${process.pid}-${this.#count}`);
      const lock = tryFlock(path);
      // Who looks for marks that nobody holds was quicker, and takes this one for such a one.
      if (lock === undefined) continue;
      return {
        [Symbol.dispose]: () => {
          rmSync(path, { force: true });
          lock[Symbol.dispose]();
        },
      };
    }
  }

  /** The names of marks whose process died. */
  abandoned(): string[] {
    return readdirSync(this.#directory)
      .filter((name) => MARK.test(name))
      .filter((name) => {
        using lock = tryFlock(join(this.#directory, name), 'exclusive', { creates: false });
        return lock !== undefined;
      });
  }

  /** Whether a process died in the middle, or what one left is to be tried again. */
  get isReconcileDue(): boolean {
    if (this.abandoned().length > 0) return true;
    const unsettled = existsSync(this.#path) ? this.#unsettled() : undefined;
    return unsettled !== undefined && unsettled.dueMs <= sinceBootMs();
  }

  /** Begins a reconcile. It has a mark of its own: others leave to it what it has locked, and forget the marks of that. */
  beginReconcile(): Reconciling {
    const marks = this.abandoned();
    const before = this.#unsettled();
    const own = this.begin();
    return {
      known: new Set(before?.failures),
      end: (failures) => {
        if (failures.length > 0) this.#keep(failures, (before?.attempts ?? 0) + 1);
        // Another one may have met failures meanwhile.
        else if (this.#unsettled()?.dueMs === before?.dueMs) rmSync(this.#path, { force: true });
        for (const name of marks) rmSync(join(this.#directory, name), { force: true });
      },
      [Symbol.dispose]: () => own[Symbol.dispose](),
    };
  }

  get #path(): string {
    return join(this.#directory, UNSETTLED);
  }

  #unsettled(): Unsettled | undefined {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as Unsettled;
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
      // Its writer was killed.
      if (error instanceof SyntaxError) return { failures: [], attempts: 0, dueMs: 0 };
      throw error;
    }
  }

  #keep(failures: readonly string[], attempts: number): void {
    const dueMs = sinceBootMs() + Math.min(MAX_REST_MS, REST_MS * 2 ** (attempts - 1));
    const unsettled: Unsettled = { failures: [...new Set(failures)], attempts, dueMs };
    writeFileSync(this.#path, JSON.stringify(unsettled), { mode: 0o600 });
  }
}

const sinceBootMs = (): number => uptime() * 1000;
