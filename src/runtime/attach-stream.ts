import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../errors/index.ts';
import { connectSeqpacket, hasWaitingClients, SyscallError } from '../linux/index.ts';
import type { AttachStream, OutputPiece } from './runtime.ts';

/** One packet from conmon: a byte that names the stream, then at most 8 KiB (32 KiB in later versions). */
const PACKET_BYTES = 64 * 1024;
const BLOCK_BYTES = 64 * 1024;
/** Blocks kept to be filled again. */
const SPARE_BLOCKS = 8;
/** conmon reads so much of a program's output at once (later versions four times it): when it could, there is more. */
const MONITOR_BYTES = 8 * 1024;
/** So much, or what comes in this time, is handed over at once. */
const JOINED_BYTES = 256 * 1024;
const JOINING_MS = 1;
const STDOUT = 2;
const STDERR = 3;

/** What a segment weighs besides its bytes: a program that writes single bytes in turn to both streams must not fill the memory. */
const SEGMENT_BYTES = 128;

/** conmon reads at most 32 KiB from a client at once and drops the rest of a longer packet. */
const STDIN_PACKET_BYTES = 16 * 1024;

export interface AttachLimits {
  /** Output kept for a reader that is behind. At this size we stop reading, and conmon, so the container, waits. */
  bufferBytes: number;
  /** A reader with a full buffer that takes nothing for so long is dropped: the container must not hang for ever. */
  stalledMs: number;
}

const DEFAULT_ATTACH_LIMITS: AttachLimits = { bufferBytes: 48 * 1024 * 1024, stalledMs: 10_000 };

interface Block {
  bytes: Buffer;
  filled: number;
  /** Segments in it that wait, or whose reader has not released them. */
  held: number;
}

interface Segment {
  stream: 'stdout' | 'stderr';
  block: Block;
  start: number;
  end: number;
}

/** The client's end of conmon's attach socket. See AttachStream for the contract. */
export class ConmonStream implements AttachStream {
  readonly #limits: AttachLimits;
  #socket: Socket | undefined;
  #segments: Segment[] = [];
  #block: Block = { bytes: Buffer.alloc(0), filled: 0, held: 0 };
  /** The collector takes each new block for a reason to walk the whole heap soon. */
  #spare: Block[] = [];
  #bufferedBytes = 0;
  #paused = false;
  #ended = false;
  #abandoned = false;
  #failure: TareError | undefined;
  #wake: (() => void) | undefined;
  #wakeScheduled = false;
  #joining: NodeJS.Timeout | undefined;
  #stalled: NodeJS.Timeout | undefined;
  #taken = false;

  private constructor(limits: AttachLimits) {
    this.#limits = limits;
  }

  /** @throws {TareError} Conflict: nothing is attached to, the container or exec has ended */
  static async connect(directory: string, limits: AttachLimits = DEFAULT_ATTACH_LIMITS): Promise<ConmonStream> {
    const stream = new ConmonStream(limits);
    const buffer = Buffer.allocUnsafeSlow(PACKET_BYTES);
    try {
      const socket = await connectSeqpacket(join(directory, 'attach'), {
        buffer,
        callback: (bytes) => stream.#receive(buffer, bytes),
      });
      stream.#socket = socket;
      socket.on('end', () => stream.#finish());
      socket.on('close', () => stream.#finish());
      // A reset or a broken pipe is conmon's end with packets of ours unread; what it sent before was read.
      socket.on('error', () => stream.#finish());
      return stream;
    } catch (error) {
      const code =
        error instanceof SyscallError || (error instanceof Error && 'code' in error) ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ECONNREFUSED') {
        throw new TareError('Conflict', `nothing to attach to in ${directory}: its process has ended`, {
          cause: error,
        });
      }
      throw error;
    }
  }

  readonly output: AsyncIterable<OutputPiece> = {
    [Symbol.asyncIterator]: () => this.#chunks(),
  };

  async write(chunk: Uint8Array): Promise<void> {
    for (let start = 0; start < chunk.length; start += STDIN_PACKET_BYTES) {
      await this.#writePacket(chunk.subarray(start, start + STDIN_PACKET_BYTES));
    }
  }

  #writePacket(packet: Uint8Array): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || !socket.writable) return Promise.resolve(); // input of an ended process goes nowhere
    return new Promise((resolve) => socket.write(packet, () => resolve()));
  }

  closeStdin(): void {
    this.#socket?.end();
  }

  abandon(): void {
    this.#abandoned = true;
    this.#segments = [];
    this.#took(this.#bufferedBytes);
    this.#socket?.unref();
    this.#wakeReader();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#finish();
    this.#segments = [];
  }

  /** Takes one packet; false stops reading. */
  #receive(buffer: Buffer, bytes: number): boolean {
    if (this.#abandoned) return true;
    const marker = buffer[0];
    if (bytes < 2 || (marker !== STDOUT && marker !== STDERR)) return !this.#paused;
    const stream = marker === STDOUT ? 'stdout' : 'stderr';
    const length = bytes - 1;
    const block = this.#blockFor(length);
    const start = block.filled;
    buffer.copy(block.bytes, start, 1, bytes);
    block.filled += length;
    const last = this.#segments.at(-1);
    if (last !== undefined && last.stream === stream && last.block === block && last.end === start) {
      last.end += length;
    } else {
      block.held += 1;
      this.#segments.push({ stream, block, start, end: start + length });
      this.#bufferedBytes += SEGMENT_BYTES;
    }
    this.#bufferedBytes += length;
    this.#scheduleWake(length % MONITOR_BYTES === 0);
    if (this.#bufferedBytes < this.#limits.bufferBytes) return true;
    this.#paused = true;
    this.#taken = false;
    this.#stalled ??= setInterval(() => this.#dropWhenStalled(), this.#limits.stalledMs);
    return false;
  }

  /** The block that so many bytes fit in. */
  #blockFor(length: number): Block {
    const block = this.#block;
    if (block.held === 0) block.filled = 0;
    if (block.filled + length <= block.bytes.length) return block;
    this.#block = this.#spare.pop() ?? { bytes: Buffer.allocUnsafeSlow(BLOCK_BYTES), filled: 0, held: 0 };
    return this.#block;
  }

  #release(block: Block): void {
    block.held -= 1;
    if (block.held > 0 || block === this.#block || this.#spare.length === SPARE_BLOCKS) return;
    block.filled = 0;
    this.#spare.push(block);
  }

  #dropWhenStalled(): void {
    if (!this.#taken) {
      this.#failure = new TareError(
        'Unavailable',
        `output dropped: the reader took nothing for ${this.#limits.stalledMs / 1000} s with ` +
          `${this.#bufferedBytes} bytes waiting; read faster, or read the log`,
      );
      this.#segments = [];
      this.#finish();
    }
    this.#taken = false;
  }

  // Woken once for all the packets of one turn of the event loop, so that they are handed over joined; where more is sure to
  // come, for those of a moment: that many fewer are the writes to a client, and its reads.
  #scheduleWake(moreComes: boolean): void {
    if (this.#wake === undefined) return;
    if (moreComes && this.#bufferedBytes < JOINED_BYTES) {
      this.#joining ??= setTimeout(() => this.#wakeReader(), JOINING_MS);
      return;
    }
    if (this.#wakeScheduled) return;
    this.#wakeScheduled = true;
    setImmediate(() => {
      this.#wakeScheduled = false;
      this.#wakeReader();
    });
  }

  #wakeReader(): void {
    clearTimeout(this.#joining);
    this.#joining = undefined;
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #finish(): void {
    if (!this.#ended) {
      this.#ended = true;
      clearInterval(this.#stalled);
      this.#socket?.destroy();
    }
    this.#wakeReader();
  }

  async *#chunks(): AsyncGenerator<OutputPiece, void, undefined> {
    for (;;) {
      const batch = this.#segments;
      this.#segments = [];
      for (const { stream, block, start, end } of batch) {
        if (this.#abandoned) return;
        this.#took(end - start + SEGMENT_BYTES);
        yield { stream, chunk: block.bytes.subarray(start, end), release: () => this.#release(block) };
      }
      if (this.#segments.length > 0) continue;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended || this.#abandoned) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #took(bytes: number): void {
    this.#bufferedBytes -= bytes;
    this.#taken = true;
    if (!this.#paused || this.#bufferedBytes > this.#limits.bufferBytes / 2) return;
    this.#paused = false;
    clearInterval(this.#stalled);
    this.#stalled = undefined;
    this.#socket?.resume();
  }
}

const CONNECT_TRIES = 3;

/** Connects, bearing with a conmon that is just about to listen. */
export async function attachTo(directory: string): Promise<AttachStream> {
  for (let tries = 1; ; tries++) {
    try {
      return await ConmonStream.connect(directory);
    } catch (error) {
      if (!(error instanceof TareError) || tries === CONNECT_TRIES) throw error;
      await sleep(1);
    }
  }
}

/** A conmon that does not look for so long is not waited for: it may be stopped. */
const ACCEPT_TRIES = 200;

/** See `Runtime.attached`. */
export async function clientsAccepted(): Promise<void> {
  for (let tries = 0; tries < ACCEPT_TRIES && hasWaitingClients('attach'); tries++) await sleep(1);
}

/** See `Runtime.endInput`. */
export async function endInput(directory: string): Promise<void> {
  await using stream = await attachTo(directory);
  stream.closeStdin();
}
