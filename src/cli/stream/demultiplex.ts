import { TareError } from '../../errors/index.ts';

export type StreamName = 'stdin' | 'stdout' | 'stderr' | 'system';
const names: readonly StreamName[] = ['stdin', 'stdout', 'stderr', 'system'];

/**
 * Takes docker's multiplexed stream apart: frames of one byte stream number, three zeros, four bytes length (big endian), payload.
 * Payloads are passed on as they come, in views of what was fed; a frame is never held whole.
 */
export class Demultiplexer {
  readonly #take: (stream: StreamName, bytes: Uint8Array) => void;
  readonly #header = Buffer.alloc(8);
  #headerBytes = 0;
  #stream: StreamName = 'stdout';
  #left = 0;

  constructor(take: (stream: StreamName, bytes: Uint8Array) => void) {
    this.#take = take;
  }

  /** @throws {TareError} Unavailable: not a multiplexed stream */
  feed(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const part = bytes.subarray(at, at + this.#left);
        this.#left -= part.length;
        at += part.length;
        this.#take(this.#stream, part);
        continue;
      }
      const part = bytes.subarray(at, at + 8 - this.#headerBytes);
      this.#header.set(part, this.#headerBytes);
      this.#headerBytes += part.length;
      at += part.length;
      if (this.#headerBytes === 8) this.#begin();
    }
  }

  /** @throws {TareError} Unavailable: the stream ended inside a frame */
  finish(): void {
    if (this.#left > 0 || this.#headerBytes > 0)
      throw new TareError('Unavailable', 'the output was cut off in the middle; the daemon may have stopped');
  }

  #begin(): void {
    const stream = names[this.#header[0]!];
    if (stream === undefined || this.#header[1] !== 0 || this.#header[2] !== 0 || this.#header[3] !== 0)
      throw new TareError(
        'Unavailable',
        `unrecognised stream frame ${this.#header.toString('hex')}: the engine sent raw output where frames were expected`,
      );
    this.#stream = stream;
    this.#left = this.#header.readUInt32BE(4);
    this.#headerBytes = 0;
  }
}
