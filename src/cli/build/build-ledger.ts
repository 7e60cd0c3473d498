import type { BuildProgress, VertexLog, VertexState, VertexStatus, VertexWarning } from '../../build/index.ts';

/** Output of a vertex that is kept for the end, in bytes. */
const KEPT_LOG_BYTES = 64 << 10;

/** A vertex with all that was told of it. */
export interface LedgerVertex extends VertexState {
  /** From 1, in the order in which they began. */
  number: number;
  statuses: Map<string, VertexStatus>;
  /** The last complete lines, and the line that has not ended. */
  log: LogTail;
}

/** What a build has told so far, vertex by vertex: what displays draw from. */
export class BuildLedger {
  /** Vertices that have begun, or were ended without. */
  readonly vertices: LedgerVertex[] = [];
  readonly warnings: VertexWarning[] = [];
  /** Of all vertices, also those that have not begun. */
  total = 0;
  readonly #byDigest = new Map<string, LedgerVertex>();

  /** Takes the next news. @returns what changed, in order */
  take(progress: BuildProgress): LedgerChange[] {
    const changes: LedgerChange[] = [];
    for (const state of progress.vertices ?? []) {
      const vertex = this.#vertex(state.digest);
      const before = { ...vertex };
      Object.assign(vertex, state);
      if (vertex.number === 0 && (vertex.startedMs !== undefined || vertex.completedMs !== undefined)) {
        vertex.number = this.vertices.push(vertex);
        changes.push({ kind: 'begun', vertex });
      }
      if (before.completedMs === undefined && vertex.completedMs !== undefined) changes.push({ kind: 'ended', vertex });
      // A vertex that goes on after its first end (an exporter's, a source asked for more) begins again.
      if (before.completedMs !== undefined && state.completedMs === undefined && state.startedMs !== undefined) {
        delete vertex.completedMs;
        changes.push({ kind: 'begun', vertex });
      }
    }
    for (const status of progress.statuses ?? []) {
      const vertex = this.#vertex(status.vertex);
      const isEnd = status.completedMs !== undefined && vertex.statuses.get(status.id)?.completedMs === undefined;
      vertex.statuses.set(status.id, status);
      changes.push({ kind: 'counted', vertex, status, isEnd });
    }
    for (const log of progress.logs ?? []) {
      const vertex = this.#vertex(log.vertex);
      changes.push({ kind: 'output', vertex, log, lines: vertex.log.append(log) });
    }
    this.warnings.push(...(progress.warnings ?? []));
    return changes;
  }

  /** Those that have ended. */
  get completed(): number {
    return this.vertices.filter(({ completedMs }) => completedMs !== undefined).length;
  }

  find(digest: string): LedgerVertex | undefined {
    return this.#byDigest.get(digest);
  }

  #vertex(digest: string): LedgerVertex {
    const known = this.#byDigest.get(digest);
    if (known !== undefined) return known;
    const made = {
      digest,
      inputs: [],
      name: digest,
      isCached: false,
      number: 0,
      statuses: new Map(),
      log: new LogTail(),
    };
    this.#byDigest.set(digest, made);
    this.total++;
    return made;
  }
}

export type LedgerChange =
  | { kind: 'begun' | 'ended'; vertex: LedgerVertex }
  | { kind: 'counted'; vertex: LedgerVertex; status: VertexStatus; isEnd: boolean }
  | { kind: 'output'; vertex: LedgerVertex; log: VertexLog; lines: readonly string[] };

/** The end of a program's output, line by line, in bounded memory. */
class LogTail {
  /** Lines with their seconds since the start, as they are shown. */
  readonly lines: string[] = [];
  #open = '';
  #bytes = 0;
  readonly #decoders = [new TextDecoder(), new TextDecoder()];

  /** @returns lines that are complete now */
  append({ stream, bytes }: VertexLog): string[] {
    const text = this.#open + this.#decoders[stream === 2 ? 1 : 0]!.decode(bytes, { stream: true });
    const lines = text.split('\n');
    this.#open = lines.pop()!;
    if (this.#open.length > KEPT_LOG_BYTES) {
      lines.push(this.#open);
      this.#open = '';
    }
    const shown = lines.map(afterReturn);
    this.#keep(shown);
    return shown;
  }

  /** The line that has not ended, if there is one. */
  finish(): string[] {
    const rest = this.#open === '' ? [] : [afterReturn(this.#open)];
    this.#open = '';
    this.#keep(rest);
    return rest;
  }

  /** What a screen would show now: complete lines and the open one. */
  last(count: number): string[] {
    return [...this.lines, ...(this.#open === '' ? [] : [afterReturn(this.#open)])].slice(-count);
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) {
      this.lines.push(line);
      this.#bytes += line.length;
    }
    while (this.#bytes > KEPT_LOG_BYTES && this.lines.length > 1) this.#bytes -= this.lines.shift()!.length;
  }
}

/** A line as a terminal leaves it: a program that draws a bar goes back to its beginning. */
function afterReturn(line: string): string {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line;
  return text.slice(text.lastIndexOf('\r') + 1);
}
