import { TareError } from '../../errors/index.ts';

export interface ReadEntry {
  name: string;
  type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character' | 'block';
  linkTarget: string;
  sizeBytes: number;
  mode: number;
  modifiedSeconds: number;
  /** To be read before the next entry; what is left is skipped. */
  content: AsyncIterable<Uint8Array>;
}

/** Longest PAX header or GNU long name. */
const MAX_EXTENDED = 1024 * 1024;
const types: Record<string, ReadEntry['type']> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

/**
 * Reads a tar as it comes: ustar, PAX (path, linkpath, size, mtime) and GNU long names.
 *
 * @throws {TareError} InvalidArgument: not a tar, or cut off
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<ReadEntry> {
  await using bytes = new Bytes(source);
  let extended: Record<string, string> = {};
  for (;;) {
    const block = await bytes.take(512, true);
    if (block === undefined) return;
    if (block.every((byte) => byte === 0)) {
      // Whatever stands behind the end is read away, so that the sender can finish.
      await bytes.drain();
      return;
    }
    checkSum(block);
    const flag = String.fromCharCode(block[156]!);
    const sizeBytes = extended['size'] === undefined ? numeric(block, 124, 12) : decimal(extended['size']);
    if (flag === 'x' || flag === 'L' || flag === 'K' || flag === 'g') {
      const own = numeric(block, 124, 12);
      if (own > MAX_EXTENDED) throw malformed(`a header of ${own} bytes`);
      const text = (await bytes.take(own, false))!;
      await bytes.skip((512 - (own % 512)) % 512);
      if (flag === 'x') extended = { ...extended, ...paxRecords(text) };
      else if (flag !== 'g') extended[flag === 'L' ? 'path' : 'linkpath'] = cText(text, 0, text.length);
      continue;
    }
    const type = types[flag];
    if (!type) throw malformed(`an entry of the unknown type ${JSON.stringify(flag)}`);
    const prefix = block.toString('latin1', 257, 262) === 'ustar' && block[262] === 0 ? cText(block, 345, 155) : '';
    const plain = cText(block, 0, 100);
    const holds = type === 'file' ? sizeBytes : 0;
    const content = bytes.content(holds);
    yield {
      name: extended['path'] ?? (prefix ? `${prefix}/${plain}` : plain),
      type: type === 'file' && plain.endsWith('/') ? 'directory' : type,
      linkTarget: extended['linkpath'] ?? cText(block, 157, 100),
      sizeBytes: holds,
      mode: numeric(block, 100, 8) & 0o7777,
      modifiedSeconds: extended['mtime'] === undefined ? numeric(block, 136, 12) : Number(extended['mtime']) || 0,
      content,
    };
    await bytes.finishContent();
    await bytes.skip((512 - (holds % 512)) % 512);
    extended = {};
  }
}

/** Bytes in the pieces that a parser asks for. */
class Bytes implements AsyncDisposable {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #contentLeft = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#iterator.return?.();
  }

  /** The next piece of at most so many bytes; undefined at the end. */
  async #piece(most: number): Promise<Uint8Array | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#iterator.next();
      if (next.done) return undefined;
      this.#chunk = next.value;
    }
    const piece = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(piece.length);
    return piece;
  }

  /** @param mayEnd undefined is returned when nothing at all comes */
  async take(count: number, mayEnd: boolean): Promise<Buffer | undefined> {
    const pieces: Uint8Array[] = [];
    let left = count;
    while (left > 0) {
      const piece = await this.#piece(left);
      if (!piece) {
        if (mayEnd && left === count) return undefined;
        throw malformed('it is cut off');
      }
      pieces.push(piece);
      left -= piece.length;
    }
    return Buffer.concat(pieces);
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const piece = await this.#piece(left);
      if (!piece) throw malformed('it is cut off');
      left -= piece.length;
    }
  }

  async drain(): Promise<void> {
    while (await this.#piece(Number.POSITIVE_INFINITY)) {
      // Nothing of it counts.
    }
  }

  /** The next so many bytes, as far as they are read before `finishContent`. */
  content(size: number): AsyncIterable<Uint8Array> {
    this.#contentLeft = size;
    return this.#contentPieces();
  }

  async *#contentPieces(): AsyncGenerator<Uint8Array> {
    while (this.#contentLeft > 0) {
      const piece = await this.#piece(this.#contentLeft);
      if (!piece) throw malformed('it is cut off');
      this.#contentLeft -= piece.length;
      yield piece;
    }
  }

  async finishContent(): Promise<void> {
    await this.skip(this.#contentLeft);
    this.#contentLeft = 0;
  }
}

function checkSum(block: Buffer): void {
  let sum = 8 * 32;
  for (const [i, byte] of block.entries()) if (i < 148 || i >= 156) sum += byte;
  if (numeric(block, 148, 8) !== sum) throw malformed('a header whose checksum is wrong');
}

/** Octal text, or GNU's big-endian number when the first bit is set. */
function numeric(block: Buffer, at: number, length: number): number {
  if ((block[at]! & 0x80) !== 0) {
    let value = BigInt(block[at]! & 0x7f);
    for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(block[at + i]!);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('a number beyond any file');
    return Number(value);
  }
  const text = cText(block, at, length).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw malformed(`the number ${JSON.stringify(text)}`);
  return Number.parseInt(text, 8);
}

function decimal(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw malformed(`the size ${JSON.stringify(text)}`);
  return value;
}

function cText(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? field.length : end);
}

function paxRecords(bytes: Buffer): Record<string, string> {
  const records: Record<string, string> = Object.create(null);
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at);
    const length = space < 0 ? Number.NaN : Number(bytes.toString('latin1', at, space));
    const record = bytes.subarray(space + 1, at + length);
    if (!Number.isSafeInteger(length) || length < 4 || at + length > bytes.length || record.at(-1) !== 10)
      throw malformed('a PAX header that does not add up');
    const equals = record.indexOf(61);
    if (equals < 0) throw malformed('a PAX record without a value');
    records[record.toString('utf8', 0, equals)] = record.toString('utf8', equals + 1, record.length - 1);
    at += length;
  }
  return records;
}

function malformed(what: string): TareError {
  return new TareError('InvalidArgument', `the archive is damaged: ${what}`);
}
