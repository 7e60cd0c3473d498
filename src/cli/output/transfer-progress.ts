import type { Context } from '../command.ts';
import type { ProgressLine } from '../stream/progress.ts';
import { elapsed, printable, Transfer, transferFrame } from './transfer-frame.ts';

const FRAME_MS = 100;
/** Speeds and times go on while nothing comes. */
const IDLE_FRAME_MS = 1000;

/**
 * What a transfer does: on a terminal a line for each layer, redrawn in place at most ten times a second; elsewhere only what stays
 * true when it is over.
 */
export class TransferProgress implements Disposable {
  readonly #write: (text: string) => void;
  readonly #quiet: boolean;
  readonly #terminal: NodeJS.WriteStream | undefined;
  readonly #transfers = new Map<string, Transfer>();
  /** Lengths of the lines on the screen. */
  #drawn: number[] = [];
  #lastFrameMs = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param descriptor 1 is standard output, 2 standard error */
  constructor(context: Pick<Context, 'out' | 'err'>, descriptor: 1 | 2, quiet = false) {
    const stream = descriptor === 1 ? process.stdout : process.stderr;
    this.#write = descriptor === 1 ? context.out : context.err;
    this.#quiet = quiet;
    this.#terminal = stream.isTTY ? stream : undefined;
  }

  show(line: ProgressLine): void {
    if (this.#quiet || line.status === undefined) return;
    const isLayer = line.id !== undefined && (this.#transfers.has(line.id) || isLayerId(line.id));
    if (!isLayer) {
      this.say(line.id === undefined ? line.status : `${line.id}: ${line.status}`);
      return;
    }
    if (this.#terminal === undefined) return;
    const transfer = this.#transfers.get(line.id!) ?? new Transfer(line.id!);
    this.#transfers.set(transfer.id, transfer);
    transfer.update(line, elapsed());
    this.#schedule();
  }

  /** A line that stays: below layers that are all done, above those that change. Also when quiet. */
  say(text: string): void {
    if ([...this.#transfers.values()].every((transfer) => transfer.isDone)) this[Symbol.dispose]();
    this.#write(`${this.#erase()}${printable(text)}\n`);
    if (this.#transfers.size > 0) this.#draw();
  }

  /** Leaves the last state of every layer; the next text begins below. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    if (this.#transfers.size === 0) return;
    this.#draw(true);
    this.#transfers.clear();
    this.#drawn = [];
  }

  /** A serial line says 0. */
  get #columns(): number {
    return this.#terminal?.columns || 80;
  }

  #schedule(): void {
    const wait = Math.max(0, this.#lastFrameMs + FRAME_MS - elapsed());
    clearTimeout(this.#timer);
    if (wait === 0) this.#draw();
    else this.#timer = setTimeout(() => this.#draw(), wait);
  }

  #draw(isLast = false): void {
    clearTimeout(this.#timer);
    const columns = this.#columns;
    const rows = this.#terminal?.rows || 24;
    const now = elapsed();
    const lines = transferFrame(
      [...this.#transfers.values()],
      now,
      columns,
      isLast ? Number.POSITIVE_INFINITY : rows - 1,
    );
    this.#write(`${this.#erase()}${lines.map((text) => `${text}\n`).join('')}`);
    this.#drawn = lines.map((text) => text.length);
    this.#lastFrameMs = now;
    if (!isLast) this.#timer = setTimeout(() => this.#draw(), IDLE_FRAME_MS);
  }

  /** Codes that take the changing lines away; a terminal that was made narrower has broken them into more. */
  #erase(): string {
    const columns = this.#columns;
    const height = this.#drawn.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / columns)), 0);
    this.#drawn = [];
    return height === 0 ? '' : `\x1b[${height}A\r\x1b[J`;
  }
}

/** Layers go by 12 or 64 hex digits; other ids name what is pulled as a whole. */
const isLayerId = (id: string) => /^[0-9a-f]{12}(?:[0-9a-f]{52})?$/.test(id);
