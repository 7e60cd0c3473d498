import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { BodyDecoder, type BulkSource, bodyState } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import { handleOf, plainDescriptor } from './socket-handle.ts';

/**
 * Whether a request's body can be read from the connection itself: there is one, in a form that is known, and it is not encrypted.
 */
export function isPlainUpload({ headers, socket }: IncomingMessage): boolean {
  if (plainDescriptor(socket) === undefined) return false;
  const coding = headers['transfer-encoding'];
  return coding === undefined ? /^[0-9]{1,15}$/.test(headers['content-length'] ?? '') : coding === 'chunked';
}

/** A request's body past the HTTP parser, which would take as long for it as all else. */
export class Upload implements BulkSource {
  readonly #socket: Socket;
  readonly #signal: AbortSignal;
  readonly #decoder: BodyDecoder;
  #isExpected: boolean;

  /** @param socket what came behind the headers is its first */
  constructor({ headers }: IncomingMessage, socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
    this.#isExpected = /^100-continue$/i.test(headers.expect ?? '');
    const isChunked = headers['transfer-encoding'] !== undefined;
    this.#decoder = new BodyDecoder(bodyState(isChunked ? undefined : Number(headers['content-length'])));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    if (this.#isExpected) this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    this.#isExpected = false;
    while (!this.#decoder.isAtEnd) {
      const piece = this.#socket.read() as Buffer | null;
      if (piece !== null) {
        const size = this.#decoder.decode(piece);
        if (size > 0) yield piece.subarray(0, size);
      } else if (this.#socket.readableEnded || this.#socket.destroyed) {
        throw new TareError('InvalidArgument', "the request's body ended early");
      } else await this.#more();
    }
  }

  /** Waits until there is something to read, or never will be. */
  async #more(): Promise<void> {
    const over = new AbortController();
    const happens = (event: string) => once(this.#socket, event, { signal: over.signal }).catch(() => undefined);
    await Promise.race([happens('readable'), happens('end'), happens('close')]);
    over.abort();
  }

  handOver(): ReturnType<NonNullable<BulkSource['handOver']>> {
    const pending = (this.#socket.read() as Buffer | null) ?? Buffer.alloc(0);
    const handle = handleOf(this.#socket);
    if (handle === undefined) throw new TareError('InvalidArgument', "the request's body ended early");
    // Reading the rest has started it again.
    handle.reading = false;
    handle.readStop();
    return { fd: handle.fd, state: this.#decoder.state, pending, signal: this.#signal };
  }
}
