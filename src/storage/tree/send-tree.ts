import { type ByteString, duplicate, OpenFile } from '../../linux/index.ts';
import { runInThread } from '../worker.ts';

/** A connected stream socket to which bytes are written past whatever else holds it, which must not write meanwhile. */
export interface SocketTarget {
  /** Stays the caller's. */
  fd: number;
  /** In blocks with their lengths before them (RFC 9112, section 7.1), without the last, empty one. */
  isChunked: boolean;
}

export interface SendRequest {
  fd: number;
  name: ByteString;
  path: ByteString;
  socket: number;
  isChunked: boolean;
  /** Not 0: stop. */
  aborted: Int32Array;
}

/**
 * Writes an archive of a tree to a socket, from a thread of its own: the bytes come nowhere else in this process, and what the other
 * end does not read waits in the tree.
 *
 * @param fd the folder of the name, open until this is done
 * @param path the name's own in the archive
 * @throws {SyscallError} as packTree does
 * @throws {TareError} Internal: the other end is gone, or the signal was aborted
 */
export async function sendTree(
  { fd, name, path }: Pick<SendRequest, 'fd' | 'name' | 'path'>,
  target: SocketTarget,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const aborted = new Int32Array(new SharedArrayBuffer(4));
  const abort = () => void Atomics.store(aborted, 0, 1);
  // Whoever holds the socket may close it meanwhile, and its number be another file's.
  using socket = new OpenFile(duplicate(target.fd));
  signal.addEventListener('abort', abort);
  try {
    const request: SendRequest = { fd, name, path, socket: socket.fd, isChunked: target.isChunked, aborted };
    await runInThread('archive', { type: 'send', request });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
