import type { BuildProgress, VertexStatus } from '../../build/index.ts';
import { elapsed, printable } from '../output/transfer-frame.ts';
import { humanSize } from '../output/units.ts';
import { BuildLedger, type LedgerVertex } from './build-ledger.ts';
import type { BuildDisplay } from './display.ts';

const FRAME_MS = 100;
/** Lines of a running command's output. */
const LOG_LINES = 6;
/** For times at the right. */
const TIME_WIDTH = 7;

const blue = (text: string) => `\x1b[34m${text}\x1b[0m`;
const red = (text: string) => `\x1b[31m${text}\x1b[0m`;
const amber = (text: string) => `\x1b[33m${text}\x1b[0m`;
const faint = (text: string) => `\x1b[2m${text}\x1b[0m`;

/** One line of a frame, not wider than the terminal. */
interface FrameLine {
  text: string;
  /** Escape sequences around it. */
  paint: (text: string) => string;
}

/** A screen part that is redrawn in place, as BuildKit's `--progress tty`: what ends stays above what runs. */
export class TerminalDisplay implements BuildDisplay {
  readonly ledger = new BuildLedger();
  readonly #write: (text: string) => void;
  readonly #terminal: NodeJS.WriteStream;
  readonly #begunMs = Date.now();
  readonly #isColorful: boolean;
  #height = 0;
  #lastFrameMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(write: (text: string) => void, terminal: NodeJS.WriteStream, env: NodeJS.ProcessEnv = process.env) {
    this.#write = write;
    this.#terminal = terminal;
    this.#isColorful = !env['NO_COLOR'];
  }

  show(progress: BuildProgress): void {
    this.ledger.take(progress);
    const wait = Math.max(0, this.#lastFrameMs + FRAME_MS - elapsed());
    clearTimeout(this.#timer);
    if (wait === 0) this.#draw();
    else this.#timer = setTimeout(() => this.#draw(), wait);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#draw(true);
    this.#height = 0;
  }

  #draw(isLast = false): void {
    clearTimeout(this.#timer);
    const width = Math.max(40, (this.#terminal.columns || 80) - 1);
    const rows = isLast ? Number.POSITIVE_INFINITY : Math.max(5, (this.#terminal.rows || 24) - 1);
    const lines = buildFrame(this.ledger, { nowMs: Date.now(), begunMs: this.#begunMs, width, rows, isLast });
    const erase = this.#height === 0 ? '' : `\x1b[${this.#height}A\r\x1b[J`;
    this.#write(`${erase}${lines.map((line) => `${this.#isColorful ? line.paint(line.text) : line.text}\n`).join('')}`);
    this.#height = lines.length;
    this.#lastFrameMs = elapsed();
    // Times go on while nothing comes.
    if (!isLast) this.#timer = setTimeout(() => this.#draw(), 1000).unref();
  }
}

/** The lines of a moment. When there are too many, the oldest of those that have ended go first. */
export function buildFrame(
  ledger: BuildLedger,
  view: { nowMs: number; begunMs: number; width: number; rows: number; isLast: boolean },
): FrameLine[] {
  const { nowMs, width } = view;
  const done = ledger.completed;
  const isDone = view.isLast || (done === ledger.total && done > 0);
  const took = `${((nowMs - view.begunMs) / 1000).toFixed(1)}s`;
  const head = `[+] Building ${took} (${done}/${ledger.total})${isDone ? ' FINISHED' : ''}`;
  const blocks = ledger.vertices.map((vertex) => ({ vertex, lines: vertexLines(vertex, nowMs, width, view.isLast) }));
  let height = blocks.reduce((sum, { lines }) => sum + lines.length, 0);
  const shown = blocks.filter(({ vertex, lines }) => {
    if (height < view.rows || vertex.completedMs === undefined) return true;
    height -= lines.length;
    return false;
  });
  return [{ text: head.slice(0, width), paint: plain }, ...shown.flatMap(({ lines }) => lines)].slice(0, view.rows);
}

const plain = (text: string) => text;

function vertexLines(vertex: LedgerVertex, nowMs: number, width: number, isLast: boolean): FrameLine[] {
  const { startedMs, completedMs, error, isCached } = vertex;
  const isCanceled = /context canceled|canceled$/.test(error ?? '');
  const paint = error ? (isCanceled ? amber : red) : completedMs === undefined ? plain : blue;
  const word = isCached ? 'CACHED ' : error ? (isCanceled ? 'CANCELED ' : 'ERROR ') : '';
  const lines = [
    {
      text: line(
        ` => ${word}${printable(vertex.name)}`,
        (completedMs ?? nowMs) - (startedMs ?? completedMs ?? nowMs),
        width,
      ),
      paint,
    },
  ];
  for (const status of vertex.statuses.values()) {
    const end = status.completedMs ?? (completedMs === undefined ? nowMs : completedMs);
    lines.push({ text: line(` => => ${statusText(status)}`, end - (status.startedMs ?? end), width), paint });
  }
  if (completedMs === undefined && !isLast) {
    for (const text of vertex.log.last(LOG_LINES)) {
      lines.push({ text: ` => => # ${printable(text)}`.slice(0, width), paint: faint });
    }
  }
  return lines;
}

function statusText({ name, id, current, total }: VertexStatus): string {
  const counted =
    total > 0 ? ` ${humanSize(current)} / ${humanSize(total)}` : current > 0 ? ` ${humanSize(current)}` : '';
  return `${printable(name || id)}${counted}`;
}

function line(text: string, milliseconds: number, width: number): string {
  const time = `${(Math.max(0, milliseconds) / 1000).toFixed(1)}s`;
  const room = width - TIME_WIDTH;
  return `${text.slice(0, room).padEnd(room)} ${time.padStart(TIME_WIDTH - 1)}`;
}
