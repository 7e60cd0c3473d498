import { messageOf } from '../../errors/index.ts';
import type { ProgressSink, VertexProgress, VertexState } from '../progress.ts';
import type { Vertex } from './graph.ts';

/** What one build's client sees of one vertex. */
export class VertexClock {
  readonly progress: VertexProgress;
  readonly #tell: ProgressSink;
  readonly #now: () => number;
  #state: VertexState;
  readonly #begun = new Map<string, number>();

  constructor(vertex: Pick<Vertex, 'digest' | 'inputs' | 'name' | 'metadata'>, tell: ProgressSink, now: () => number) {
    const { digest, inputs, name, metadata } = vertex;
    const group = metadata?.progressGroup;
    this.#tell = tell;
    this.#now = now;
    this.#state = {
      ...{ digest, name, isCached: false },
      inputs: inputs.map((input) => input.vertex.digest),
      ...(group === undefined ? {} : { progressGroup: { id: group.id, name: group.name, weak: group.weak } }),
    };
    this.#send();
    this.progress = {
      log: (stream, bytes) => tell({ logs: [{ vertex: digest, timestampMs: now(), stream, bytes }] }),
      status: (id, { current = 0, total = 0, isDone = false, name: label = id }) => {
        const timestampMs = now();
        const startedMs = this.#begun.get(id) ?? timestampMs;
        this.#begun.set(id, startedMs);
        const completed = isDone ? { completedMs: timestampMs } : {};
        tell({ statuses: [{ id, vertex: digest, name: label, current, total, timestampMs, startedMs, ...completed }] });
      },
      warn: (warning) => tell({ warnings: [{ ...warning, vertex: digest }] }),
    };
  }

  get isRunning(): boolean {
    return this.#state.startedMs !== undefined && this.#state.completedMs === undefined;
  }

  begin(): void {
    if (this.isRunning) return;
    const { completedMs: _, error: __, ...state } = this.#state;
    this.#state = { ...state, startedMs: this.#now() };
    this.#send();
  }

  end(outcome: { isCached?: boolean; error?: unknown } = {}): void {
    const { isCached = this.#state.isCached, error } = outcome;
    this.#state = {
      ...this.#state,
      isCached,
      startedMs: this.#state.startedMs ?? this.#now(),
      completedMs: this.#now(),
      ...(error === undefined ? {} : { error: messageOf(error) }),
    };
    this.#send();
  }

  #send(): void {
    this.#tell({ vertices: [this.#state] });
  }
}
