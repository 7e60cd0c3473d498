import { engineOptions } from './engine-options.ts';
import type { Completes, Options, Values } from './option.ts';
import { tlsOptions } from './tls-options.ts';
import type { Client } from './transport/client.ts';

/** What a command may touch. */
export interface Context {
  /** As typed, `container run`; for messages. */
  path: string;
  globals: GlobalValues;
  /** Opens the daemon's socket, or the engine in this process; the same one on every call. */
  connect(): Promise<Client>;
  /** Writes text to standard output, whole, before it returns. */
  out(text: string): void;
  /** The same to standard error. */
  err(text: string): void;
}

export interface Command<O extends Options = Options> {
  /** What follows the command's name: `[OPTIONS] CONTAINER [CONTAINER...]`. */
  usage: string;
  options: O;
  /** How many arguments, at least and at most. */
  args: readonly [min: number, max: number];
  /** Off where everything after the first argument belongs to another program (run, exec). */
  interspersed?: boolean;
  completes?: Completes;
  /** More for the manual than the catalogue's one line. */
  description?: string;
  /** Exit code when `run` throws; 1 unless said. */
  failure?(error: unknown): number;
  /** @returns exit code, 0 when nothing is returned */
  run(context: Context, options: Values<O>, args: string[]): Promise<number | undefined>;
}

/** Keeps the literal types of an option table, so that `run` gets exact values. */
export function command<const O extends Options>(definition: Command<O>): Command<O> {
  return definition;
}

/** Options before the command: they choose the engine that is talked to, and configure the one in this process. */
export const globalOptions = {
  ...engineOptions,
  ...tlsOptions,
  context: { type: 'string', short: 'c', help: "Name of a context of docker's client: the daemon that it talks to" },
  host: { type: 'list', short: 'H', help: 'Daemon to talk to (unix://PATH, tcp://HOST:PORT)' },
  version: { type: 'bool', short: 'v', help: 'Print the version and quit' },
  help: { type: 'bool', help: 'Print usage' },
} as const satisfies Options;

export type GlobalValues = Values<typeof globalOptions>;
