import { writeSync } from 'node:fs';
import { messageOf } from '../errors/index.ts';
import { aliases, commands, type Entry, groups } from './catalogue.ts';
import { type Command, type Context, globalOptions } from './command.ts';
import { UsageError } from './grammar/usage-error.ts';
import type { Options, Values } from './option.ts';
import { type Parsed, parse } from './parse.ts';
import type { Client } from './transport/client.ts';
import { VERSION } from './version.ts';

/**
 * Runs one command line and ends the process with its exit code.
 *
 * @param begins told which command it is, and whether it asks an engine elsewhere, before that is loaded
 */
export async function main(argv: string[], begins: (command: string) => void = () => {}): Promise<void> {
  // What a command waits for may hold nothing that keeps Node.js alive; it would end with 0 in the middle of the command.
  setInterval(() => {}, 2 ** 30);
  // A closed pipe (`tare logs x | head -1`) ends us quietly, as it ends other programs.
  process.exit(await run(argv, begins));
}

/**
 * Runs one command line.
 *
 * @returns the exit code: docker's (0, 1, 125 for a command line or engine failure of run, 126, 127, or the program's)
 */
async function run(argv: string[], begins: (command: string) => void): Promise<number> {
  let debug = false;
  try {
    const globals = parse(globalOptions, argv, false);
    debug = globals.values.debug;
    if (globals.values.version) {
      write(1, `tare version ${VERSION}\n`);
      return 0;
    }
    const found = find(globals.args);
    if (found === undefined || globals.values.help) return await showHelp(globals.args);
    begins(asksAnother(globals.values) ? `${found.path} elsewhere` : found.path);
    return await dispatch(found.path, found.entry, found.rest, globals.values);
  } catch (error) {
    if (isClosedPipe(error)) return 141;
    report(error, debug);
    return error instanceof UsageError ? 125 : 1;
  }
}

/** Whether an engine is named that is not of this command's own folders: what the command does then is another thing. */
const asksAnother = ({ host, context }: Context['globals']): boolean =>
  host.length > 0 || (context ?? process.env['TARE_HOST'] ?? process.env['DOCKER_HOST']) !== undefined;

interface Found {
  path: string;
  entry: Entry;
  rest: string[];
}

/** @returns undefined for no command or a bare group: help is wanted. @throws {UsageError} unknown command */
function find(words: string[]): Found | undefined {
  const first = words[0];
  if (first === undefined || first === 'help') return undefined;
  if (Object.hasOwn(commands, first)) return { path: first, entry: commands[first]!, rest: words.slice(1) };
  if (!Object.hasOwn(groups, first)) throw unknown(first, '', [...Object.keys(commands), ...Object.keys(groups)]);
  const second = words[1];
  if (second === undefined || second === '--help') return undefined;
  const path = aliases[`${first} ${second}`] ?? `${first} ${second}`;
  const name = path.slice(first.length + 1);
  const own = groups[first]!.commands;
  if (!Object.hasOwn(own, name)) throw unknown(second, `${first} `, Object.keys(own));
  return { path, entry: own[name]!, rest: words.slice(2) };
}

function unknown(word: string, prefix: string, known: string[]): Error {
  if (word.startsWith('-')) return new UsageError(`unknown flag: ${word}`);
  const near = nearest(word, known);
  const hint = near === undefined ? '' : `\n\nDid you mean '${near}'?`;
  return new Error(
    `unknown command: tare ${prefix}${word}${hint}\n\nRun 'tare ${prefix ? `${prefix}` : ''}--help' for more information`,
  );
}

async function dispatch(path: string, entry: Entry, words: string[], globals: Context['globals']): Promise<number> {
  const definition: Command = (await entry.load()).default;
  const withHelp: Options = { ...definition.options, help: { type: 'bool', help: 'Print usage', hidden: true } };
  let parsed: Parsed<Options>;
  try {
    parsed = parse(withHelp, words, definition.interspersed ?? true);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${error.message}\n\n${usageHint(path, definition)}`);
  }
  if (parsed.given.has('help')) {
    const { commandHelp } = await import('./help.ts');
    write(1, commandHelp(path, entry.summary, definition));
    return 0;
  }
  const problem = wrongCount(path, definition, parsed.args.length);
  if (problem) {
    report(new Error(`${problem}\n\n${usageHint(path, definition)}`), false);
    return 1;
  }
  if (process.getuid?.() !== 0 && !withoutEngine.has(path)) await enterUnlessServed(globals);
  let client: Promise<Client> | undefined;
  const context: Context = {
    path,
    globals,
    connect: () => {
      client ??= import('./transport/connect.ts').then(({ connect }) => connect(globals));
      return client;
    },
    out: (text) => write(1, text),
    err: (text) => write(2, text),
  };
  try {
    return (await definition.run(context, parsed.values as Values<Options>, parsed.args)) ?? 0;
  } catch (error) {
    if (isClosedPipe(error)) return 141;
    report(error, globals.debug);
    return definition.failure?.(error) ?? (error instanceof UsageError ? 125 : 1);
  } finally {
    // The engine in this process has locks and a keeper to let go of.
    await (await client?.catch(() => undefined))?.close();
  }
}

/** Commands that neither ask a daemon nor open an engine. */
const withoutEngine = new Set([
  ...['completion', 'man', 'login', 'logout', 'search'],
  ...['image copy', 'image generate-key-pair', 'image tags', 'manifest inspect'],
]);

/** Without root and without a daemon, a command begins anew in the user's namespaces: before it asks or reads anything. */
async function enterUnlessServed(globals: Context['globals']): Promise<void> {
  const { hasDaemon } = await import('./transport/connect.ts');
  if (hasDaemon(globals, process.env)) return;
  const { enterNamespaces } = await import('./rootless.ts');
  await enterNamespaces();
}

function usageHint(path: string, definition: Command): string {
  return `Usage:  tare ${path} ${definition.usage}\n\nRun 'tare ${path} --help' for more information`;
}

/** Docker's words for too few or too many arguments; undefined when the count is right. */
function wrongCount(path: string, definition: Command, count: number): string | undefined {
  const [min, max] = definition.args;
  if (count >= min && count <= max) return undefined;
  const some = (n: number) => `${n} argument${n === 1 ? '' : 's'}`;
  if (max === 0) return `'tare ${path}' accepts no arguments`;
  if (min === max) return `'tare ${path}' requires ${some(min)}`;
  if (count < min) return `'tare ${path}' requires at least ${some(min)}`;
  return `'tare ${path}' requires at most ${some(max)}`;
}

async function showHelp(words: string[]): Promise<number> {
  const help = await import('./help.ts');
  const wanted = words.filter((word) => word !== 'help' && word !== '--help');
  const [first] = wanted;
  if (first === undefined) write(1, help.programHelp());
  else if (Object.hasOwn(groups, first) && wanted.length === 1) write(1, help.groupHelp(first));
  else {
    const found = find(wanted);
    if (found) write(1, help.commandHelp(found.path, found.entry.summary, (await found.entry.load()).default));
  }
  return 0;
}

function report(error: unknown, debug: boolean): void {
  write(2, `tare: ${messageOf(error)}\n`);
  if (!debug) return;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) write(2, `${cause.stack ?? cause}\n`);
}

/** Writes everything, also into a pipe that another program made non-blocking. */
function write(descriptor: number, text: string): void {
  let bytes: Uint8Array = Buffer.from(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(descriptor, bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'EPIPE';
}

/** The known word fewest edits away, if few enough to be a slip. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let fewest = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const edits = distance(word, candidate);
    if (edits < fewest) [best, fewest] = [candidate, edits];
  }
  return best;
}

/** Levenshtein's, with a swap of neighbours counted as one edit. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
