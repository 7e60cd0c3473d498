import type { BuildProgress, VertexStatus } from '../../build/index.ts';
import { printable } from '../output/transfer-frame.ts';
import { humanSize } from '../output/units.ts';
import { BuildLedger, type LedgerChange, type LedgerVertex } from './build-ledger.ts';
import type { BuildDisplay } from './display.ts';

/** How often a counted part that goes on is told of. */
const STATUS_PACE_MS = 5000;

/**
 * Line by line, as BuildKit's `--progress plain`: what runs side by side is told apart by numbers, and an empty line stands where another
 * vertex goes on.
 */
export class PlainDisplay implements BuildDisplay {
  readonly ledger = new BuildLedger();
  readonly #write: (text: string) => void;
  readonly #now: () => number;
  #last: LedgerVertex | undefined;
  #told = new Map<VertexStatus['id'], number>();

  constructor(write: (text: string) => void, now: () => number = Date.now) {
    this.#write = write;
    this.#now = now;
  }

  show(progress: BuildProgress): void {
    const text = this.ledger
      .take(progress)
      .map((change) => this.#textOf(change))
      .join('');
    if (text !== '') this.#write(text);
  }

  end(): void {}

  #textOf(change: LedgerChange): string {
    const { vertex } = change;
    switch (change.kind) {
      case 'begun':
        return this.#switchTo(vertex);
      case 'ended': {
        const rest = vertex.log.finish().map((line) => this.#logLine(vertex, line));
        const text = `${this.#switchTo(vertex)}${rest.join('')}#${vertex.number} ${endOf(vertex)}\n`;
        this.#last = undefined;
        return `${text}\n`;
      }
      case 'counted':
        return vertex.number === 0 || !this.#isDue(change)
          ? ''
          : `${this.#switchTo(vertex)}${statusLine(vertex, change.status)}`;
      case 'output':
        if (change.lines.length === 0) return '';
        return this.#switchTo(vertex) + change.lines.map((line) => this.#logLine(vertex, line)).join('');
    }
  }

  /** The vertex's head when another one was told of last. */
  #switchTo(vertex: LedgerVertex): string {
    if (this.#last === vertex) return '';
    const left = this.#last === undefined ? '' : `#${this.#last.number} ...\n\n`;
    this.#last = vertex;
    return `${left}#${vertex.number} ${printable(vertex.name)}\n`;
  }

  #logLine(vertex: LedgerVertex, line: string): string {
    const seconds = (this.#now() - (vertex.startedMs ?? this.#now())) / 1000;
    return `#${vertex.number} ${Math.max(0, seconds).toFixed(3)} ${line}\n`;
  }

  #isDue({ vertex, status, isEnd }: LedgerChange & { kind: 'counted' }): boolean {
    if (isEnd) return true;
    if (status.completedMs !== undefined) return false;
    const key = `${vertex.digest} ${status.id}`;
    const told = this.#told.get(key);
    if (told !== undefined && this.#now() - told < STATUS_PACE_MS) return false;
    this.#told.set(key, this.#now());
    // The first word of a part without numbers would be repeated by its end.
    return told !== undefined || status.total > 0;
  }
}

function endOf({ error, isCached, startedMs, completedMs }: LedgerVertex): string {
  if (error) return /context canceled|canceled$/.test(error) ? 'CANCELED' : `ERROR: ${printable(error)}`;
  if (isCached) return 'CACHED';
  return `DONE ${seconds(startedMs, completedMs)}`;
}

const seconds = (fromMs: number | undefined, toMs: number | undefined): string =>
  `${(Math.max(0, (toMs ?? 0) - (fromMs ?? toMs ?? 0)) / 1000).toFixed(1)}s`;

function statusLine(vertex: LedgerVertex, status: VertexStatus): string {
  const { current, total, startedMs, completedMs } = status;
  const name = printable(status.name || status.id);
  const counted =
    total > 0 ? ` ${humanSize(current)} / ${humanSize(total)}` : current > 0 ? ` ${humanSize(current)}` : '';
  const taken = startedMs === undefined ? '' : ` ${seconds(startedMs, completedMs ?? status.timestampMs)}`;
  return `#${vertex.number} ${name}${counted}${taken}${completedMs === undefined ? '' : ' done'}\n`;
}
