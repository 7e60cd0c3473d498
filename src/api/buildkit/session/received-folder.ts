import type { PackedEntry, SentEntry, SentFolder } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import type { MessageStream } from './message-stream.ts';
import { decodePacket, decodeStat, encodeShort, type Packet, PacketType, statIn } from './packet.ts';

/** What may lie here unread before the client has to wait; more only while somebody waits for what comes behind it. */
const BUFFERED_BYTES = 8 << 20;
const BUFFERED_ENTRIES = 16_384;
/** What one folder may lie with at most: a reader that takes nothing while others wait breaks the transfer. */
const MAX_BUFFERED_BYTES = 256 << 20;
/** What an entry takes beside its texts. */
const ENTRY_BYTES = 200;
const SLAB_BYTES = 64 * 1024;
/** How long a client may take to say that it has seen the end. */
const FAREWELL_MS = 2_000;

/** A folder that a client sends by fsutil's protocol, over a call of `FileSync.DiffCopy`. */
export class ReceivedFolder implements SentFolder {
  readonly entries: AsyncIterable<SentEntry>;
  readonly packed: NonNullable<SentFolder['packed']>;
  readonly #call: MessageStream;
  readonly #entries = new Inbox<PackedEntry>(() => this.#wake(), sizeOf);
  readonly #slab = new Slab();
  /** Contents asked for and not yet read to their ends. */
  readonly #files = new Map<number, Inbox<Uint8Array>>();
  readonly #pumped: Promise<void>;
  #buffered = 0;
  #resume: (() => void) | undefined;
  #failure: unknown;
  #isDone = false;
  readonly #farewell = Promise.withResolvers<void>();

  constructor(call: MessageStream) {
    this.#call = call;
    this.packed = { kind: 'fsutil', batches: this.#batches() };
    this.entries = unpacked(this.packed.batches);
    this.#pumped = this.#pump();
  }

  async *#batches(): AsyncGenerator<readonly PackedEntry[], void> {
    for (let batch = await this.#entries.all(); batch.length > 0; batch = await this.#entries.all()) yield batch;
  }

  async *read(index: number): AsyncGenerator<Uint8Array, void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#files.has(index)) throw new TareError('Internal', `entry ${index} is being read already`);
    const inbox = new Inbox<Uint8Array>(() => this.#wake());
    this.#files.set(index, inbox);
    try {
      await this.#call.send(encodeShort(PacketType.REQ, index));
      for await (const piece of inbox) {
        this.#buffered -= piece.length;
        this.#wake();
        yield piece;
      }
    } finally {
      this.#buffered -= inbox.drop().reduce((sum, piece) => sum + piece.length, 0);
      this.#wake();
      // What still comes of it is thrown away.
      this.#files.delete(index);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const isWhole = this.#entries.isClosed && this.#files.size === 0 && this.#failure === undefined;
    if (isWhole && !this.#isDone) {
      try {
        await this.#call.send(encodeShort(PacketType.FIN, 0));
      } catch {
        // gone: nothing to say farewell to
      }
    }
    this.#isDone = true;
    this.#wake();
    if (isWhole) {
      const late = new Promise<void>((resolve) => setTimeout(resolve, FAREWELL_MS).unref());
      // It says farewell as well, and ends the call, for both of which the call must be there.
      await Promise.race([this.#farewell.promise, this.#pumped, late]);
      this.#call.end();
      await Promise.race([this.#pumped, late]);
    }
    this.#call[Symbol.dispose]();
    await this.#pumped;
  }

  async #pump(): Promise<void> {
    try {
      for await (const batch of this.#call.batches()) {
        for (const message of batch) {
          const stat = statIn(message);
          if (stat === undefined) this.#take(decodePacket(message));
          else this.#name(stat);
        }
        if (this.#mustWait()) await new Promise<void>((resolve) => (this.#resume = resolve));
      }
      throw new TareError('Unavailable', 'the client ended before its folder was sent');
    } catch (error) {
      this.#failure = error;
      this.#entries.close(error);
      for (const file of this.#files.values()) file.close(error);
    }
  }

  #take({ type, stat, id, data }: Packet): void {
    if (type === PacketType.STAT) {
      if (stat) this.#name(stat);
      else this.#entries.close();
    } else if (type === PacketType.DATA) {
      const file = this.#files.get(id);
      if (data.length === 0) file?.close();
      else if (file) {
        this.#buffered += data.length;
        if (this.#buffered > MAX_BUFFERED_BYTES)
          throw new TareError('Internal', 'contents of a folder were asked for and not read');
        file.push(data);
      }
    } else if (type === PacketType.FIN) this.#farewell.resolve();
    else if (type === PacketType.ERR) {
      throw new TareError('Internal', `the client: ${Buffer.from(data).toString('utf8').slice(0, 4096)}`);
    }
  }

  #name(stat: Uint8Array): void {
    this.#entries.push(new StatEntry(this.#slab.copy(stat)));
    // While a content is waited for, entries come in as well, and nobody takes them.
    if (this.#entries.sizeBytes > MAX_BUFFERED_BYTES)
      throw new TareError(
        'InvalidArgument',
        'the client names more and more files and does not send what was asked for: leave out what the build does not need, by .dockerignore',
      );
  }

  /** Somebody may wait for what lies behind the unread, so it waits only if nobody does. */
  #mustWait(): boolean {
    if (this.#isDone || (this.#buffered <= BUFFERED_BYTES && this.#entries.length <= BUFFERED_ENTRIES)) return false;
    return !this.#entries.isAwaited && ![...this.#files.values()].some((file) => file.isAwaited);
  }

  #wake(): void {
    if (this.#resume === undefined || this.#mustWait()) return;
    this.#resume();
    this.#resume = undefined;
  }
}

const sizeOf = ({ bytes }: PackedEntry): number => ENTRY_BYTES + bytes.length;

async function* unpacked(batches: AsyncIterable<readonly PackedEntry[]>): AsyncGenerator<SentEntry, void> {
  for await (const batch of batches) for (const entry of batch) yield entry.unpack();
}

class StatEntry implements PackedEntry {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  unpack(): SentEntry {
    return decodeStat(this.bytes);
  }
}

/** Copies of small things side by side: a piece of the stream would be kept whole by one entry that came in it. */
class Slab {
  #bytes = Buffer.allocUnsafeSlow(0);
  #used = 0;

  copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length > SLAB_BYTES / 16) return Uint8Array.from(bytes);
    if (this.#used + bytes.length > this.#bytes.length) {
      this.#bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.#used = 0;
    }
    const start = this.#used;
    this.#bytes.set(bytes, start);
    this.#used += bytes.length;
    return this.#bytes.subarray(start, this.#used);
  }
}

/** A queue between one that puts in and one that takes out. */
class Inbox<T> implements AsyncIterable<T>, AsyncIterator<T> {
  readonly #onWait: () => void;
  readonly #sizeOf: (item: T) => number;
  /** Of what lies here. */
  sizeBytes = 0;
  #items: T[] = [];
  #next = 0;
  #end: { error: unknown } | undefined;
  #awaiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void } | undefined;

  constructor(onWait: () => void, sizeOf: (item: T) => number = () => 0) {
    this.#onWait = onWait;
    this.#sizeOf = sizeOf;
  }

  get length(): number {
    return this.#items.length - this.#next;
  }

  get isAwaited(): boolean {
    return this.#awaiting !== undefined;
  }

  get isClosed(): boolean {
    return this.#end !== undefined && this.#end.error === undefined;
  }

  push(item: T): void {
    if (this.#end) return;
    const awaiting = this.#awaiting;
    if (awaiting) {
      this.#awaiting = undefined;
      awaiting.resolve({ done: false, value: item });
      return;
    }
    this.#items.push(item);
    this.sizeBytes += this.#sizeOf(item);
  }

  /** @param error that the taker gets behind what is here; undefined: all came */
  close(error?: unknown): void {
    if (this.#end) return;
    this.#end = { error };
    const awaiting = this.#awaiting;
    this.#awaiting = undefined;
    if (error === undefined) awaiting?.resolve({ done: true, value: undefined });
    else awaiting?.reject(error);
  }

  /** Takes out what was not taken. */
  drop(): T[] {
    const rest = this.#items.slice(this.#next);
    this.#items = [];
    this.#next = 0;
    this.sizeBytes = 0;
    return rest;
  }

  /** All that lies here, or the next one; nothing: no more will come. */
  async all(): Promise<T[]> {
    if (this.length > 0) return this.drop();
    const { value, done } = await this.next();
    return done === true ? [] : [value as T, ...this.drop()];
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#next < this.#items.length) {
      const value = this.#items[this.#next++]!;
      this.sizeBytes -= this.#sizeOf(value);
      if (this.#next === this.#items.length) {
        this.#items = [];
        this.#next = 0;
      }
      return Promise.resolve({ done: false, value });
    }
    if (this.#end?.error !== undefined) return Promise.reject(this.#end.error);
    if (this.#end) return Promise.resolve({ done: true, value: undefined });
    const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<T>>();
    this.#awaiting = { resolve, reject };
    this.#onWait();
    return promise;
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this;
  }
}
