import type { BuildProgress, VertexLog, VertexState, VertexStatus, VertexWarning } from '../../build/index.ts';

/** What goes to a client together; more often would be no smoother on a screen. */
const BATCH_MS = 100;
/** What may wait for a client that does not read, or has not come yet. */
const MAX_LOG_BYTES = 8 << 20;

/** Progress that waits for one client. */
class Pending {
  #vertices: VertexState[] = [];
  #statuses = new Map<string, VertexStatus>();
  #logs: VertexLog[] = [];
  #logBytes = 0;
  #warnings: VertexWarning[] = [];

  get isEmpty(): boolean {
    return this.#vertices.length + this.#statuses.size + this.#logs.length + this.#warnings.length === 0;
  }

  add({ vertices = [], statuses = [], logs = [], warnings = [] }: BuildProgress): void {
    this.#vertices.push(...vertices);
    // Only the newest count of each part is worth sending.
    for (const status of statuses) this.#statuses.set(`${status.vertex} ${status.id}`, status);
    for (const log of logs) {
      this.#logs.push(log);
      this.#logBytes += log.bytes.length;
    }
    this.#warnings.push(...warnings);
    while (this.#logBytes > MAX_LOG_BYTES && this.#logs.length > 1) this.#logBytes -= this.#logs.shift()!.bytes.length;
  }

  take(): Required<BuildProgress> {
    const taken = {
      vertices: this.#vertices,
      statuses: [...this.#statuses.values()],
      logs: this.#logs,
      warnings: this.#warnings,
    };
    this.#vertices = [];
    this.#statuses = new Map();
    this.#logs = [];
    this.#logBytes = 0;
    this.#warnings = [];
    return taken;
  }
}

/** A build's progress for those who watch it, from its start on whenever they come. */
export class StatusFeed {
  /** What the first client missed by coming later than the build began. */
  #backlog: Pending | undefined = new Pending();
  /** What later ones get: how all stands. */
  readonly #vertices = new Map<string, VertexState>();
  readonly #warnings: VertexWarning[] = [];
  readonly #watchers = new Set<{ pending: Pending; wake(): void }>();
  #isOver = false;

  tell(progress: BuildProgress): void {
    for (const vertex of progress.vertices ?? []) this.#vertices.set(vertex.digest, vertex);
    this.#warnings.push(...(progress.warnings ?? []));
    this.#backlog?.add(progress);
    for (const watcher of this.#watchers) {
      watcher.pending.add(progress);
      watcher.wake();
    }
  }

  /** Nothing more comes. */
  end(): void {
    this.#isOver = true;
    for (const { wake } of this.#watchers) wake();
  }

  /** Progress in batches, to the build's end. */
  async *watch(signal: AbortSignal): AsyncGenerator<Required<BuildProgress>, void> {
    let wake = () => {};
    const watcher = { pending: this.#begin(), wake: () => wake() };
    const onAbort = () => wake();
    this.#watchers.add(watcher);
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (watcher.pending.isEmpty) {
          if (this.#isOver) return;
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        yield watcher.pending.take();
        if (!this.#isOver && !signal.aborted) await this.#pause((resolve) => (wake = resolve));
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#watchers.delete(watcher);
    }
  }

  #begin(): Pending {
    const backlog = this.#backlog;
    this.#backlog = undefined;
    if (backlog) return backlog;
    const pending = new Pending();
    pending.add({ vertices: [...this.#vertices.values()], warnings: this.#warnings });
    return pending;
  }

  /** Lets progress gather; the end of the build is not waited for. */
  async #pause(onWake: (wake: () => void) => void): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, BATCH_MS);
      onWake(() => {
        if (!this.#isOver) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
