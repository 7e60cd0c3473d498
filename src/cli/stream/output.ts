import { write, writev } from 'node:fs';

const HIGH_BYTES = 1024 * 1024;
/** Linux's IOV_MAX. */
const MAX_PIECES = 1024;

/**
 * Writes many small pieces to a descriptor with few system calls, and makes the producer wait while 1 MiB is unwritten. The
 * writes happen off the main thread, so that signals and keys are still served while a reader stalls.
 */
export class Output {
  readonly #descriptor: number;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #busy = false;
  #error: unknown;
  #waiting: (() => void)[] = [];

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /**
   * Takes a piece without copying: it must not be changed later.
   *
   * @returns a promise to wait for, only when the writer is behind
   * @throws the descriptor's error (EPIPE), also of an earlier piece
   */
  write(piece: Uint8Array): Promise<void> | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (piece.length === 0) return undefined;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (!this.#busy) this.#start();
    return this.#bytes > HIGH_BYTES ? this.#progress(HIGH_BYTES / 4) : undefined;
  }

  /** Waits until everything is written. @throws the descriptor's error */
  async flush(): Promise<void> {
    await this.#progress(0);
    if (this.#error !== undefined) throw this.#error;
  }

  async #progress(until: number): Promise<void> {
    while (this.#bytes > until && this.#error === undefined)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
  }

  #start(): void {
    this.#busy = true;
    // One turn of the loop gathers what comes in one read of the socket.
    setImmediate(() => this.#next());
  }

  #next(): void {
    const pieces = this.#pieces.slice(0, MAX_PIECES);
    const done = (error: NodeJS.ErrnoException | null, written: number) => {
      if (error?.code === 'EAGAIN') {
        // Someone made the descriptor non-blocking; there is no event to wait for on a file descriptor we do not own.
        setTimeout(() => this.#next(), 2);
        return;
      }
      if (error) this.#error = error;
      else this.#drop(written);
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const wake of waiting) wake();
      if (this.#error === undefined && this.#pieces.length > 0) this.#next();
      else this.#busy = false;
    };
    if (pieces.length === 1) write(this.#descriptor, pieces[0]!, done);
    else writev(this.#descriptor, pieces, done);
  }

  #drop(written: number): void {
    this.#bytes -= written;
    let count = 0;
    let left = written;
    while (count < this.#pieces.length && left >= this.#pieces[count]!.length) left -= this.#pieces[count++]!.length;
    this.#pieces.splice(0, count);
    if (left > 0) this.#pieces[0] = this.#pieces[0]!.subarray(left);
  }
}
