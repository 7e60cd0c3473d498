import { type ClientHttp2Session, type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2';
import { type ErrorKind, TareError } from '../../../errors/index.ts';
import { messageBatches, wroteMessage } from './grpc-messages.ts';
import type { MessageStream } from './message-stream.ts';

/** An error that the other side told. */
export class CallFailed extends TareError {
  /** `google.rpc.Status` with what it says beside the message, in base64. */
  readonly status: string | undefined;

  constructor(kind: ErrorKind, message: string, status: string | undefined) {
    super(kind, message);
    this.status = status;
  }
}

/** gRPC status codes that say more than that something failed. */
const kindsOfStatus: Readonly<Record<number, ErrorKind>> = {
  3: 'InvalidArgument',
  5: 'NotFound',
  6: 'AlreadyExists',
  7: 'Forbidden',
  9: 'Conflict',
  12: 'Unsupported',
  14: 'Unavailable',
  16: 'Unauthorized',
};

/** Values of a header; several are sent as several fields. */
export type CallHeaders = Readonly<Record<string, string | readonly string[]>>;

/**
 * One call of gRPC to whoever serves it over a connection, as messages in bytes. Connect's own streams cost some microseconds a message,
 * and a folder of 50,000 files is 150,000 messages.
 *
 * Dispose it when done with it: a call that is not over is cancelled.
 */
export class GrpcCall implements MessageStream {
  readonly #stream: ClientHttp2Stream;
  readonly #path: string;
  readonly #status: Promise<IncomingHttpHeaders | undefined>;
  #isEnded = false;

  constructor(session: ClientHttp2Session, path: string, headers: CallHeaders = {}, signal?: AbortSignal) {
    this.#path = path;
    this.#stream = session.request(
      {
        ...(headers as Record<string, string | string[]>),
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      },
      { endStream: false, ...(signal && { signal }) },
    );
    this.#status = statusOf(this.#stream);
  }

  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#stream.destroyed || this.#stream.closed) throw await this.#failure();
    if (!(await wroteMessage(this.#stream, pieces))) throw await this.#failure();
  }

  /** Nothing more will be sent. */
  end(): void {
    if (!this.#isEnded && !this.#stream.destroyed) this.#stream.end();
    this.#isEnded = true;
  }

  /**
   * Messages as they come, those of one piece of the stream together.
   * @throws {TareError} what the other side says at its end, or Unavailable: it is gone
   */
  async *batches(): AsyncGenerator<Uint8Array[], void> {
    try {
      yield* messageBatches(this.#stream, this.#path);
    } catch (error) {
      if (error instanceof TareError) throw error;
      throw await this.#failure(error);
    }
    const failure = await this.#failureOrNone();
    if (failure) throw failure;
  }

  /** Reads to the end. @throws what the other side says there */
  async finish(): Promise<void> {
    for await (const _batch of this.batches());
  }

  [Symbol.dispose](): void {
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  async #failureOrNone(cause?: unknown): Promise<TareError | undefined> {
    const headers = await this.#status;
    if (headers === undefined)
      return new TareError(
        'Unavailable',
        `${this.#path}: the other side is gone`,
        cause === undefined ? {} : { cause },
      );
    const code = Number(headers['grpc-status']);
    if (code === 0) return undefined;
    const details = headers['grpc-status-details-bin'];
    return new CallFailed(
      kindsOfStatus[code] ?? 'Internal',
      messageIn(headers) || `${this.#path}: status ${code}`,
      typeof details === 'string' ? details : undefined,
    );
  }

  async #failure(cause?: unknown): Promise<TareError> {
    return (
      (await this.#failureOrNone(cause)) ??
      new TareError('Unavailable', `${this.#path}: the other side ended the call early`)
    );
  }
}

/** Calls a method that takes and gives one message. */
export async function callOnce(
  session: ClientHttp2Session,
  path: string,
  request: Uint8Array,
  { headers, signal }: { headers?: CallHeaders; signal?: AbortSignal } = {},
): Promise<Uint8Array> {
  using call = new GrpcCall(session, path, headers, signal);
  await call.send(request);
  call.end();
  let answer: Uint8Array | undefined;
  for await (const [message] of call.batches()) answer ??= message;
  if (answer === undefined) throw new TareError('Internal', `${path}: it was answered with nothing`);
  return answer;
}

/** The headers that tell the status, wherever they come; undefined: none came before the end. */
function statusOf(stream: ClientHttp2Stream): Promise<IncomingHttpHeaders | undefined> {
  return new Promise((resolve) => {
    const look = (headers: IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined) resolve(headers);
    };
    stream.on('response', look);
    stream.on('trailers', look);
    stream.on('error', () => {}); // 'close' follows
    stream.once('close', () => resolve(undefined));
  });
}

function messageIn(headers: IncomingHttpHeaders): string {
  const text = String(headers['grpc-message'] ?? '');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
