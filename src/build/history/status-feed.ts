import type { BuildProgress, VertexLog, VertexState, VertexStatus, VertexWarning } from '../progress.ts';

/** What goes to a watcher together; more often would be no smoother on a screen. */
const BATCH_MS = 100;
/** Output that may wait for a watcher that does not read. */
const MAX_LOG_BYTES = 8 << 20;
/** A piece of output takes so much beside its own bytes. */
const LOG_BYTES = 200;
/** Output that is kept for those who come later. */
const MAX_KEPT_LOG_BYTES = 2 << 20;
/** Warnings of a build that are told: they are for people, and each may bear a whole file. Go's clients take 16 MiB at once. */
const MAX_WARNINGS = 10_000;
const MAX_WARNING_BYTES = 8 << 20;
const RANGE_BYTES = 20;

/**
 * Progress that waits for one watcher. Of each counted part only the newest state is worth telling, and of a vertex that of each stretch of
 * its work: clients take a stretch whose end they were not told of for one that goes on.
 */
class Pending {
  readonly #maxLogBytes: number;
  #vertices = new Map<string, VertexState>();
  #statuses = new Map<string, VertexStatus>();
  #logs: VertexLog[] = [];
  #logBytes = 0;
  #warnings: VertexWarning[] = [];

  constructor(maxLogBytes: number) {
    this.#maxLogBytes = maxLogBytes;
  }

  get isEmpty(): boolean {
    return this.#vertices.size + this.#statuses.size + this.#logs.length + this.#warnings.length === 0;
  }

  add({ vertices = [], statuses = [], logs = [], warnings = [] }: BuildProgress): void {
    for (const vertex of vertices) this.#vertices.set(`${vertex.digest} ${vertex.startedMs}`, vertex);
    for (const status of statuses) this.#statuses.set(`${status.vertex} ${status.id}`, status);
    for (const log of logs) {
      this.#logs.push(log);
      this.#logBytes += LOG_BYTES + log.bytes.length;
    }
    this.#warnings.push(...warnings);
    if (this.#logBytes <= this.#maxLogBytes) return;
    let dropped = 0;
    while (this.#logBytes > this.#maxLogBytes && dropped < this.#logs.length - 1)
      this.#logBytes -= LOG_BYTES + this.#logs[dropped++]!.bytes.length;
    this.#logs.splice(0, dropped);
  }

  all(): Required<BuildProgress> {
    return {
      vertices: [...this.#vertices.values()],
      statuses: [...this.#statuses.values()],
      logs: [...this.#logs],
      warnings: [...this.#warnings],
    };
  }

  take(): Required<BuildProgress> {
    const taken = this.all();
    this.#vertices = new Map();
    this.#statuses = new Map();
    this.#logs = [];
    this.#logBytes = 0;
    this.#warnings = [];
    return taken;
  }
}

/** A build's progress for those who watch it, from its start on whenever they come. */
export class StatusFeed {
  readonly #kept = new Pending(MAX_KEPT_LOG_BYTES);
  readonly #watchers = new Set<{ pending: Pending; wake(): void }>();
  #isOver = false;
  #warnings = 0;
  #warningBytes = 0;

  tell(progress: BuildProgress): void {
    const { warnings = [] } = progress;
    const told = warnings.length === 0 ? progress : { ...progress, warnings: warnings.filter((one) => this.#has(one)) };
    this.#kept.add(told);
    for (const watcher of this.#watchers) {
      watcher.pending.add(told);
      watcher.wake();
    }
  }

  /** Whether there is room for a warning. */
  #has({ short, detail, source, ranges }: VertexWarning): boolean {
    const text = detail.reduce((sum, line) => sum + line.length, short.length);
    this.#warningBytes += text + (source?.data.length ?? 0) + ranges.length * RANGE_BYTES;
    this.#warnings += 1;
    return this.#warnings <= MAX_WARNINGS && this.#warningBytes <= MAX_WARNING_BYTES;
  }

  /** Nothing more comes. */
  end(): void {
    this.#isOver = true;
    for (const { wake } of this.#watchers) wake();
  }

  /** Progress in batches, to the build's end. What is told from this call on is in it. */
  watch(signal: AbortSignal): AsyncGenerator<Required<BuildProgress>, void> {
    const watcher = { pending: new Pending(MAX_LOG_BYTES), wake: () => {} };
    watcher.pending.add(this.#kept.all());
    this.#watchers.add(watcher);
    return this.#batches(watcher, signal);
  }

  async *#batches(
    watcher: { pending: Pending; wake(): void },
    signal: AbortSignal,
  ): AsyncGenerator<Required<BuildProgress>, void> {
    const onAbort = () => watcher.wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (watcher.pending.isEmpty) {
          if (this.#isOver) return;
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
          });
          continue;
        }
        yield watcher.pending.take();
        if (!this.#isOver && !signal.aborted) await this.#pause(watcher);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watchers.delete(watcher);
    }
  }

  /** Lets progress gather; the end of the build is not waited for. */
  async #pause(watcher: { wake(): void }): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, BATCH_MS);
      watcher.wake = () => {
        if (!this.#isOver) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
