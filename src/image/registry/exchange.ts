import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RegistryLimits } from './limits.ts';

export interface RequestBody {
  sizeBytes: number;
  /** Asked again when the request is sent again. */
  bytes(): AsyncIterable<Uint8Array>;
  /** Bytes of this body that went to the connection so far. */
  onSent?(sentBytes: number): void;
}

export interface WireRequest {
  method: string;
  url: URL;
  /** Under which certificates for this host are configured, `host[:port]`. */
  domain: string;
  headers: Record<string, string>;
  body?: RequestBody | undefined;
  /** Certificates are not checked. */
  isInsecure: boolean;
  signal?: AbortSignal | undefined;
}

/** Nothing came in time, or not enough; the message says of what. */
export class TimedOut extends Error {
  readonly code = 'ETIMEDOUT';
}

/** What a request's body comes from failed: `cause` says how. It is not the registry's fault. */
export class BodyFailed extends Error {}

/** One request on its way, up to the answer's head. */
export class Sending {
  readonly #sent: ClientRequest;
  readonly #request: WireRequest;
  readonly #limits: RegistryLimits;
  #connecting: NodeJS.Timeout | undefined;
  #waiting: NodeJS.Timeout | undefined;
  #isConnected = false;
  #isWritten = false;
  #isAnswered = false;
  #waitedMs = 0;

  constructor(sent: ClientRequest, request: WireRequest, limits: RegistryLimits) {
    this.#sent = sent;
    this.#request = request;
    this.#limits = limits;
  }

  /** @throws `TimedOut`, what sockets throw, or the signal's reason */
  async answer(): Promise<WireResponse> {
    const { signal } = this.#request;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const abort = () => this.#sent.destroy(signal!.reason as Error);
    const release = () => signal?.removeEventListener('abort', abort);
    this.#sent.once('response', (response) => {
      this.#isAnswered = true;
      resolve(response);
    });
    // Errors after the answer's head are the body's to report.
    this.#sent.on('error', reject);
    this.#sent.once('close', () => reject(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })));
    const { connectTimeoutMs } = this.#limits;
    this.#connecting = setTimeout(
      () => this.#sent.destroy(new TimedOut(`no connection within ${connectTimeoutMs / 1000} s`)),
      connectTimeoutMs,
    );
    this.#sent.once('socket', (socket) => this.#onceConnected(socket));
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    // An answer may come before the body has gone: then the rest of it stays here.
    this.#write().catch((error: unknown) => {
      reject(error instanceof TimedOut ? error : new BodyFailed('the source of a request failed', { cause: error }));
      this.#sent.destroy();
    });
    try {
      const response = new WireResponse(this.#request, this.#sent, await promise, this.#limits, release);
      if (response.isEmpty) await response.bytes(0);
      return response;
    } catch (error) {
      release();
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(this.#connecting);
      clearTimeout(this.#waiting);
    }
  }

  #onceConnected(socket: Socket & { encrypted?: boolean; secureConnecting?: boolean }): void {
    const connected = () => {
      clearTimeout(this.#connecting);
      this.#isConnected = true;
      this.#awaitHead();
    };
    if (socket.encrypted === true && socket.secureConnecting === true) socket.once('secureConnect', connected);
    else if (socket.connecting) socket.once('connect', connected);
    else connected();
  }

  #awaitHead(): void {
    if (!this.#isConnected || !this.#isWritten || this.#isAnswered) return;
    this.#within(this.#limits.headersTimeoutMs, 'no answer');
  }

  #within(ms: number, what: string): void {
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#sent.destroy(new TimedOut(`${what} within ${ms / 1000} s`)), ms);
  }

  async #write(): Promise<void> {
    const { body } = this.#request;
    const { progressWindowMs, progressBytes } = this.#limits;
    let sentBytes = 0;
    let windowBytes = 0;
    if (body !== undefined) {
      for await (const chunk of body.bytes()) {
        if (this.#sent.destroyed || this.#isAnswered) return;
        if (!this.#sent.write(chunk)) await this.#drained();
        sentBytes += chunk.byteLength;
        windowBytes += chunk.byteLength;
        if (this.#waitedMs >= progressWindowMs) {
          if (windowBytes < progressBytes)
            throw new TimedOut(`only ${windowBytes} bytes went within ${progressWindowMs / 1000} s`);
          this.#waitedMs = 0;
          windowBytes = 0;
        }
        body.onSent?.(sentBytes);
      }
      if (sentBytes !== body.sizeBytes) {
        throw new Error(`the source of an upload gave ${sentBytes} bytes instead of ${body.sizeBytes}`);
      }
    }
    this.#sent.end();
    this.#isWritten = true;
    this.#awaitHead();
  }

  /** Waits until the connection takes more. A registry that takes too little is given up, as one that sends too little. */
  async #drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const events = ['drain', 'close', 'response'];
    for (const event of events) this.#sent.once(event, resolve);
    if (this.#isConnected) this.#within(this.#limits.idleTimeoutMs, 'the other side took no bytes');
    const asked = performance.now();
    await promise;
    this.#waitedMs += performance.now() - asked;
    clearTimeout(this.#waiting);
    for (const event of events) this.#sent.off(event, resolve);
  }
}

/** An answer's head, and its body once. Disposing it frees the connection: for the next request if the body was read. */
export class WireResponse implements Disposable {
  readonly url: URL;
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly signal: AbortSignal | undefined;
  readonly #message: IncomingMessage;
  readonly #limits: RegistryLimits;
  readonly #release: () => void;
  readonly #isHead: boolean;
  readonly #sent: ClientRequest;

  constructor(
    { url, method, signal }: WireRequest,
    sent: ClientRequest,
    message: IncomingMessage,
    limits: RegistryLimits,
    release: () => void,
  ) {
    this.url = url;
    this.#isHead = method === 'HEAD';
    this.status = message.statusCode ?? 0;
    this.headers = message.headers;
    this.#message = message;
    this.#limits = limits;
    this.signal = signal;
    this.#sent = sent;
    this.#release = release;
    message.once('close', release);
    // Whoever reads gets it from the iterator; when nobody reads it must not end the process.
    message.on('error', () => {});
  }

  /** A header's text; several are joined as HTTP says. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Whether there is no body to wait for. */
  get isEmpty(): boolean {
    return this.#isHead || this.status === 204 || this.header('content-length') === '0';
  }

  /** @throws `TimedOut`: nothing came, or too little; what sockets throw; the signal's reason */
  async *body(): AsyncGenerator<Uint8Array, void, void> {
    const { idleTimeoutMs, progressWindowMs, progressBytes } = this.#limits;
    const seconds = (ms: number) => ms / 1000;
    let isWaiting = false;
    const timer = setTimeout(() => {
      if (isWaiting) this.#message.destroy(new TimedOut(`nothing more came within ${seconds(idleTimeoutMs)} s`));
    }, idleTimeoutMs);
    const chunks = this.#message[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    let waitedMs = 0;
    let windowBytes = 0;
    try {
      while (true) {
        timer.refresh();
        isWaiting = true;
        const asked = performance.now();
        const { done, value } = await chunks.next();
        isWaiting = false;
        if (done === true) break;
        // Only time spent waiting here counts, so that a slow reader is not taken for a slow registry.
        waitedMs += performance.now() - asked;
        windowBytes += value.length;
        if (waitedMs >= progressWindowMs) {
          if (windowBytes < progressBytes) {
            throw new TimedOut(`only ${windowBytes} bytes came within ${seconds(progressWindowMs)} s`);
          }
          waitedMs = 0;
          windowBytes = 0;
        }
        yield value;
      }
      // Node ends the iteration without an error when a body without a length is cut.
      if (!this.#message.complete) throw Object.assign(new Error('the connection was cut'), { code: 'ECONNRESET' });
      // The agent takes the connection back a moment later; whoever asks at once should find it there.
      await nextTurn();
    } catch (error) {
      this.signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      this[Symbol.dispose]();
    }
  }

  /** The whole body. @returns undefined: it is larger than `limitBytes`; then no more of it is read */
  async bytes(limitBytes: number): Promise<Buffer | undefined> {
    if (!this.#isHead && Number(this.header('content-length') ?? 0) > limitBytes) {
      this[Symbol.dispose]();
      return undefined;
    }
    const chunks: Uint8Array[] = [];
    let total = 0;
    for await (const chunk of this.body()) {
      total += chunk.byteLength;
      if (total > limitBytes) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  [Symbol.dispose](): void {
    this.#release();
    // A connection that waits for the rest of a request would wait for ever.
    if (!this.#sent.writableFinished) this.#sent.destroy();
    if (this.#message.readableEnded) return;
    if (this.#message.complete) this.#message.resume();
    else this.#message.destroy();
  }
}
