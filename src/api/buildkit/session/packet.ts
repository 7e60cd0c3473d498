import type { SentEntry } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import { goModeOf, unixModeOf } from '../../../protocol/index.ts';

/** Kinds of fsutil's packets (types/wire.proto). */
export const PacketType = { STAT: 0, REQ: 1, DATA: 2, FIN: 3, ERR: 4 } as const;

/** A packet of fsutil's protocol. Read and written by hand: these are the many messages of a build. */
export interface Packet {
  type: number;
  /** Of an entry: `decodeStat` reads it. */
  stat: Uint8Array | undefined;
  id: number;
  data: Uint8Array;
}

const nothing = new Uint8Array(0);

/** @throws {TareError} InvalidArgument: not a packet */
export function decodePacket(bytes: Uint8Array): Packet {
  const packet: Packet = { type: 0, stat: undefined, id: 0, data: nothing };
  const reader = new Reader(bytes);
  while (!reader.atEnd) {
    const tag = reader.varint();
    if (tag === 0x08) packet.type = reader.varint();
    else if (tag === 0x12) packet.stat = reader.bytes();
    else if (tag === 0x18) packet.id = reader.varint();
    else if (tag === 0x22) packet.data = reader.bytes();
    else reader.skip(tag);
  }
  return packet;
}

/** The bytes of the entry in a packet that is nothing else; undefined: it is to be decoded as a whole. */
export function statIn(packet: Uint8Array): Uint8Array | undefined {
  if (packet[0] !== 0x12) return undefined;
  let length = 0;
  let factor = 1;
  for (let at = 1; at < 5; at += 1) {
    const byte = packet[at] ?? 0;
    length += (byte & 0x7f) * factor;
    if (byte < 0x80) return at + 1 + length === packet.length ? packet.subarray(at + 1) : undefined;
    factor *= 128;
  }
  return undefined;
}

/** @throws {TareError} InvalidArgument: not an entry */
export function decodeStat(bytes: Uint8Array): SentEntry {
  const entry: SentEntry = { path: '', mode: 0, uid: 0, gid: 0, sizeBytes: 0, modifiedNs: 0n };
  const reader = new Reader(bytes);
  let xattrs: Record<string, Uint8Array> | undefined;
  while (!reader.atEnd) {
    const tag = reader.varint();
    if (tag === 0x0a) entry.path = reader.text();
    else if (tag === 0x10) entry.mode = unixModeOf(reader.varint());
    else if (tag === 0x18) entry.uid = reader.varint();
    else if (tag === 0x20) entry.gid = reader.varint();
    else if (tag === 0x28) entry.sizeBytes = reader.varint();
    else if (tag === 0x30) entry.modifiedNs = reader.int64();
    else if (tag === 0x3a) entry.linkname = reader.text();
    else if (tag === 0x40) entry.deviceMajor = reader.varint();
    else if (tag === 0x48) entry.deviceMinor = reader.varint();
    else if (tag === 0x52) {
      const pair = new Reader(reader.bytes());
      let name = '';
      let value: Uint8Array = nothing;
      while (!pair.atEnd) {
        const part = pair.varint();
        if (part === 0x0a) name = pair.text();
        else if (part === 0x12) value = pair.bytes();
        else pair.skip(part);
      }
      xattrs ??= Object.create(null) as Record<string, Uint8Array>;
      xattrs[name] = value;
    } else reader.skip(tag);
  }
  if (xattrs) entry.xattrs = xattrs;
  if (entry.linkname === '') delete entry.linkname;
  return entry;
}

/** A request for the content of an entry, or the end of all requests. */
export function encodeShort(type: number, id: number): Uint8Array {
  const writer = new Writer();
  if (type !== 0) writer.varintField(0x08, type);
  if (id !== 0) writer.varintField(0x18, id);
  return writer.take();
}

/** What stands before a piece of a file's content; the piece follows. */
export function encodeDataHead(id: number, length: number): Uint8Array {
  const writer = new Writer();
  writer.varintField(0x08, PacketType.DATA);
  if (id !== 0) writer.varintField(0x18, id);
  if (length > 0) {
    writer.varint(0x22);
    writer.varint(length);
  }
  return writer.take();
}

export function encodeEntry(entry: SentEntry): Uint8Array {
  const stat = new Writer();
  stat.textField(0x0a, entry.path);
  stat.varintField(0x10, goModeOf(entry.mode));
  stat.varintField(0x18, entry.uid);
  stat.varintField(0x20, entry.gid);
  stat.varintField(0x28, entry.sizeBytes);
  stat.int64Field(0x30, entry.modifiedNs);
  if (entry.linkname !== undefined) stat.textField(0x3a, entry.linkname);
  if (entry.deviceMajor) stat.varintField(0x40, entry.deviceMajor);
  if (entry.deviceMinor) stat.varintField(0x48, entry.deviceMinor);
  for (const [name, value] of Object.entries(entry.xattrs ?? {})) {
    const pair = new Writer();
    pair.textField(0x0a, name);
    pair.bytesField(0x12, value);
    stat.bytesField(0x52, pair.take());
  }
  const packet = new Writer();
  packet.bytesField(0x12, stat.take());
  return packet.take();
}

/** The bytes in a message whose only field is `bytes data = 1`. */
export function decodeBytesMessage(message: Uint8Array): Uint8Array {
  const reader = new Reader(message);
  let data: Uint8Array = nothing;
  while (!reader.atEnd) {
    const tag = reader.varint();
    if (tag === 0x0a) data = reader.bytes();
    else reader.skip(tag);
  }
  return data;
}

/** What stands before the bytes in such a message. */
export function encodeBytesHead(length: number): Uint8Array {
  const writer = new Writer();
  writer.varint(0x0a);
  writer.varint(length);
  return writer.take();
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Below 2^53; what is larger (a negative int64) is no size, id or number of ours. */
  varint(): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 10; count++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (value <= Number.MAX_SAFE_INTEGER) return value;
        break;
      }
      factor *= 128;
    }
    throw malformed();
  }

  int64(): bigint {
    let low = 0;
    let high = 0;
    for (let count = 0; count < 10; count++) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      // Five groups of seven bits each: 35 bits below, the rest above.
      if (count < 5) low += (byte & 0x7f) * 2 ** (7 * count);
      else high += (byte & 0x7f) * 2 ** (7 * (count - 5));
      if (byte < 0x80) return BigInt.asIntN(64, (BigInt(high) << 35n) + BigInt(low));
    }
    throw malformed();
  }

  bytes(): Buffer {
    const length = this.varint();
    const start = this.#at;
    if (start + length > this.#bytes.length) throw malformed();
    this.#at = start + length;
    return this.#bytes.subarray(start, this.#at);
  }

  text(): string {
    const length = this.varint();
    const start = this.#at;
    if (start + length > this.#bytes.length) throw malformed();
    this.#at = start + length;
    return this.#bytes.toString('utf8', start, this.#at);
  }

  skip(tag: number): void {
    const kind = tag & 7;
    if (kind === 0) this.int64();
    else if (kind === 1) this.#at += 8;
    else if (kind === 2) this.bytes();
    else if (kind === 5) this.#at += 4;
    else throw malformed();
  }
}

const malformed = () => new TareError('InvalidArgument', 'the client sent a packet that cannot be read');

class Writer {
  #parts: Uint8Array[] = [];
  #small: number[] = [];

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#small.push((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.#small.push(rest);
  }

  varintField(tag: number, value: number): void {
    if (value === 0) return;
    this.varint(tag);
    this.varint(value);
  }

  int64Field(tag: number, value: bigint): void {
    if (value === 0n) return;
    this.varint(tag);
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.#small.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.#small.push(Number(rest));
  }

  textField(tag: number, text: string): void {
    this.bytesField(tag, Buffer.from(text));
  }

  bytesField(tag: number, bytes: Uint8Array): void {
    this.varint(tag);
    this.varint(bytes.length);
    this.#flush();
    this.#parts.push(bytes);
  }

  take(): Uint8Array {
    this.#flush();
    return this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
  }

  #flush(): void {
    if (this.#small.length === 0) return;
    this.#parts.push(Uint8Array.from(this.#small));
    this.#small = [];
  }
}
