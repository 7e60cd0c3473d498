import { StreamSocket } from '../../linux/index.ts';
import { endOfArchive } from '../tar/index.ts';
import { packTree, type Room } from './pack.ts';
import type { SendRequest } from './send-tree.ts';

const BLOCK_BYTES = 1024 * 1024;
/** A file's bytes are not read in pieces smaller than this, if it has so many. */
const LEAST_ROOM = 64 * 1024;
/** A block's length in hexadecimal and a line's end. */
const HEAD_BYTES = 16;
const END = Buffer.from('\r\n');

/**
 * Gathers an archive in one block of memory that is used again and again: files' bytes are read to where they are sent from.
 */
class BlockWriter {
  readonly #socket: StreamSocket;
  readonly #isChunked: boolean;
  readonly #memory = Buffer.allocUnsafeSlow(HEAD_BYTES + BLOCK_BYTES + END.length);
  readonly #block = this.#memory.subarray(HEAD_BYTES, HEAD_BYTES + BLOCK_BYTES);
  #filled = 0;

  constructor(socket: StreamSocket, isChunked: boolean) {
    this.#socket = socket;
    this.#isChunked = isChunked;
  }

  readonly room: Room = (sizeBytes) => {
    if (BLOCK_BYTES - this.#filled < Math.min(sizeBytes, LEAST_ROOM)) this.flush();
    return this.#block.subarray(this.#filled, Math.min(BLOCK_BYTES, this.#filled + sizeBytes));
  };

  /** Takes a piece: one that lies in the room that was given last stays there, others are copied. */
  take(piece: Buffer): void {
    if (piece.buffer !== this.#memory.buffer) {
      // Headers with attributes may be longer than a block.
      for (let rest = piece; rest.length > 0; ) {
        if (this.#filled === BLOCK_BYTES) this.flush();
        const copied = rest.copy(this.#block, this.#filled);
        this.#filled += copied;
        rest = rest.subarray(copied);
      }
    } else this.#filled += piece.length;
    if (this.#filled === BLOCK_BYTES) this.flush();
  }

  flush(): void {
    if (this.#filled === 0) return;
    const end = HEAD_BYTES + this.#filled;
    if (this.#isChunked) {
      // RFC 9112, section 7.1.
      const head = `${this.#filled.toString(16)}\r\n`;
      this.#memory.write(head, HEAD_BYTES - head.length, 'latin1');
      END.copy(this.#memory, end);
      this.#socket.write(this.#memory.subarray(HEAD_BYTES - head.length, end + END.length));
    } else this.#socket.write(this.#memory.subarray(HEAD_BYTES, end));
    this.#filled = 0;
  }
}

/** See sendTree; in a thread of its own. */
export function sendTreeHere({ fd, name, path, socket, isChunked, aborted }: SendRequest): void {
  const writer = new BlockWriter(new StreamSocket(socket, () => Atomics.load(aborted, 0) !== 0), isChunked);
  for (const piece of packTree(fd, name, path, writer.room)) writer.take(piece);
  writer.take(endOfArchive());
  writer.flush();
}
