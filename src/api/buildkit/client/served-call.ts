import { constants, type ServerHttp2Stream } from 'node:http2';
import { type ErrorKind, kindOf, messageOf, TareError } from '../../../errors/index.ts';
import { messageBatches, wroteMessage } from '../session/grpc-messages.ts';
import type { MessageStream } from '../session/message-stream.ts';

const UNKNOWN = 2;
const codes: Partial<Record<ErrorKind, number>> = {
  InvalidArgument: 3,
  NotFound: 5,
  AlreadyExists: 6,
  Forbidden: 7,
  Conflict: 9,
  Unsupported: 12,
  Unavailable: 14,
  Unauthorized: 16,
};

/** A call of gRPC that we serve. */
export class ServedCall implements MessageStream {
  readonly #stream: ServerHttp2Stream;
  readonly #path: string;
  #status: Record<string, string> = { 'grpc-status': '0' };

  constructor(stream: ServerHttp2Stream, path: string) {
    this.#stream = stream;
    this.#path = path;
    stream.on('error', () => {}); // 'close' follows
    stream.on('wantTrailers', () => stream.sendTrailers(this.#status));
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  }

  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    this.#mustBeThere();
    if (!(await wroteMessage(this.#stream, pieces))) throw this.#gone();
  }

  end(): void {
    if (!this.#stream.destroyed && !this.#stream.writableEnded) this.#stream.end();
  }

  /** Ends it with an error that the caller is told. */
  fail(error: unknown): void {
    this.#status = {
      'grpc-status': String(codes[kindOf(error)] ?? UNKNOWN),
      'grpc-message': encodeURIComponent(messageOf(error)),
    };
    this.end();
  }

  async *batches(): AsyncGenerator<Uint8Array[], void> {
    try {
      yield* messageBatches(this.#stream, this.#path);
    } catch (error) {
      throw error instanceof TareError ? error : this.#gone(error);
    }
  }

  /** The only message of a call that has one. */
  async message(): Promise<Uint8Array> {
    let first: Uint8Array | undefined;
    // To the end: who leaves a stream earlier ends it.
    for await (const [message] of this.batches()) first ??= message;
    if (first !== undefined) return first;
    throw new TareError('InvalidArgument', `${this.#path}: there was no request`);
  }

  [Symbol.dispose](): void {
    if (!this.#stream.closed && !this.#stream.writableEnded) this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #mustBeThere(): void {
    if (this.#stream.destroyed || this.#stream.closed) throw this.#gone();
  }

  #gone(cause?: unknown): TareError {
    return new TareError('Unavailable', `${this.#path}: the daemon is gone`, cause === undefined ? {} : { cause });
  }
}
