import { writeSync } from 'node:fs';
import type { ProgressLine } from '../stream/progress.ts';
import { humanSize } from './units.ts';

/** Lines on a terminal that change in place, one for each id; nothing without a terminal. */
export class ProgressLines implements Disposable {
  readonly #enabled: boolean;
  readonly #rows: string[] = [];

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  show(line: ProgressLine): void {
    if (!this.#enabled || line.status === undefined) return;
    const id = line.id ?? '';
    let row = this.#rows.indexOf(id);
    let move = '';
    if (row < 0) {
      row = this.#rows.push(id) - 1;
      move = '\n';
    }
    const up = this.#rows.length - row;
    const text = `${id ? `${id}: ` : ''}${line.status}${amount(line)}`.slice(
      0,
      Math.max(10, (process.stdout.columns ?? 80) - 1),
    );
    writeSync(1, `${move}\x1b[${up}A\r\x1b[2K${text}\r\x1b[${up}B`);
  }

  /** Leaves what is shown; the next line begins below. */
  clear(): void {
    this.#rows.length = 0;
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

function amount({ progressDetail }: ProgressLine): string {
  const { current, total } = progressDetail ?? {};
  if (current === undefined || current === 0) return '';
  return total ? ` ${humanSize(current, 3)}/${humanSize(total, 3)}` : ` ${humanSize(current, 3)}`;
}
