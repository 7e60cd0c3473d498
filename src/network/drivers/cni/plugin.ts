import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { type ErrorKind, TareError } from '../../../errors/index.ts';
import { isObject } from './conflist.ts';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS';

/** One run of one plugin. @see CNI specification, section 2 */
export interface PluginRun {
  command: CniCommand;
  /** Name of the program. */
  type: string;
  /** Execution configuration, given on standard input. */
  config: Record<string, unknown>;
  /** '' where the command does not want it. */
  containerId: string;
  netns: string;
  ifName: string;
  args: string;
  /** Folders with plugins; the first that has one counts. */
  binDirs: readonly string[];
  /** A lock that is held until the plugin and whatever it starts have ended; undefined for none. */
  lockFd?: number | undefined;
}

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT = 1 << 20;
const MAX_ERRORS = 16 << 10;
const MAX_TEXT = 1000;
const INCOMPATIBLE_VERSION = 1;

/** The plugin knows nothing of the list's version: it has done nothing, and never will. */
export class VersionRefused extends TareError {}

/**
 * Runs a plugin: a program of the machine's administrator, with an environment of the specification's words alone.
 *
 * @returns what it printed, parsed; undefined for nothing
 * @throws {VersionRefused}
 * @throws {TareError} its own error, of a kind that fits its code; Unavailable: it is missing, takes too long, says too much
 */
export async function runPlugin(run: PluginRun): Promise<Record<string, unknown> | undefined> {
  const path = pluginPath(run.type, run.binDirs);
  const { code, output, errors } = await execute(path, run);
  const document = parse(output);
  if (code === 0) {
    if (document === undefined && output.trim() !== '') throw failure(run, 'Unavailable', 'its answer is not JSON');
    return document;
  }
  throw reported(run, document, errors === '' ? output : errors);
}

/** @throws {TareError} Unavailable: no folder has it */
export function pluginPath(type: string, binDirs: readonly string[]): string {
  for (const folder of binDirs) {
    const path = join(folder, type);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // The next folder may have it.
    }
  }
  throw new TareError(
    'Unavailable',
    `CNI plugin ${type} not found in ${binDirs.join(', ')}: install it (containernetworking-plugins has the usual ones)`,
  );
}

interface Output {
  /** -1 when it was killed. */
  code: number;
  output: string;
  errors: string;
}

async function execute(path: string, run: PluginRun): Promise<Output> {
  const child = spawn(path, [], {
    env: {
      PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: run.command,
      CNI_PATH: run.binDirs.join(':'),
      ...(run.containerId === '' ? {} : { CNI_CONTAINERID: run.containerId }),
      ...(run.netns === '' ? {} : { CNI_NETNS: run.netns }),
      ...(run.ifName === '' ? {} : { CNI_IFNAME: run.ifName }),
      ...(run.args === '' ? {} : { CNI_ARGS: run.args }),
    },
    stdio: ['pipe', 'pipe', 'pipe', ...(run.lockFd === undefined ? [] : [run.lockFd])],
    cwd: '/',
    // A group of its own, so that the plugins it calls end with it.
    detached: true,
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', (error) => reject(failure(run, 'Unavailable', error.message)));
  child.once('close', (code) => resolve(code ?? -1));
  // It could not be begun, and where descriptors are short it has no pipes.
  if (child.pid === undefined) await promise;
  const { stdin, stdout, stderr } = child as ChildProcessWithoutNullStreams;
  let refusal: TareError | undefined;
  const stop = (why: string): void => {
    refusal ??= failure(run, 'Unavailable', why);
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  };
  const output = collect(stdout, MAX_OUTPUT, () => stop(`it printed more than ${MAX_OUTPUT} bytes`));
  const errors = collect(stderr, MAX_ERRORS);
  const timer = setTimeout(() => stop(`not done after ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
  // A plugin may end without having read everything.
  stdin.on('error', () => {});
  stdin.end(JSON.stringify(run.config));
  try {
    const code = await promise;
    if (refusal !== undefined) throw refusal;
    return { code, output: output(), errors: errors() };
  } finally {
    clearTimeout(timer);
  }
}

/** Keeps the first bytes of a stream, and reads the rest away. */
function collect(stream: NodeJS.ReadableStream, limit: number, onExcess: () => void = () => {}): () => string {
  const kept: Buffer[] = [];
  let length = 0;
  stream.on('data', (chunk: Buffer) => {
    if (length < limit) kept.push(chunk.subarray(0, limit - length));
    length += chunk.length;
    if (length > limit) onExcess();
  });
  return () => Buffer.concat(kept).toString();
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const document: unknown = JSON.parse(text);
    return isObject(document) ? document : undefined;
  } catch {
    return undefined;
  }
}

/** What the specification's error codes (section 5) are among ours. */
const kinds: Record<number, ErrorKind> = {
  1: 'InvalidArgument',
  2: 'InvalidArgument',
  3: 'NotFound',
  4: 'Internal',
  5: 'Unavailable',
  6: 'InvalidArgument',
  7: 'InvalidArgument',
  11: 'Unavailable',
  50: 'Unavailable',
  51: 'Unavailable',
};

function reported(run: PluginRun, document: Record<string, unknown> | undefined, text: string): TareError {
  if (document === undefined || typeof document['msg'] !== 'string') {
    return failure(run, 'Unavailable', plain(text) || 'it failed without a word');
  }
  const { code, msg, details } = document;
  const parts = [msg, details].filter((part): part is string => typeof part === 'string' && part !== '').map(plain);
  const known = typeof code === 'number' ? code : 0;
  const error = failure(run, kinds[known] ?? 'Unavailable', `${parts.join(': ')} (CNI error ${known})`);
  return known === INCOMPATIBLE_VERSION ? new VersionRefused(error.kind, error.message) : error;
}

/** One line without control characters, of bounded length: it goes into messages. */
const plain = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_TEXT);

const failure = ({ type, command, config }: PluginRun, kind: ErrorKind, text: string): TareError =>
  new TareError(kind, `network ${String(config['name'])}: CNI plugin ${type} ${command}: ${text}`);
