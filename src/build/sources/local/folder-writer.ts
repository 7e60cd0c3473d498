import { Worker } from 'node:worker_threads';
import { revived, TareError } from '../../../errors/index.ts';
import { FolderChanges } from './folder-changes.ts';
import type { FolderAnswer, FolderMessage, FolderOrder } from './folder-orders.ts';

/** Bytes and orders of one message to the thread. */
const BATCH_BYTES = 512 * 1024;
const BATCH_ORDERS = 512;
/** Messages under way; then whoever brings more waits. */
const WINDOW = 4;
/** Bytes of files that the thread copies by itself, which count for little here. */
const COPY_WEIGHT_BYTES = 256;

/** So little is done at once: a thread takes tens of milliseconds to begin. */
const FEW_ORDERS = 64;
const FEW_BYTES = 256 * 1024;

/**
 * Fills a folder. Orders are carried out in the order in which they come, by a thread of its own if there are more than a few.
 */
export class FolderWriter implements AsyncDisposable {
  readonly #target: string;
  readonly #copyFrom: string | undefined;
  readonly #onCopied: (bytes: number) => void;
  #worker: Worker | undefined;
  #orders: FolderOrder[] = [];
  #bytes = Buffer.allocUnsafeSlow(BATCH_BYTES);
  #size = 0;
  #weight = 0;
  #underWay = 0;
  #failure: unknown;
  #wake: (() => void)[] = [];
  #hasExited = false;
  #nextID = 0;

  /**
   * @param target the folder
   * @param copyFrom a folder on this machine that `copy` reads from
   */
  constructor(target: string, copyFrom: string | undefined, onCopied: (bytes: number) => void) {
    this.#target = target;
    this.#copyFrom = copyFrom;
    this.#onCopied = onCopied;
  }

  /** Resolves when there is room for more. @throws {TareError} what went wrong meanwhile */
  async order(order: FolderOrder): Promise<void> {
    this.#orders.push(order);
    this.#weight += COPY_WEIGHT_BYTES;
    if (this.#isFull()) await this.#send();
  }

  /** A whole small file. */
  async file(entry: Extract<FolderOrder, { act: 'file' }>['entry'], content: Uint8Array): Promise<void> {
    // Others may fill it while this one waits.
    while (this.#size + content.length > this.#bytes.length) await this.#send();
    const start = this.#size;
    this.#bytes.set(content, start);
    this.#size += content.length;
    await this.order({ act: 'file', entry, start, end: this.#size });
  }

  /** A file of any size, in pieces. */
  async begin(entry: Extract<FolderOrder, { act: 'begin' }>['entry']): Promise<(piece: Uint8Array) => Promise<void>> {
    this.#nextID += 1;
    const id = this.#nextID;
    await this.order({ act: 'begin', id, entry });
    return async (piece) => {
      if (piece.length === 0) return await this.order({ act: 'end', id });
      for (let done = 0; done < piece.length; ) {
        while (this.#size === this.#bytes.length) await this.#send();
        const start = this.#size;
        const part = piece.subarray(done, done + this.#bytes.length - start);
        this.#bytes.set(part, start);
        this.#size += part.length;
        done += part.length;
        await this.order({ act: 'piece', id, start, end: this.#size });
      }
    };
  }

  /** Waits until all orders so far are carried out. @throws {TareError} what went wrong */
  async flush(): Promise<void> {
    if (this.#worker === undefined && this.#isLittle()) return this.#carryOut();
    if (this.#orders.length > 0) await this.#send();
    while (this.#underWay > 0 && this.#failure === undefined) await this.#change();
    if (this.#failure !== undefined) throw this.#failure;
  }

  #isFull(): boolean {
    return this.#orders.length >= BATCH_ORDERS || this.#size + this.#weight >= this.#bytes.length;
  }

  #isLittle(): boolean {
    // What is copied by itself may be of any size.
    const copied = this.#orders.reduce((sum, order) => sum + (order.act === 'copy' ? order.entry.sizeBytes : 0), 0);
    return this.#orders.length <= FEW_ORDERS && this.#size + copied <= FEW_BYTES;
  }

  #carryOut(): void {
    using changes = new FolderChanges(this.#target, this.#copyFrom);
    for (const order of this.#orders) {
      const copiedBytes = changes.apply(order, this.#bytes);
      if (copiedBytes > 0) this.#onCopied(copiedBytes);
    }
    this.#orders = [];
    this.#size = 0;
    this.#weight = 0;
  }

  /** It keeps no process alive by itself. */
  #start(): Worker {
    // The build finds this expression and puts the bundled program's place in it.
    const program = new URL('./folder-thread.ts', import.meta.url);
    const worker = new Worker(program, { trackUnmanagedFds: false, name: 'context', execArgv: [] });
    worker.unref();
    worker.on('message', (answer: FolderAnswer) => {
      this.#underWay -= 1;
      if ('error' in answer) this.#fail(revived(answer.error));
      else if (answer.copiedBytes > 0) this.#onCopied(answer.copiedBytes);
      this.#tell();
    });
    worker.on('error', (cause) =>
      this.#fail(new TareError('Internal', 'a thread that fills a folder failed', { cause })),
    );
    worker.on('exit', () => {
      this.#hasExited = true;
      this.#fail(new TareError('Unavailable', 'filling a folder was stopped'));
    });
    this.#underWay += 1;
    worker.postMessage({ type: 'open', target: this.#target, copyFrom: this.#copyFrom } satisfies FolderMessage);
    return worker;
  }

  async #send(): Promise<void> {
    // Nothing is awaited before the message has gone, so that nobody's orders come between.
    if (this.#orders.length > 0) {
      const bytes = this.#bytes.subarray(0, this.#size);
      const [orders, buffer] = [this.#orders, this.#bytes.buffer];
      this.#orders = [];
      this.#size = 0;
      this.#weight = 0;
      this.#bytes = Buffer.allocUnsafeSlow(BATCH_BYTES);
      if (this.#failure === undefined) this.#post({ type: 'batch', orders, bytes }, [buffer as ArrayBuffer]);
    }
    while (this.#underWay >= WINDOW && this.#failure === undefined) await this.#change();
    if (this.#failure !== undefined) throw this.#failure;
  }

  #post(message: FolderMessage, transfer: ArrayBuffer[] = []): void {
    this.#worker ??= this.#start();
    this.#underWay += 1;
    this.#worker.postMessage(message, transfer);
  }

  #change(): Promise<void> {
    // It would not be waited for otherwise: threads of ours keep no process alive.
    this.#worker?.ref();
    return new Promise((resolve) => {
      this.#wake.push(() => {
        this.#worker?.unref();
        resolve();
      });
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#tell();
  }

  #tell(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#worker === undefined) return;
    this.#post({ type: 'close' });
    // After a failure, too: what a thread has open when it is ended stays open.
    while (this.#underWay > 0 && !this.#hasExited) await this.#change();
    await this.#worker.terminate();
  }
}
