import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { eventually } from './execute.ts';

export interface Size {
  rows: number;
  columns: number;
}

/** Starts a program with pipes; in the engine's namespaces or not. */
export type Spawn = (argv: string[], env: Record<string, string>) => ChildProcessWithoutNullStreams;

const here: Spawn = (argv, env) => spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env }, stdio: 'pipe' });

/** A command under a terminal of its own, as a person has it; disposing hangs up. */
export class Terminal implements Disposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #size: Size;
  #output = '';
  readonly ended: Promise<number>;

  constructor(argv: readonly string[], options: { size?: Size; env?: Record<string, string>; spawn?: Spawn } = {}) {
    const { size = { rows: 24, columns: 80 }, env = {}, spawn: start = here } = options;
    this.#size = size;
    const words = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`);
    const line = `stty rows ${size.rows} cols ${size.columns}; exec ${words.join(' ')}`;
    this.#child = start(['script', '-qefc', line, '/dev/null'], { ...env, TERM: 'xterm' });
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
    this.ended = new Promise((resolve) => this.#child.once('exit', (code) => resolve(code ?? -1)));
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  async shows(text: string): Promise<void> {
    await eventually(`the terminal shows ${JSON.stringify(text)}`, () => this.#output.includes(text)).catch((error) => {
      throw new Error(`the terminal shows ${JSON.stringify(this.#output)}`, { cause: error });
    });
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }

  /** All that was written, codes and all. */
  get output(): string {
    return this.#output;
  }

  /** Lines as a person sees them now, those above that have scrolled away with them. */
  get lines(): string[] {
    return linesOf(this.#output, this.#size);
  }
}

/** What a terminal makes of text with `\r`, `\n` and the codes that move up and erase. @throws any other code */
function linesOf(output: string, { rows, columns }: Size): string[] {
  const lines: string[] = [''];
  let row = 0;
  let column = 0;
  const down = () => {
    row += 1;
    lines[row] ??= '';
  };
  for (const [token, count, code] of output.matchAll(/\x1b\[(\d*)([A-Za-z])|[\s\S]/gu)) {
    if (code === 'A') row = Math.max(0, lines.length - rows, row - Number(count || 1));
    else if (code === 'J') {
      lines.length = row + 1;
      lines[row] = lines[row]!.slice(0, column);
    } else if (code !== undefined) throw new Error(`unexpected code ${JSON.stringify(token)}`);
    else if (token === '\r') column = 0;
    else if (token === '\n') down();
    else {
      if (column === columns) {
        column = 0;
        down();
      }
      lines[row] = `${lines[row]!.padEnd(column).slice(0, column)}${token}${lines[row]!.slice(column + 1)}`;
      column += 1;
    }
  }
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}
