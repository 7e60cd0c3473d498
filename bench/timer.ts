import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { node, project } from '../test/support/built.ts';
import { dockerClient } from '../test/support/engine.ts';

interface Answer {
  id: number;
  ms: number;
  code: number | null;
  stderr: string;
}

/** Times commands inside a contender's namespaces, through a stopwatch that lives there. */
export class Timer {
  readonly #stopwatch: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #orders = 0;

  /** @param spawn starts a program inside the namespaces; it ends with them */
  constructor(spawn: (argv: string[]) => ChildProcessWithoutNullStreams) {
    this.#stopwatch = spawn([node, join(project, 'bench/stopwatch.ts')]);
    createInterface({ input: this.#stopwatch.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  /**
   * @returns milliseconds from the spawn to the end
   * @throws it did not end well
   */
  async time(argv: readonly string[], env: Record<string, string> = {}): Promise<number> {
    this.#orders += 1;
    const id = this.#orders;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, resolve);
    this.#stopwatch.stdin.write(`${JSON.stringify({ id, argv, env })}\n`);
    const { ms, code, stderr } = await promise;
    if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}: ${stderr}`);
    return ms;
  }
}

/** docker's client for every engine that is asked through it: the machine's own when it is a 28, else the unpacked one. */
export const client: string = (() => {
  try {
    const version = execFileSync('docker', ['--version'], { encoding: 'utf8' });
    if (Number(/version (\d+)/.exec(version)?.[1]) >= 28)
      return execFileSync('which', ['docker'], { encoding: 'utf8' }).trim();
  } catch {
    // None is installed.
  }
  return join(dockerClient, 'usr/bin/docker');
})();
