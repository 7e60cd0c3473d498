/** A piece of output on its way to a client. */
export interface Frame {
  stream: 'stdout' | 'stderr';
  /** Put before the payload inside the same frame (a log line's time). */
  prefix?: Uint8Array;
  payload: Uint8Array;
}

const HEADER_BYTES = 8;
const BATCH_BYTES = 256 * 1024;

/**
 * Turns output into the bytes of docker's stream, raw or multiplexed (8-byte header: stream, three zeros, big-endian
 * size). Frames that are ready at the same time leave as one chunk, because a write a line costs more than its bytes.
 * At most one batch (256 KiB and the last frame) is held while the reader does not read.
 */
export async function* frames<T>(
  source: AsyncIterable<T>,
  toFrame: (item: T) => Frame,
  multiplex: boolean,
): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let batch: Frame[] = [];
  let batchBytes = 0;
  let ended = false;
  let failure: { error: unknown } | undefined;
  let wakeReader = () => {};
  let wakeSource = () => {};

  const collect = async () => {
    try {
      for (;;) {
        const next = await iterator.next();
        if (next.done) return;
        const frame = toFrame(next.value);
        // What else is ready now joins the batch before the event loop turns.
        if (batch.push(frame) === 1) setImmediate(() => wakeReader());
        batchBytes += HEADER_BYTES + (frame.prefix?.byteLength ?? 0) + frame.payload.byteLength;
        if (batchBytes >= BATCH_BYTES) {
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
      if (batch.length === 0 && !ended) {
        const { promise, resolve } = Promise.withResolvers<void>();
        wakeReader = resolve;
        await promise;
        continue;
      }
      if (batch.length === 0) break;
      const ready = batch;
      batch = [];
      batchBytes = 0;
      wakeSource();
      yield join(ready, multiplex);
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

function join(batch: readonly Frame[], multiplex: boolean): Uint8Array {
  const header = multiplex ? HEADER_BYTES : 0;
  let size = 0;
  for (const frame of batch) size += header + (frame.prefix?.byteLength ?? 0) + frame.payload.byteLength;
  const joined = Buffer.allocUnsafe(size);
  let offset = 0;
  for (const { stream, prefix, payload } of batch) {
    if (multiplex) {
      joined.writeUInt32BE(stream === 'stdout' ? 0x01000000 : 0x02000000, offset);
      joined.writeUInt32BE((prefix?.byteLength ?? 0) + payload.byteLength, offset + 4);
      offset += HEADER_BYTES;
    }
    if (prefix) {
      joined.set(prefix, offset);
      offset += prefix.byteLength;
    }
    joined.set(payload, offset);
    offset += payload.byteLength;
  }
  return joined;
}
