import type { ApiBody } from '../messages.ts';

/** A piece of output on its way to a client. */
export interface Frame {
  stream: 'stdout' | 'stderr';
  /** Put before the payload inside the same frame (a log line's time). */
  prefix?: Uint8Array;
  payload: Uint8Array;
  /** Called when the payload was copied. */
  release?: (() => void) | undefined;
}

const HEADER_BYTES = 8;
const BATCH_BYTES = 256 * 1024;
const nothing: Buffer = Buffer.allocUnsafeSlow(0);

/**
 * Turns output into the bytes of docker's stream, raw or multiplexed (8-byte header: stream, three zeros, big-endian
 * size). Frames that are ready at the same time leave as one chunk, because a write a line costs more than its bytes.
 * At most one batch (256 KiB and the last frame) is held while the reader does not read.
 *
 * @param source what it yields is copied before the next is asked for
 */
export function frames<T>(source: AsyncIterable<T>, toFrame: (item: T) => Frame, multiplex: boolean): Frames {
  const batch = new Batch(multiplex);
  return {
    [Symbol.asyncIterator]: () => batches(source, toFrame, batch),
    reuse: (chunk) => batch.reuse(chunk),
  };
}

export type Frames = AsyncIterable<Uint8Array> & Required<Pick<ApiBody, 'reuse'>>;

async function* batches<T>(
  source: AsyncIterable<T>,
  toFrame: (item: T) => Frame,
  batch: Batch,
): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let ended = false;
  let failure: { error: unknown } | undefined;
  let wakeReader = () => {};
  let wakeSource = () => {};

  const collect = async () => {
    try {
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        // What else is ready now joins the batch before the event loop turns.
        if (batch.bytes === 0) setImmediate(() => wakeReader());
        batch.add(toFrame(next.value));
        if (batch.bytes >= BATCH_BYTES) {
          const { promise, resolve } = Promise.withResolvers<void>();
          wakeSource = resolve;
          wakeReader();
          await promise;
        }
        if (ended) return;
      }
    } catch (error) {
      failure = { error };
    } finally {
      ended = true;
      wakeReader();
    }
  };

  const collecting = collect();
  try {
    for (;;) {
      if (batch.bytes === 0 && !ended) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wakeReader = resolve;
        await promise;
        continue;
      }
      if (batch.bytes === 0) break;
      const ready = batch.take();
      wakeSource();
      yield ready;
    }
    await collecting;
    if (failure) throw failure.error;
  } finally {
    if (!ended) {
      // The reader left: a source that waits for output is ended by its owner, so nobody waits for it here.
      ended = true;
      wakeSource();
      iterator.return?.()?.catch(() => {});
    }
  }
}

/**
 * Frames behind one another. Its memory goes round where a reader gives it back: the collector takes each new block for a
 * reason to walk the whole heap soon, which costs more than to frame and to write what is in it.
 */
class Batch {
  /** Of the frames that wait. */
  bytes = 0;
  readonly #headerBytes: number;
  #block = nothing;
  #spare = nothing;
  #lastBytes = 0;

  constructor(multiplex: boolean) {
    this.#headerBytes = multiplex ? HEADER_BYTES : 0;
  }

  add({ stream, prefix, payload, release }: Frame): void {
    const payloadBytes = (prefix?.byteLength ?? 0) + payload.byteLength;
    this.#makeRoom(this.#headerBytes + payloadBytes);
    if (this.#headerBytes > 0) {
      this.#block.writeUInt32BE(stream === 'stdout' ? 0x01000000 : 0x02000000, this.bytes);
      this.#block.writeUInt32BE(payloadBytes, this.bytes + 4);
      this.bytes += this.#headerBytes;
    }
    if (prefix) {
      this.#block.set(prefix, this.bytes);
      this.bytes += prefix.byteLength;
    }
    this.#block.set(payload, this.bytes);
    this.bytes += payload.byteLength;
    release?.();
  }

  /** What waits; it is the caller's, until given back. */
  take(): Uint8Array {
    const ready = this.#block.subarray(0, this.bytes);
    this.#lastBytes = this.bytes;
    this.bytes = 0;
    this.#block = this.#spare;
    this.#spare = nothing;
    return ready;
  }

  reuse({ buffer }: Uint8Array): void {
    if (buffer.byteLength > this.#spare.length) this.#spare = Buffer.from(buffer);
  }

  #makeRoom(bytes: number): void {
    const wanted = this.bytes + bytes;
    if (wanted <= this.#block.length) return;
    // Of its own, not in a pool with others'.
    const larger = Buffer.allocUnsafeSlow(Math.max(wanted, 2 * this.#block.length, this.#lastBytes));
    larger.set(this.#block.subarray(0, this.bytes));
    this.#block = larger;
  }
}
