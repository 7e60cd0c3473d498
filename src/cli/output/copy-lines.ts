import type { CopyProgress } from '../../image/index.ts';
import type { Context } from '../command.ts';
import { TransferProgress } from './transfer-progress.ts';

const words: Record<CopyProgress['state'], string> = {
  copying: 'Copying',
  existed: 'Already exists',
  mounted: 'Mounted from another repository',
  done: 'Copied',
  'left out': 'Skipped: it is not to be distributed',
};

/** What a copy does: on a terminal a line for each blob, redrawn in place; elsewhere one line when a blob is over. */
export class CopyLines implements Disposable {
  readonly #context: Context;
  readonly #quiet: boolean;
  readonly #bars: TransferProgress | undefined;

  constructor(context: Context, quiet: boolean) {
    this.#context = context;
    this.#quiet = quiet;
    this.#bars = process.stderr.isTTY && !quiet ? new TransferProgress(context, 2) : undefined;
  }

  show({ descriptor, kind, state, copiedBytes }: CopyProgress): void {
    if (this.#quiet) return;
    const { digest, size } = descriptor;
    if (this.#bars !== undefined && kind !== 'manifest') {
      const id = digest.slice('sha256:'.length, 'sha256:'.length + 12);
      this.#bars.show({ id, status: words[state], progressDetail: { current: copiedBytes, total: size } });
    } else if (state !== 'copying') {
      this.say(`${words[state]} ${kind === 'layer' ? 'blob' : kind} ${digest}`);
    }
  }

  say(text: string): void {
    if (this.#quiet) return;
    if (this.#bars === undefined) this.#context.err(`${text}\n`);
    else this.#bars.say(text);
  }

  [Symbol.dispose](): void {
    this.#bars?.[Symbol.dispose]();
  }
}
