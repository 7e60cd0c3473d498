import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { TareError } from '../../../errors/index.ts';

/** Of one message; a folder's entries and pieces of files are far smaller. */
const MAX_MESSAGE_BYTES = 16 << 20;
/** A message's flag (compressed or not) and length. */
const PREFIX_BYTES = 5;

/**
 * Writes a message (gRPC over HTTP/2, "Length-Prefixed-Message") and waits until there is room for the next one.
 * @returns false: the stream was closed before there was room
 */
export async function wroteMessage(stream: Writable, pieces: readonly Uint8Array[]): Promise<boolean> {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(
    pieces.reduce((sum, piece) => sum + piece.length, 0),
    1,
  );
  stream.cork();
  let hasRoom = stream.write(prefix);
  for (const piece of pieces) if (piece.length > 0) hasRoom = stream.write(piece);
  stream.uncork();
  return hasRoom || !stream.writableNeedDrain || (await drained(stream));
}

async function drained(stream: Writable): Promise<boolean> {
  const closed = new AbortController();
  const onClose = () => closed.abort();
  stream.once('close', onClose);
  try {
    await once(stream, 'drain', { signal: closed.signal });
    return true;
  } catch {
    return false;
  } finally {
    stream.off('close', onClose);
  }
}

/**
 * The messages of a call as they come, those of one piece of its stream together.
 * @param path of the call, for messages
 * @throws {TareError} Unsupported: one is compressed; InvalidArgument: one is too long
 */
export async function* messageBatches(stream: Readable, path: string): AsyncGenerator<Uint8Array[], void> {
  const reader = new MessageReader(path);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const messages = reader.push(chunk);
    if (messages.length > 0) yield messages;
  }
}

/** Cuts a stream into messages. */
class MessageReader {
  readonly #path: string;
  readonly #prefix = Buffer.alloc(PREFIX_BYTES);
  #prefixLength = 0;
  #message: Buffer | undefined;
  #filled = 0;

  constructor(path: string) {
    this.#path = path;
  }

  push(chunk: Buffer): Uint8Array[] {
    const messages: Uint8Array[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#message === undefined) {
        const taken = Math.min(PREFIX_BYTES - this.#prefixLength, chunk.length - at);
        chunk.copy(this.#prefix, this.#prefixLength, at, at + taken);
        this.#prefixLength += taken;
        at += taken;
        if (this.#prefixLength < PREFIX_BYTES) break;
        const length = this.#length();
        this.#prefixLength = 0;
        if (chunk.length - at >= length) {
          // Whole in here: no copy.
          messages.push(chunk.subarray(at, at + length));
          at += length;
          continue;
        }
        this.#message = Buffer.allocUnsafe(length);
        this.#filled = 0;
      }
      const taken = Math.min(this.#message.length - this.#filled, chunk.length - at);
      chunk.copy(this.#message, this.#filled, at, at + taken);
      this.#filled += taken;
      at += taken;
      if (this.#filled === this.#message.length) {
        messages.push(this.#message);
        this.#message = undefined;
      }
    }
    return messages;
  }

  #length(): number {
    if (this.#prefix[0] !== 0)
      throw new TareError('Unsupported', `${this.#path}: messages come compressed, which nobody asked for`);
    const length = this.#prefix.readUInt32BE(1);
    if (length > MAX_MESSAGE_BYTES)
      throw new TareError(
        'InvalidArgument',
        `${this.#path}: a message of ${length} bytes; ${MAX_MESSAGE_BYTES} are the most`,
      );
    return length;
  }
}
