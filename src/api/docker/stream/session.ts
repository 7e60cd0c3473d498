import type { Duplex } from 'node:stream';
import type { AttachSession } from '../../../engine/index.ts';
import { frames } from './framing.ts';

/** How long a client may keep its half of the connection open after it got everything. */
const LINGER_MS = 10_000;

/**
 * Pumps bytes between a taken-over connection and an attached process until its output ends or the client is gone. The
 * client's end of input closes the process's input and leaves its output alone. Everything is written when this
 * resolves.
 */
export async function pumpSession(session: AttachSession, duplex: Duplex, stdin: boolean): Promise<void> {
  let disposed: PromiseLike<void> | undefined;
  const dispose = () => (disposed ??= session[Symbol.asyncDispose]());
  const gone = new Promise<void>((resolve) => {
    if (duplex.destroyed) resolve();
    else duplex.once('close', resolve);
  });
  void gone.then(dispose).catch(() => {});
  duplex.on('error', () => {}); // 'close' follows and ends the session
  if (stdin) forwardInput(duplex, session);
  else duplex.resume();
  try {
    const output = frames(session.output, ({ stream, chunk }) => ({ stream, payload: chunk }), !session.tty);
    for await (const chunk of output) {
      if (duplex.destroyed) break;
      if (!duplex.write(chunk)) await Promise.race([drained(duplex), gone]);
    }
  } finally {
    await dispose();
    await finish(duplex, gone);
  }
}

function forwardInput(duplex: Duplex, session: AttachSession): void {
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
  duplex.once('end', () => void written.then(() => session.closeStdin()));
}

function drained(duplex: Duplex): Promise<void> {
  return new Promise((resolve) => duplex.once('drain', resolve));
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
