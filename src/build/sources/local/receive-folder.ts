import { TareError } from '../../../errors/index.ts';
import { type ByteString, fromByteString, S_IFCHR, S_IFDIR, S_IFREG, S_IFSOCK } from '../../../linux/index.ts';
import type { PackedEntry, SentEntry, SentFolder } from '../../session.ts';
import {
  type IndexLine,
  type IndexReader,
  type IndexWriter,
  isFolderLine,
  isLinkLine,
  lineOf,
  sizeOfLine,
} from './folder-index.ts';
import type { FolderWriter } from './folder-writer.ts';
import { type CheckedEntry, comparePaths, EntryChecker } from './sent-entry.ts';

const MAX_ENTRIES = 10_000_000;
/** Contents under way at once. */
const READS = 64;
/** Files waiting for their turn; then the entries wait, too. */
const MAX_WAITING = 100_000;
/** A file up to this size is handed on whole. */
const SMALL_BYTES = 64 * 1024;
/** In folders up to this size, what is fetched again is compared, one file after the other, before anything is changed for it. */
const FEW_ENTRIES = 8;

export interface ReceiveOptions {
  /** What the folder was made of the last time; undefined: it is empty. */
  before: IndexReader | undefined;
  after: IndexWriter;
  /** What a file has that lies there; undefined: nobody can tell. */
  contentOf(path: ByteString): Promise<Uint8Array | undefined>;
  /** Opens the folder for writing: called with the first change, so not at all when nothing has changed. */
  open(): Promise<FolderWriter>;
  /** Take content anew whatever a client says of it. */
  takesAll: boolean;
  signal: AbortSignal;
  onBytes(bytes: number): void;
}

export interface Received {
  entries: number;
  /** Files whose content was sent. */
  files: number;
  /** Of all files as they say, whether sent or kept. */
  sizeBytes: number;
}

/**
 * Makes a folder what a client sends, fetching the contents that it does not have. Entries come in one order, and so do the
 * lines of the index: they are merged, and neither is ever held whole.
 *
 * @throws {TareError} InvalidArgument: a path, type or size that cannot be, naming it; what came before has been written
 */
export async function receiveFolder(sent: SentFolder, options: ReceiveOptions): Promise<Received> {
  const receiving = new Receiving(sent, options);
  try {
    return await receiving.run();
  } finally {
    await receiving.rest();
  }
}

/** Files whose contents are to be asked for, in their order. An array's `shift` moves all that is behind it. */
class Waiting {
  #files: { index: number; entry: CheckedEntry }[] = [];
  #first = 0;

  get length(): number {
    return this.#files.length - this.#first;
  }

  push(file: { index: number; entry: CheckedEntry }): void {
    this.#files.push(file);
  }

  take(): { index: number; entry: CheckedEntry } {
    const file = this.#files[this.#first]!;
    this.#first += 1;
    if (this.#first * 2 > this.#files.length) {
      this.#files = this.#files.slice(this.#first);
      this.#first = 0;
    }
    return file;
  }

  clear(): void {
    this.#files = [];
    this.#first = 0;
  }
}

class Receiving {
  readonly #sent: SentFolder;
  readonly #options: ReceiveOptions;
  readonly #received: Received = { entries: 0, files: 0, sizeBytes: 0 };
  #writer: FolderWriter | undefined;
  /** Folders to be given their times again once nothing more goes into them. */
  readonly #touched = new Map<string, bigint>();
  /** Folders on the way to the entry in turn. */
  readonly #way: Pick<CheckedEntry, 'path' | 'modifiedNs'>[] = [];
  readonly #checker = new EntryChecker();
  /** Entries that came. */
  #count = 0;
  /** All of them are those of the last sending so far, and none was looked into. */
  #isSame = true;
  /** Bytes of entries mean what they meant the last time. */
  readonly #mayMatch: boolean;
  /** After all files, since one may be of a file that still comes. */
  readonly #hardLinks: { path: string; target: string }[] = [];
  /** Files that became others: hard links to them are made again. */
  readonly #renewed = new Set<string>();
  readonly #waiting = new Waiting();
  readonly #reads = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;
  #wake = () => {};

  constructor(sent: SentFolder, options: ReceiveOptions) {
    this.#sent = sent;
    this.#options = options;
    const { before, takesAll } = options;
    const kind = sent.packed?.kind;
    // A client may say what it likes; what the kernel says of a file here has the time of its last change, which nobody can set.
    const isBelieved = !takesAll || kind === 'status';
    this.#mayMatch = before !== undefined && isBelieved && kind === before.kind;
  }

  async run(): Promise<Received> {
    for await (const batch of this.#sent.packed?.batches ?? eachAlone(this.#sent.entries)) {
      this.#check();
      let at = 0;
      if (this.#isSame) {
        at = this.#passSame(batch);
        if (at === batch.length) continue;
        this.#catchUp();
      }
      for (; at < batch.length; at += 1) {
        if (this.#takeKnown(batch[at]!)) continue;
        await this.#take(batch[at]!);
        while (this.#waiting.length > MAX_WAITING) await this.#progress();
      }
    }
    if (this.#isSame) {
      const { before } = this.#options;
      if (before?.line === undefined) return { entries: this.#count, files: 0, sizeBytes: before?.sizeBytes ?? 0 };
      this.#catchUp();
    }
    await this.#removeUntil(undefined);
    while (this.#reads.size > 0 || this.#waiting.length > 0) await this.#progress();
    this.#check();
    for (const { path, target } of this.#hardLinks) await this.#writer!.order({ act: 'hardlink', path, target });
    for (const [path, modifiedNs] of this.#touched) await this.#writer!.order({ act: 'times', path, modifiedNs });
    await this.#writer?.flush();
    return this.#received;
  }

  /** Steps over entries that are those of the last sending. @returns how many they are */
  #passSame(batch: readonly PackedEntry[]): number {
    const { before } = this.#options;
    let count = 0;
    if (this.#mayMatch) {
      while (count < batch.length && before!.isSentAs(batch[count]!.bytes)) {
        before!.advance();
        count += 1;
      }
    }
    this.#count += count;
    return count;
  }

  /** The first that is not: what was stepped over is taken for what it is. */
  #catchUp(): void {
    this.#isSame = false;
    const { before } = this.#options;
    before?.rewind();
    for (let left = this.#count; left > 0; left -= 1) this.#keepInTurn();
  }

  /** @returns whether it is the entry in turn of the last sending, and lies there as it was sent */
  #takeKnown({ bytes }: PackedEntry): boolean {
    const { before } = this.#options;
    if (!this.#mayMatch || !before!.isSentAs(bytes)) return false;
    // What it is linked to may be another file now.
    if (this.#renewed.size > 0 && isLinkLine(before!.line!)) return false;
    this.#next();
    this.#keepInTurn();
    return true;
  }

  #keepInTurn(): void {
    const { before, after } = this.#options;
    const line = before!.line!;
    const isFolder = isFolderLine(line);
    const sizeBytes = sizeOfLine(line);
    this.#checker.checkPlace(line.path, isFolder);
    this.#enter(line.path, isFolder ? before!.folderNs : undefined);
    after.copy(before!.record, sizeBytes);
    this.#received.entries += 1;
    this.#received.sizeBytes += sizeBytes;
    before!.advance();
  }

  /** @returns the position among the entries */
  #next(): number {
    if (this.#count >= MAX_ENTRIES)
      throw new TareError(
        'InvalidArgument',
        `the folder that was sent has more than ${MAX_ENTRIES} entries: leave out what the build does not need, by .dockerignore`,
      );
    this.#count += 1;
    return this.#count - 1;
  }

  async #take(packed: PackedEntry): Promise<void> {
    const index = this.#next();
    if (this.#options.signal.aborted || this.#failure !== undefined) this.#check();
    const entry = this.#checker.check(packed.unpack());
    // They mean nothing without the process that listens there.
    if (entry.type === S_IFSOCK) return;
    refuseWhiteout(entry);
    const line = lineOf(entry);
    const sizeBytes = entry.type === S_IFREG ? entry.sizeBytes : 0;
    this.#options.after.write(line, entry, sizeBytes, packed.bytes);
    this.#received.entries += 1;
    this.#received.sizeBytes += sizeBytes;
    this.#leave(entry.path);
    await this.#removeUntil(entry.path);
    const compared = await this.#compared(entry, line, index);
    const isKept = await this.#merge(entry, line, compared?.isSame === true);
    if (!isKept) await this.#make(entry, index, compared?.content);
    if (entry.type === S_IFDIR) this.#way.push(entry);
  }

  #leave(path: string): void {
    while (this.#way.length > 0 && !path.startsWith(`${this.#way.at(-1)!.path}/`)) this.#way.pop();
  }

  /** @param modifiedNs of a folder */
  #enter(path: string, modifiedNs: bigint | undefined): void {
    this.#leave(path);
    if (modifiedNs !== undefined) this.#way.push({ path, modifiedNs });
  }

  /** Waits for what is under way, whose results nobody wants any more. */
  async rest(): Promise<void> {
    this.#waiting.clear();
    this.#failure ??= { error: new TareError('Unavailable', 'receiving a folder was given up') };
    await Promise.allSettled(this.#reads);
    await this.#writer?.[Symbol.asyncDispose]();
  }

  /** Fetches a file that would be made anew though nothing is said to have changed. A Dockerfile is, and mostly is what it was. */
  async #compared(
    entry: CheckedEntry,
    line: string,
    index: number,
  ): Promise<{ content: Uint8Array; isSame: boolean } | undefined> {
    const { before, takesAll, contentOf } = this.#options;
    const { type, target, sizeBytes, path } = entry;
    if (!takesAll || before === undefined || before.entries > FEW_ENTRIES || before.line?.text !== line)
      return undefined;
    const isOther = type !== S_IFREG || target !== undefined || sizeBytes > SMALL_BYTES;
    if (isOther || this.#sent.directory !== undefined) return undefined;
    const content = await this.#whole(entry, index);
    const old = await contentOf(path);
    return { content, isSame: old !== undefined && Buffer.compare(content, old) === 0 };
  }

  /**
   * Steps over what lies at the place of an entry, or removes it.
   * @param isSame its content was compared
   * @returns whether what lies there is what was sent
   */
  async #merge(entry: CheckedEntry, line: string, isSame: boolean): Promise<boolean> {
    const { before, takesAll } = this.#options;
    const old = before?.line;
    if (old?.path !== entry.path) return false;
    before!.advance();
    const isFresh = entry.type === S_IFREG && takesAll && !isSame;
    const isOfRenewed = entry.target !== undefined && this.#renewed.has(entry.target);
    if (old.text === line && !isFresh && !isOfRenewed) return true;
    if (entry.type === S_IFDIR && isFolderLine(old)) {
      await this.#order({ act: 'folder', entry, isThere: true });
      this.#touched.set(entry.path, entry.modifiedNs);
      return true;
    }
    await this.#remove(old);
    return false;
  }

  /** Removes what comes before a path and was not sent again. */
  async #removeUntil(path: string | undefined): Promise<void> {
    const { before } = this.#options;
    for (let old = before?.line; old !== undefined; old = before?.line) {
      if (path !== undefined && comparePaths(old.path, path) >= 0) return;
      before!.advance();
      await this.#remove(old);
    }
  }

  async #remove(old: IndexLine): Promise<void> {
    await this.#order({ act: 'remove', path: old.path });
    this.#touchAround(old.path);
    if (!isFolderLine(old)) return;
    // It is gone with all that was in it.
    const { before } = this.#options;
    while (before?.line?.path.startsWith(`${old.path}/`)) before.advance();
  }

  /** The folder of a path is among those on the way, unless it is the root. */
  #touchAround(path: string): void {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')));
    const folder = this.#way.findLast((one) => one.path === parent);
    if (folder !== undefined) this.#touched.set(folder.path, folder.modifiedNs);
  }

  /** @param content of a file, where it is here already */
  async #make(entry: CheckedEntry, index: number, content?: Uint8Array): Promise<void> {
    this.#touchAround(entry.path);
    if (entry.type === S_IFDIR) {
      await this.#order({ act: 'folder', entry, isThere: false });
      this.#touched.set(entry.path, entry.modifiedNs);
      return;
    }
    if (entry.type !== S_IFREG) return await this.#order({ act: 'node', entry });
    this.#renewed.add(entry.path);
    if (entry.target !== undefined) {
      await this.#open();
      this.#hardLinks.push({ path: entry.path, target: entry.target });
      return;
    }
    this.#received.files += 1;
    if (this.#sent.directory !== undefined) return await this.#order({ act: 'copy', entry });
    await this.#open();
    if (content !== undefined) return await this.#writer!.file(entry, content);
    this.#waiting.push({ index, entry });
    this.#begin();
  }

  #begin(): void {
    while (this.#reads.size < READS && this.#waiting.length > 0 && this.#failure === undefined) {
      const { index, entry } = this.#waiting.take();
      const read = this.#read(index, entry)
        .catch((error: unknown) => {
          this.#failure ??= { error };
        })
        .finally(() => {
          this.#reads.delete(read);
          this.#begin();
          this.#wake();
        });
      this.#reads.add(read);
    }
  }

  async #read(index: number, entry: CheckedEntry): Promise<void> {
    const writer = this.#writer!;
    if (entry.sizeBytes <= SMALL_BYTES) return await writer.file(entry, await this.#whole(entry, index));
    const write = await writer.begin(entry);
    for await (const piece of this.#pieces(entry, index)) if (piece.length > 0) await write(piece);
    await write(new Uint8Array());
  }

  async #whole(entry: CheckedEntry, index: number): Promise<Uint8Array> {
    const pieces = await Array.fromAsync(this.#pieces(entry, index));
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  async *#pieces({ sizeBytes }: CheckedEntry, index: number): AsyncGenerator<Uint8Array, void> {
    let left = sizeBytes;
    // An empty file has nothing to ask for.
    if (left === 0) return;
    for await (const chunk of this.#sent.read(index)) {
      if (this.#failure !== undefined) throw this.#failure.error;
      // What has grown since it was looked at is cut where it was, as in an archive.
      const piece = chunk.length > left ? chunk.subarray(0, left) : chunk;
      left -= piece.length;
      this.#options.onBytes(piece.length);
      yield piece;
      if (left === 0) return;
    }
  }

  /** Waits until one of the reads has ended. */
  async #progress(): Promise<void> {
    this.#check();
    if (this.#reads.size === 0) return this.#begin();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const { signal } = this.#options;
    signal.addEventListener('abort', this.#wake, { once: true });
    await promise;
    signal.removeEventListener('abort', this.#wake);
    this.#check();
  }

  #check(): void {
    this.#options.signal.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #order(order: Parameters<FolderWriter['order']>[0]): Promise<void> {
    await this.#open();
    await this.#writer!.order(order);
  }

  async #open(): Promise<void> {
    this.#writer ??= await this.#options.open();
  }
}

async function* eachAlone(entries: AsyncIterable<SentEntry>): AsyncGenerator<readonly PackedEntry[]> {
  for await (const entry of entries) yield [{ bytes: nothing, unpack: () => entry }];
}
const nothing = new Uint8Array(0);

/** In a layer, a character device 0:0 hides what lies below. */
function refuseWhiteout({ type, deviceMajor, deviceMinor, path }: CheckedEntry): void {
  if (type !== S_IFCHR || deviceMajor !== 0 || deviceMinor !== 0) return;
  throw new TareError(
    'InvalidArgument',
    `the folder that was sent: ${JSON.stringify(fromByteString(path))}: it is overlayfs' mark of a removed file, not a file: leave it out, by .dockerignore`,
  );
}
