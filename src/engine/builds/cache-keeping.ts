import type { BuildCache, CachePolicy } from '../../build/cache/index.ts';
import type { Database, Locks } from '../../state/index.ts';
import type { Intents } from '../intents.ts';

const HOUR_MS = 3_600_000;
/** Looking at a large cache after each of many builds would cost more than it frees: so many times as long as it took it rests. */
const PAUSES = 50;
const MAX_PAUSE_MS = 60_000;
const DUE = 'build-cache-due-ms';
/** A client's build is two, one that asks what it may ask and its own, and questions about them: a daemon lets it finish first. */
const CALM_MS = 200;

export interface CacheKeepingParts {
  cache(): Promise<BuildCache>;
  /** Removes blobs and layers that nobody keeps; while somebody holds the content, once he has let go. */
  collect(): Promise<void>;
  /** Somebody asked for that while a build held the content. */
  isCollectionDue(): boolean;
  policy(): Promise<CachePolicy>;
  /** Whether there is a cache at all. */
  isThere(): boolean;
  db: Database;
  locks: Pick<Locks, 'tryAcquire'>;
  intents: Pick<Intents, 'begin'>;
  now(): number;
  /** Told of what went by itself. */
  notice(text: string): void;
  report(subject: string, error: unknown): void;
}

/**
 * Keeps the build cache within its policy: after builds, though not after each while looking takes long, and in a daemon every hour. All
 * processes do it together. Nobody waits for it but the engine's end.
 */
export class CacheKeeping implements AsyncDisposable {
  readonly #parts: CacheKeepingParts;
  #work: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #hourly: NodeJS.Timeout | undefined;
  /** Runs while builds that are over have not been looked after. */
  #calm: NodeJS.Timeout | undefined;
  #hasLeftovers = false;
  #isDaemon = false;
  #isClosed = false;

  constructor(parts: CacheKeepingParts) {
    this.#parts = parts;
  }

  /** A build is over. @param hasLeftovers it made something: the cache is larger, and there may be what nobody keeps */
  ended(hasLeftovers: boolean): void {
    this.#hasLeftovers ||= hasLeftovers;
    if (this.#isDaemon) this.#calm ??= setTimeout(() => this.#lookAfter(), CALM_MS).unref();
    else this.#lookAfter();
  }

  #lookAfter(): void {
    this.#calm = undefined;
    const hasLeftovers = this.#hasLeftovers;
    this.#hasLeftovers = false;
    this.#then(async () => {
      if (hasLeftovers || this.#parts.isCollectionDue()) await this.#parts.collect();
    });
    this.#look(hasLeftovers ? 0 : MAX_PAUSE_MS);
  }

  /** From now on at once and every hour, as a daemon does. */
  begin(): void {
    this.#isDaemon = true;
    this.#hourly = setInterval(() => this.#look(), HOUR_MS).unref();
    this.#look();
  }

  /** @param patienceMs how long the policy may wait beyond its rest, for nothing has come to the cache */
  #look(patienceMs = 0): void {
    if (this.#isClosed || !this.#parts.isThere()) return;
    const restMs = this.#dueMs() - this.#parts.now() + patienceMs;
    // Longer than it can be: the clock was set back.
    if (restMs <= 0 || restMs > MAX_PAUSE_MS + patienceMs) {
      this.#then(() => this.#keep());
      return;
    }
    // A command that ends leaves it to the next.
    if (!this.#isDaemon || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, restMs).unref();
  }

  #dueMs(): number {
    return Number(this.#parts.db.get<{ value: string }>('SELECT value FROM facts WHERE key = ?', DUE)?.value ?? 0);
  }

  async #keep(): Promise<void> {
    const { cache, policy, db, locks, intents, now, notice } = this.#parts;
    const rules = await policy();
    using lock = rules.length === 0 ? undefined : locks.tryAcquire('build-cache-policy');
    if (lock === undefined) return;
    // A daemon that never built has no other.
    using _intent = intents.begin();
    const startedMs = now();
    const bytes = await (await cache()).keepTo(rules);
    const dueMs = now() + Math.min(MAX_PAUSE_MS, (now() - startedMs) * PAUSES);
    await db.write((tx) => tx.run('INSERT OR REPLACE INTO facts (key, value) VALUES (?, ?)', DUE, String(dueMs)));
    if (bytes > 0) notice(`removed ${bytes} bytes of the build cache, by its policy`);
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => this.#parts.report('keeping the build cache', error));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#calm !== undefined) {
      clearTimeout(this.#calm);
      this.#lookAfter();
    }
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#hourly);
    await this.#work;
  }
}
