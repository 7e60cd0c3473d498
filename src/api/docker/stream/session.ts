import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { AttachSession } from '../../../engine/index.ts';
import { frames } from './framing.ts';

/** How long a client may keep its half of the connection open after it got everything. */
const LINGER_MS = 10_000;

export interface PumpOptions {
  /** The client's bytes are the process's input. */
  stdin: boolean;
  /** Tell standard output and standard error apart. */
  multiplex: boolean;
  /** The client cannot end its input and go on reading: at its end it is gone. */
  endsWhole?: boolean;
  /** What is written for a piece of output; the piece itself by default. */
  encode?: (chunk: Uint8Array) => Uint8Array | string;
}

/**
 * Pumps bytes between a taken-over connection and an attached process until its output ends or the client is gone. The
 * client's end of input closes the process's input and leaves its output alone. Everything is written when this
 * resolves.
 */
export async function pumpSession(
  session: AttachSession,
  duplex: Duplex,
  { stdin, multiplex, endsWhole = false, encode = (chunk) => chunk }: PumpOptions,
): Promise<void> {
  let disposed: PromiseLike<void> | undefined;
  const dispose = () => (disposed ??= session[Symbol.asyncDispose]());
  const gone = new Promise<void>((resolve) => {
    if (duplex.destroyed) resolve();
    else duplex.once('close', resolve);
  });
  void gone.then(dispose).catch(() => {});
  duplex.on('error', () => {}); // 'close' follows and ends the session
  const written = stdin ? forwardInput(duplex, session) : undefined;
  if (!stdin) duplex.resume();
  duplex.once('end', async () => {
    await written?.();
    if (stdin) session.closeStdin();
    if (endsWhole) duplex.destroy();
  });
  try {
    const output = frames(
      session.output,
      ({ stream, chunk, release }) => ({ stream, payload: chunk, release }),
      multiplex,
    );
    // What is no socket passes on what it is given, and no copy.
    const reuse = duplex instanceof Socket ? output.reuse : undefined;
    for await (const chunk of output) {
      if (duplex.destroyed) break;
      const encoded = encode(chunk);
      if (encoded.length > 0 && !duplex.write(encoded, () => reuse?.(chunk))) await drained(duplex);
    }
  } finally {
    await dispose();
    await finish(duplex, gone);
  }
}

/** @returns the moment when all that came so far is the process's */
function forwardInput(duplex: Duplex, session: AttachSession): () => Promise<void> {
  // A socket tells of its end even while paused, so the end waits for what was read before it.
  let written: Promise<void> = Promise.resolve();
  duplex.on('data', (chunk: Uint8Array) => {
    duplex.pause();
    written = session.write(chunk).then(
      () => void duplex.resume(),
      // The process closed its input: what still comes is read and dropped, so that its output can end.
      () => void duplex.removeAllListeners('data').resume(),
    );
  });
  return () => written;
}

/** Resolves when the client has taken what was written, or is gone. */
function drained(duplex: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      duplex.off('drain', done).off('close', done);
      resolve();
    };
    if (duplex.destroyed) resolve();
    else duplex.once('drain', done).once('close', done);
  });
}

/** Ends our half, then waits for the client's: closing with unread input would reset the connection and lose output. */
async function finish(duplex: Duplex, gone: Promise<void>): Promise<void> {
  if (duplex.destroyed) return;
  duplex.end();
  duplex.removeAllListeners('data').resume();
  const timer = setTimeout(() => duplex.destroy(), LINGER_MS).unref();
  const ended = new Promise<void>((resolve) => {
    if (duplex.readableEnded) resolve();
    else duplex.once('end', resolve);
  });
  const finished = new Promise<void>((resolve) => {
    if (duplex.writableFinished) resolve();
    else duplex.once('finish', resolve);
  });
  await Promise.race([Promise.all([ended, finished]), gone]);
  clearTimeout(timer);
  duplex.destroy();
}
