import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import type { ContentRequest } from './content-selector.ts';

/** Answers of one layer; later ones are found anew each time. */
const MAX_BYTES = 256 * 1024;

/**
 * Digests of contents that were found before, remembered beside the topmost layer that they are of: what has a layer's name never
 * changes, so nobody has to look at the files again. A line each; one that power or another process cut off says nothing.
 */
export class KnownContents {
  readonly #path: string;
  readonly #question: string;

  /** @param names the layers, by which their files are known */
  constructor(path: string, names: readonly string[], { root, selectors }: Pick<ContentRequest, 'root' | 'selectors'>) {
    this.#path = path;
    this.#question = createHash('sha256')
      .update(JSON.stringify([names, root, selectors]))
      .digest('hex');
  }

  /** @returns undefined: it was not found yet, or it is not remembered */
  find(): string | undefined {
    const text = read(this.#path);
    const line = text.indexOf(`${this.#question} `);
    if (line < 0) return undefined;
    const digest = text.slice(line + this.#question.length + 1, text.indexOf('\n', line));
    return /^sha256:[0-9a-f]{64}$/.test(digest) ? digest : undefined;
  }

  /** A failure costs only time later. */
  keep(digest: string): void {
    if (read(this.#path).length > MAX_BYTES) return;
    try {
      appendFileSync(this.#path, `\n${this.#question} ${digest}\n`, { mode: 0o600 });
    } catch {
      // The layer is going, or the disk is full.
    }
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
