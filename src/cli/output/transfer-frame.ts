import type { ProgressLine } from '../stream/progress.ts';
import { humanSize } from './units.ts';

/** Over how long a speed is measured. */
const WINDOW_MS = 5000;
const BAR_MAX = 40;
const BAR_MIN = 10;
/** Of a layer's id with its colon, and of what it does. */
const HEAD_WIDTH = 26;
/** Of bytes, speed and time, so that bars keep their length while these change. */
const NUMBERS_WIDTH = 36;

/** Milliseconds on a clock that nobody sets. */
export const elapsed = (): number => performance.now();

/** Text of somebody else without what would move a terminal's cursor. */
export const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, ' ');

/** One layer on its way. */
export class Transfer {
  readonly id: string;
  state = '';
  current = 0;
  total = 0;
  /** Time and bytes, over the last seconds of the current state. */
  #samples: { atMs: number; bytes: number }[] = [];

  constructor(id: string) {
    this.id = id;
  }

  /** @param atMs of a steady clock */
  update({ status = '', progressDetail }: ProgressLine, atMs: number): void {
    const state = printable(status);
    if (state !== this.state) {
      this.state = state;
      this.#samples = [];
      this.current = 0;
    }
    const { current, total } = progressDetail ?? {};
    // Whole bytes: with parts of one, speeds come near zero and times near infinity.
    if (total !== undefined && total >= 1) this.total = Math.round(total);
    if (current === undefined) return;
    this.current = Math.round(current);
    this.#samples.push({ atMs, bytes: this.current });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - WINDOW_MS) this.#samples.shift();
  }

  /** Bytes a second; undefined while too little is known. */
  speed(nowMs: number): number | undefined {
    const first = this.#samples[0];
    if (first === undefined || nowMs - first.atMs < 200) return undefined;
    return Math.max(0, ((this.current - first.bytes) * 1000) / (nowMs - first.atMs));
  }

  get isMoving(): boolean {
    return this.current > 0 && !this.isDone;
  }

  get isDone(): boolean {
    // A layer of an archive has no state for its end.
    if (this.state === 'Loading layer') return this.total > 0 && this.current >= this.total;
    return /^(?:Pull complete|Already exists|Pushed|Layer already exists|Mounted from)/.test(this.state);
  }
}

/**
 * The lines of a moment, none as wide as the terminal. When there are too many, those that move stay and the rest is counted.
 *
 * @param height lines at most
 */
export function transferFrame(
  transfers: readonly Transfer[],
  nowMs: number,
  columns: number,
  height: number,
): string[] {
  const width = Math.max(20, columns - 1);
  if (transfers.length <= Math.max(1, height)) return transfers.map((transfer) => transferLine(transfer, nowMs, width));
  const room = Math.max(0, height - 1);
  const rank = (transfer: Transfer) => (transfer.isDone ? 2 : transfer.isMoving ? 0 : 1);
  const chosen = new Set([...transfers].sort((a, b) => rank(a) - rank(b)).slice(0, room));
  const hidden = transfers.filter((transfer) => !chosen.has(transfer));
  const done = hidden.filter((transfer) => transfer.isDone).length;
  return [
    ...transfers.filter((transfer) => chosen.has(transfer)).map((transfer) => transferLine(transfer, nowMs, width)),
    `${hidden.length} more layers, ${done} of them complete`.slice(0, width),
  ];
}

function transferLine(transfer: Transfer, nowMs: number, width: number): string {
  const head = `${transfer.id.slice(0, 12)}: ${transfer.state}`;
  if (!transfer.isMoving) return head.slice(0, width);
  const { current, total } = transfer;
  const amount = total > 0 ? `${humanSize(current, 3)}/${humanSize(total, 3)}` : humanSize(current, 3);
  const speed = transfer.speed(nowMs);
  const rate = speed === undefined ? '' : `${humanSize(speed, 3)}/s`;
  const left = speed && total > current ? `${duration((total - current) / speed)} left` : '';
  const padded = `${head.padEnd(HEAD_WIDTH)} `;
  const numbers = `${amount.padEnd(15)} ${rate.padEnd(8)} ${left}`.trimEnd();
  const room = Math.min(BAR_MAX, width - padded.length - NUMBERS_WIDTH - 3);
  const bar = total > 0 && room >= BAR_MIN ? `${progressBar(Math.min(1, current / total), room)} ` : '';
  return `${padded}${bar}${numbers}`.slice(0, width);
}

/** `[====>     ]`, `inner` characters between the brackets. */
function progressBar(part: number, inner: number): string {
  const done = Math.floor(part * inner);
  return `[${`${'='.repeat(Math.max(0, done - 1))}${done > 0 ? '>' : ''}`.padEnd(inner)}]`;
}

/** `8s`, `2m05s`, `3h10m` */
function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, '0')}s`;
  return whole < 360_000
    ? `${Math.floor(whole / 3600)}h${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')}m`
    : 'days';
}
