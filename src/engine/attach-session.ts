import type { AttachStream } from '../runtime/index.ts';
import { DetachScanner, parseDetachKeys } from './detach-keys.ts';
import type { AttachSession } from './types.ts';

type Output = AttachSession['output'];

export interface SessionOptions {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** docker's grammar; '' the default. Looked for on a terminal only, as docker does. */
  detachKeys: string;
  /**
   * Leave the connection to the monitor open when a client without input leaves: the monitor would take its going for the end of the
   * container's input (StdinOnce).
   */
  lingers?: boolean;
  /** Yielded before the stream's own output. */
  before?: Output;
  /** The output does not end before this, unless the client leaves. */
  after?: Promise<unknown>;
  /** Called when the output begins; disposed when the last of it was passed on. */
  onFlow?: () => Disposable;
  /** The client pressed the detach keys; it leaves when this is done, or has failed. */
  onDetach?: () => Promise<void>;
}

/**
 * A client's session on a stream, or on one still to come.
 *
 * @param stream resolves with undefined when nothing will ever come
 * @throws {TareError} InvalidArgument: the detach keys
 */
export function attachSession(
  stream: AttachStream | Promise<AttachStream | undefined>,
  options: SessionOptions,
): AttachSession {
  const scanner = options.tty && options.stdin ? new DetachScanner(parseDetachKeys(options.detachKeys)) : undefined;
  const connected = Promise.resolve(stream);
  connected.catch(() => undefined); // shown to whoever reads the output
  const left = Promise.withResolvers<undefined>();
  const leave = async (): Promise<void> => {
    left.resolve(undefined);
    const open = await connected.catch(() => undefined);
    if (open === undefined) return;
    if (options.lingers === true && !options.stdin) open.abandon();
    else await open[Symbol.asyncDispose]();
  };
  return {
    tty: options.tty,
    output: sessionOutput(connected, left.promise, options),
    async write(chunk) {
      if (!options.stdin) return;
      const found = scanner?.scan(chunk);
      const pass = found?.pass ?? chunk;
      if (pass.length > 0) await (await connected.catch(() => undefined))?.write(pass);
      if (found?.detached !== true) return;
      try {
        await options.onDetach?.();
      } finally {
        await leave();
      }
    },
    closeStdin() {
      if (options.stdin)
        void connected.then(
          (open) => open?.closeStdin(),
          () => undefined,
        );
    },
    [Symbol.asyncDispose]: leave,
  };
}

async function* sessionOutput(
  connected: Promise<AttachStream | undefined>,
  left: Promise<undefined>,
  options: SessionOptions,
): Output {
  if (options.before !== undefined) yield* options.before;
  const open = await Promise.race([connected, left]);
  if (open === undefined) return;
  using _flow = options.onFlow?.();
  for await (const piece of open.output) {
    if (piece.stream === 'stdout' ? options.stdout : options.stderr) yield piece;
  }
  await Promise.race([options.after, left]);
}
