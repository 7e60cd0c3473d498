import { duplicate, OpenFile } from '../../linux/index.ts';
import { runInThread } from '../worker.ts';
import type { BodyState } from './body-decoder.ts';
import type { ExtractOptions } from './extract.ts';

/** A connected stream socket on which the rest of a body comes. Whoever else holds it must not read meanwhile. */
export interface SocketSource {
  /** Stays the caller's. */
  fd: number;
  /** How far the body was decoded. */
  state: BodyState;
  /** What was read of the socket since, not decoded. */
  pending: Uint8Array;
  signal: AbortSignal;
}

export interface ReceiveRequest {
  rootFd: number;
  socket: number;
  state: BodyState;
  /** Decoded, before all else. */
  begun: Uint8Array;
  pending: Uint8Array;
  options: Pick<ExtractOptions, 'into' | 'owner' | 'noOverwriteDirNonDir'>;
  /** Not 0: stop. */
  aborted: Int32Array;
}

/**
 * Unpacks an archive that comes on a socket, in a thread of its own: the bytes come nowhere else in this process, and what cannot be
 * written yet waits at its sender. The body is read to its end, unless the archive is refused.
 *
 * @param begun the archive's first bytes
 * @throws {TareError} as extractInto does; InvalidArgument: the body is malformed, or ends early; Internal: the signal was aborted
 */
export async function receiveTree(
  rootFd: number,
  begun: Uint8Array,
  source: SocketSource,
  options: ReceiveRequest['options'],
): Promise<void> {
  const { state, pending, signal } = source;
  signal.throwIfAborted();
  const aborted = new Int32Array(new SharedArrayBuffer(4));
  const abort = () => void Atomics.store(aborted, 0, 1);
  // Whoever holds the socket may close it meanwhile, and its number be another file's.
  using socket = new OpenFile(duplicate(source.fd));
  signal.addEventListener('abort', abort);
  try {
    const request: ReceiveRequest = { rootFd, socket: socket.fd, state, begun, pending, options, aborted };
    await runInThread('archive', { type: 'receive', request });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
