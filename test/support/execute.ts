import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';

export interface ExecuteOptions {
  /** Exit code that the caller wants; anything else throws. Default 0. */
  expect?: number | 'any';
  /** Written to standard input, which is closed then; a stream of its own through `spawn` of the engine. */
  input?: string | Uint8Array;
  env?: Record<string, string>;
  cwd?: string;
  /** Default 60 s; then the program is killed and the call fails. */
  timeoutMs?: number;
}

export interface Result {
  /** 128 + n when a signal ended it. */
  code: number;
  stdout: string;
  stderr: string;
  /** As the program wrote it, for archives. */
  bytes: Buffer;
  ms: number;
}

const signalNumbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** Waits for a child with all its output. */
export async function collect(child: ChildProcessWithoutNullStreams): Promise<Omit<Result, 'ms'>> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', reject);
  child.once('close', (code, signal) => resolve(code ?? 128 + (signalNumbers[signal ?? ''] ?? 0)));
  const code = await promise;
  const bytes = Buffer.concat(stdout);
  return { code, stdout: bytes.toString(), stderr: Buffer.concat(stderr).toString(), bytes };
}

/**
 * Runs a program to its end.
 *
 * @throws when its exit code is not the one expected, with all it printed
 */
export async function execute(argv: readonly string[], options: ExecuteOptions = {}): Promise<Result> {
  const { expect = 0, input, env, cwd, timeoutMs = 60_000 } = options;
  const started = performance.now();
  const child = spawn(argv[0]!, argv.slice(1), { cwd, env: { ...process.env, ...env }, stdio: 'pipe' });
  // A program that does not read its input is no failure of the harness.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  const result = await collect(child).finally(() => clearTimeout(timer));
  const said = `${result.stdout}${result.stderr}`.slice(-4000);
  if (late) throw new Error(`${argv.join(' ')}: not done after ${timeoutMs} ms; it printed:\n${said}`);
  if (expect !== 'any' && result.code !== expect) {
    throw new Error(`${argv.join(' ')}: exit code ${result.code} instead of ${expect}; it printed:\n${said}`);
  }
  return { ...result, ms: performance.now() - started };
}

/**
 * Tries until the body returns something other than undefined or false.
 *
 * @throws after `timeoutMs`, naming what was awaited and the body's last error
 */
export async function eventually<T>(
  what: string,
  body: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const value = await body();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  } while (performance.now() < deadline);
  throw new Error(`${what}: not after ${timeoutMs} ms`, { cause: last });
}
