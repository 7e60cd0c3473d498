import type { Duplex } from 'node:stream';
import { TareError } from '../errors/index.ts';
import { copyOutput } from './stream/copy.ts';
import { DetachKeys } from './stream/detach-keys.ts';
import type { Client } from './transport/client.ts';

/** The user typed the detach keys; what runs goes on running. */
export class Detached extends TareError {
  constructor() {
    super('InvalidArgument', 'read escape sequence');
  }
}

export interface SessionOptions {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** docker's notation; '' for ctrl-p,ctrl-q. */
  detachKeys: string;
}

/**
 * Pumps our standard streams through an attached connection until its output ends.
 *
 * @throws {Detached}
 */
export async function pump(connection: Duplex, options: SessionOptions): Promise<void> {
  const detach = Promise.withResolvers<never>();
  const raw = options.tty && options.stdin && process.stdin.isTTY;
  using _mode = raw ? (await import('./terminal.ts')).rawMode() : { [Symbol.dispose]() {} };
  if (options.stdin)
    sendInput(connection, raw ? new DetachKeys(options.detachKeys) : undefined, () => detach.reject(new Detached()));
  else if (!options.tty) connection.end();
  // A connection that breaks while nothing is read from it must not be an uncaught error.
  connection.on('error', () => {});
  try {
    await Promise.race([copyOutput(connection, options.tty, options), detach.promise]);
  } finally {
    process.stdin.pause();
    connection.destroy();
  }
}

function sendInput(connection: Duplex, keys: DetachKeys | undefined, detached: () => void): void {
  const input = process.stdin;
  input.on('data', (typed: Buffer) => {
    const bytes = keys ? keys.filter(typed) : typed;
    if (bytes.length > 0 && connection.writable && !connection.write(bytes)) {
      input.pause();
      connection.once('drain', () => input.resume());
    }
    if (keys?.detached) detached();
  });
  // Half a close: the program sees the end of its input, and its output still comes.
  input.once('end', () => connection.end());
  input.once('error', () => connection.end());
}

const resizable = { containers: 'container', exec: 'exec' } as const;

/** Tells the engine our terminal's size now and whenever it changes, until disposed. */
export function followSize(client: Client, kind: keyof typeof resizable, id: string): Disposable {
  const send = () => {
    const { rows, columns } = process.stdout;
    if (!rows || !columns) return;
    // The program may be gone already, or not be there yet; the next change of size is another chance.
    client.json('POST', `/${kind}/${id}/resize`, { query: { h: rows, w: columns } }).catch(() => {});
  };
  send();
  process.stdout.on('resize', send);
  return {
    [Symbol.dispose]() {
      process.stdout.off('resize', send);
    },
  };
}

const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
];

/** Passes signals that we get on to the container, until disposed. */
export function proxySignals(client: Client, id: string): Disposable {
  const send = (signal: NodeJS.Signals) => {
    client.json('POST', `/containers/${id}/kill`, { query: { signal } }).catch(() => {});
  };
  for (const signal of forwarded) process.on(signal, send);
  return {
    [Symbol.dispose]() {
      for (const signal of forwarded) process.off(signal, send);
    },
  };
}
