/** A query as this server understands it; the bytes stay with whoever read them. */
export interface Query {
  id: number;
  /** RD, AD and CD, as they stand in the header. */
  flags: number;
  /** Lower case, labels joined by dots, without the last one: `web.backend`; '' is the root. See {@link nameKey}. */
  name: string;
  type: number;
  class: number;
  /** Where the question ends in the message. */
  questionEnd: number;
  /** What the asker takes in one datagram; 512 without EDNS. */
  udpSizeBytes: number;
  /** Version of its EDNS; undefined: none. */
  edns: number | undefined;
}

/** A message that is answered with an error only. */
export interface Refusal {
  id: number;
  flags: number;
  rcode: number;
}

/** A resource record of the name that was asked for. */
export interface AnswerRecord {
  type: number;
  data: Uint8Array;
}

export const RecordType = { A: 1, CNAME: 5, PTR: 12, AAAA: 28, OPT: 41, IXFR: 251, AXFR: 252, ANY: 255 } as const;
export const ResponseCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const;
export const CLASS_IN = 1;

/** The largest message there is: its length is two bytes on TCP. */
export const MAX_MESSAGE_BYTES = 65_535;
/** What we say, and keep to, for datagrams with EDNS: no fragments on any link (DNS flag day 2020). */
export const EDNS_UDP_BYTES = 1232;
const PLAIN_UDP_BYTES = 512;

const HEADER_BYTES = 12;
const MAX_NAME_BYTES = 255;
const OPT_BYTES = 11;
/** OPT and whatever else an asker may add; a signature, for instance. */
const MAX_ADDITIONAL = 4;

const RESPONSE = 0x8000;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_AVAILABLE = 0x0080;
const OPCODE = 0x7800;
/** RD, AD, CD: echoed. */
const ECHOED = 0x0130;

/**
 * Reads a query (RFC 1035 section 4, RFC 6891).
 *
 * @returns undefined for what must not be answered at all: fragments, and answers (two servers would never stop)
 */
export function readQuery(message: Buffer): Query | Refusal | undefined {
  if (message.length < HEADER_BYTES || message.length > MAX_MESSAGE_BYTES) return undefined;
  const id = message.readUInt16BE(0);
  const header = message.readUInt16BE(2);
  if ((header & RESPONSE) !== 0) return undefined;
  const flags = header & ECHOED;
  const refuse = (rcode: number): Refusal => ({ id, flags, rcode });
  if ((header & OPCODE) !== 0) return refuse(ResponseCode.notImplemented);
  const [questions, answers, authorities, additional] = counts(message);
  if (questions !== 1 || answers !== 0 || authorities !== 0 || additional > MAX_ADDITIONAL) {
    return refuse(ResponseCode.formatError);
  }
  const nameEnd = endOfPlainName(message, HEADER_BYTES);
  const questionEnd = nameEnd + 4;
  if (nameEnd < 0 || questionEnd > message.length) return refuse(ResponseCode.formatError);
  const query: Query = {
    id,
    flags,
    name: readName(message, HEADER_BYTES),
    type: message.readUInt16BE(nameEnd),
    class: message.readUInt16BE(nameEnd + 2),
    questionEnd,
    udpSizeBytes: PLAIN_UDP_BYTES,
    edns: undefined,
  };
  return readAdditional(message, additional, query) ? query : refuse(ResponseCode.formatError);
}

export const isQuery = (read: Query | Refusal): read is Query => 'name' in read;

/**
 * How a name is spelled in {@link Query}: the wire's bytes one character each, in lower case. A dot inside a label, which
 * no name of ours has, is written `\.`.
 */
export function nameKey(name: string): string {
  return Buffer.from(name, 'utf8').toString('latin1').toLowerCase();
}

/** A name's bytes on the wire, or undefined when no message can carry it. */
export function encodeName(name: string): Buffer | undefined {
  const parts: Buffer[] = [];
  for (const label of name.split('.')) {
    const bytes = Buffer.from(label, 'utf8');
    if (bytes.length === 0 || bytes.length > 63) return undefined;
    parts.push(Buffer.of(bytes.length), bytes);
  }
  const wire = Buffer.concat([...parts, Buffer.of(0)]);
  return wire.length > MAX_NAME_BYTES ? undefined : wire;
}

export interface Answer {
  rcode: number;
  records: readonly AnswerRecord[];
  ttlSeconds: number;
  /** Whether it is from our own knowledge. */
  isAuthoritative: boolean;
}

/**
 * Writes the answer to a query.
 *
 * @param request the message that the query was read from
 * @param limitBytes what the transport takes; records beyond it are left out, and the answer says so (TC)
 */
export function writeAnswer(request: Buffer, query: Query, answer: Answer, limitBytes: number): Buffer {
  const { rcode, records, ttlSeconds, isAuthoritative } = answer;
  const optBytes = query.edns === undefined ? 0 : OPT_BYTES;
  let sizeBytes = query.questionEnd + optBytes;
  let count = 0;
  for (const { data } of records) {
    if (sizeBytes + 12 + data.length > limitBytes) break;
    sizeBytes += 12 + data.length;
    count += 1;
  }
  const message = Buffer.allocUnsafe(sizeBytes);
  request.copy(message, HEADER_BYTES, HEADER_BYTES, query.questionEnd);
  message.writeUInt16BE(query.id, 0);
  message.writeUInt16BE(
    RESPONSE |
      query.flags |
      RECURSION_AVAILABLE |
      (isAuthoritative ? AUTHORITATIVE : 0) |
      (count < records.length ? TRUNCATED : 0) |
      (rcode & 0xf),
    2,
  );
  message.writeUInt16BE(1, 4);
  message.writeUInt16BE(count, 6);
  message.writeUInt16BE(0, 8);
  message.writeUInt16BE(optBytes === 0 ? 0 : 1, 10);
  let at = query.questionEnd;
  for (let index = 0; index < count; index += 1) {
    const { type, data } = records[index] as AnswerRecord;
    // The name is the question's: a pointer to it (RFC 1035 section 4.1.4).
    message.writeUInt16BE(0xc000 | HEADER_BYTES, at);
    message.writeUInt16BE(type, at + 2);
    message.writeUInt16BE(CLASS_IN, at + 4);
    message.writeUInt32BE(ttlSeconds, at + 6);
    message.writeUInt16BE(data.length, at + 10);
    message.set(data, at + 12);
    at += 12 + data.length;
  }
  if (optBytes > 0) writeOpt(message, at, rcode);
  return message;
}

/** The answer to what could not be read as a query: a header alone. */
export function writeRefusal({ id, flags, rcode }: Refusal): Buffer {
  const message = Buffer.alloc(HEADER_BYTES);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(RESPONSE | flags | RECURSION_AVAILABLE | rcode, 2);
  return message;
}

function writeOpt(message: Buffer, at: number, rcode: number): void {
  message.writeUInt8(0, at);
  message.writeUInt16BE(RecordType.OPT, at + 1);
  message.writeUInt16BE(EDNS_UDP_BYTES, at + 3);
  // Upper bits of the response code, version 0, no flags.
  message.writeUInt32BE(((rcode >> 4) & 0xff) << 24, at + 5);
  message.writeUInt16BE(0, at + 9);
}

function counts(message: Buffer): [questions: number, answers: number, authorities: number, additional: number] {
  return [message.readUInt16BE(4), message.readUInt16BE(6), message.readUInt16BE(8), message.readUInt16BE(10)];
}

/** Reads the OPT record among the additional ones; false: malformed. */
function readAdditional(message: Buffer, count: number, query: Query): boolean {
  let at = query.questionEnd;
  for (let index = 0; index < count; index += 1) {
    const record = readRecord(message, at);
    if (record === undefined) return false;
    if (record.type === RecordType.OPT) {
      // One at most, and of the root (RFC 6891 section 6.1.1).
      if (query.edns !== undefined || message[at] !== 0) return false;
      query.udpSizeBytes = Math.max(record.class, PLAIN_UDP_BYTES);
      query.edns = (record.ttlSeconds >>> 16) & 0xff;
    }
    at = record.end;
  }
  return at === message.length;
}

export interface ReadRecord {
  type: number;
  class: number;
  ttlSeconds: number;
  dataStart: number;
  end: number;
}

/** The record at an offset; undefined: it is cut off. */
export function readRecord(message: Buffer, start: number): ReadRecord | undefined {
  const nameEnd = endOfName(message, start);
  const dataStart = nameEnd + 10;
  if (nameEnd < 0 || dataStart > message.length) return undefined;
  const end = dataStart + message.readUInt16BE(nameEnd + 8);
  if (end > message.length) return undefined;
  return {
    type: message.readUInt16BE(nameEnd),
    class: message.readUInt16BE(nameEnd + 2),
    ttlSeconds: message.readUInt32BE(nameEnd + 4),
    dataStart,
    end,
  };
}

/** Where an uncompressed name ends; -1: it does not, or it is too long, or compressed. */
function endOfPlainName(message: Buffer, start: number): number {
  const end = endOfName(message, start);
  // A pointer ends a name with two bytes of which the first is at least 0xc0; a plain name ends with 0.
  if (end < 0 || end - start > MAX_NAME_BYTES) return -1;
  for (let at = start; ; at += 1 + (message[at] as number)) {
    if ((message[at] as number) >= 0xc0) return -1;
    if (message[at] === 0) return end;
  }
}

/** Where a name ends, be it by the root or by a pointer (which is not followed); -1: cut off or of unknown labels. */
function endOfName(message: Buffer, start: number): number {
  for (let at = start; at < message.length; ) {
    const length = message[at] as number;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : -1;
    if (length > 63) return -1;
    at += 1 + length;
  }
  return -1;
}

function readName(message: Buffer, start: number): string {
  let name = '';
  for (let at = start; message[at] !== 0; ) {
    const next = at + 1 + (message[at] as number);
    const label = message.toString('latin1', at + 1, next);
    name += (name === '' ? '' : '.') + (label.includes('.') ? label.replaceAll('.', '\\.') : label);
    at = next;
  }
  return name.toLowerCase();
}

/**
 * Whether a message is an answer to exactly this query: an answer, one question, and that one the same but for case.
 *
 * @param sent the query as it was sent, with the id it was sent with
 */
export function answers(message: Buffer, sent: Buffer, questionEnd: number): boolean {
  if (message.length < questionEnd || message.length > MAX_MESSAGE_BYTES) return false;
  if (message.readUInt16BE(0) !== sent.readUInt16BE(0)) return false;
  const header = message.readUInt16BE(2);
  if ((header & RESPONSE) === 0 || (header & OPCODE) !== 0 || message.readUInt16BE(4) !== 1) return false;
  const same = (a: number, b: number) => a === b || (a ^ b) === 0x20;
  for (let at = HEADER_BYTES; at < questionEnd; at += 1) {
    const [ours, theirs] = [sent[at] as number, message[at] as number];
    // Letters of names may come back in the other case; type and class, the last four bytes, may not.
    if (ours !== theirs && (at >= questionEnd - 4 || !same(ours, theirs) || !isLetter(ours))) return false;
  }
  return true;
}

const isLetter = (byte: number): boolean => (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);

export const rcodeOf = (message: Buffer): number => message.readUInt16BE(2) & 0xf;
export const isTruncated = (message: Buffer): boolean => (message.readUInt16BE(2) & TRUNCATED) !== 0;

/**
 * Another server's answer as the asker must see it: his id, his spelling of the name, and not longer than he takes.
 */
export function passOn(answer: Buffer, request: Buffer, query: Query, limitBytes: number): Buffer {
  if (answer.length > limitBytes) return cutShort(answer, request, query);
  const message = Buffer.from(answer);
  request.copy(message, 0, 0, 2);
  request.copy(message, HEADER_BYTES, HEADER_BYTES, query.questionEnd);
  return message;
}

/** Without its records, and saying so: the asker comes again by TCP. */
function cutShort(answer: Buffer, request: Buffer, query: Query): Buffer {
  const message = writeAnswer(
    request,
    query,
    { rcode: rcodeOf(answer), records: [], ttlSeconds: 0, isAuthoritative: false },
    MAX_MESSAGE_BYTES,
  );
  message.writeUInt16BE(message.readUInt16BE(2) | TRUNCATED, 2);
  return message;
}

/**
 * Addresses that an answer's first section gives for the name that was asked for, itself or by way of the names that it is an
 * alias of (RFC 1034 section 3.6.2), with the lowest TTL on the way. What is malformed ends the section; records of other
 * names are no answer.
 */
export function answeredAddresses(
  message: Buffer,
  { name, questionEnd }: Pick<Query, 'name' | 'questionEnd'>,
): { addresses: Buffer[]; ttlSeconds: number } {
  const records = answerRecords(message, questionEnd);
  const aliases = new Map<string, AnsweredRecord>();
  for (const record of records) if (record.type === RecordType.CNAME) aliases.set(record.owner, record);
  const chain = new Set([name]);
  let ttlSeconds = Number.POSITIVE_INFINITY;
  for (let at = name; ; ) {
    const alias = aliases.get(at);
    const target = alias === undefined ? undefined : readCompressedName(message, alias.dataStart);
    if (alias === undefined || target === undefined || chain.has(target)) break;
    chain.add(target);
    ttlSeconds = Math.min(ttlSeconds, alias.ttlSeconds);
    at = target;
  }
  const found = records.filter(
    ({ type, owner, dataStart, end }) =>
      chain.has(owner) &&
      ((type === RecordType.A && end - dataStart === 4) || (type === RecordType.AAAA && end - dataStart === 16)),
  );
  for (const record of found) ttlSeconds = Math.min(ttlSeconds, record.ttlSeconds);
  return {
    addresses: found.map(({ dataStart, end }) => message.subarray(dataStart, end)),
    ttlSeconds: found.length === 0 ? 0 : ttlSeconds,
  };
}

interface AnsweredRecord extends ReadRecord {
  owner: string;
}

/** Records of the Internet's class in an answer's first section, as far as they can be read. */
function answerRecords(message: Buffer, questionEnd: number): AnsweredRecord[] {
  const records: AnsweredRecord[] = [];
  let at = questionEnd;
  for (let left = message.readUInt16BE(6); left > 0; left -= 1) {
    const record = readRecord(message, at);
    const owner = readCompressedName(message, at);
    if (record === undefined || owner === undefined) break;
    if (record.class === CLASS_IN) records.push({ ...record, owner });
    at = record.end;
  }
  return records;
}

/** A name that may be compressed, as {@link nameKey} spells it; undefined: cut off, too long, or a pointer not backwards. */
function readCompressedName(message: Buffer, start: number): string | undefined {
  const labels: string[] = [];
  let sizeBytes = 1;
  for (let at = start, limit = start; ; ) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return labels.join('.').toLowerCase();
    if (length >= 0xc0) {
      const target = ((length & 0x3f) << 8) | (message[at + 1] ?? 0xff);
      // Each pointer leads further back than the last one, so there are no circles (RFC 1035 section 4.1.4).
      if (at + 1 >= message.length || target >= limit) return undefined;
      limit = target;
      at = target;
      continue;
    }
    sizeBytes += 1 + length;
    if (length > 63 || sizeBytes > MAX_NAME_BYTES || at + 1 + length > message.length) return undefined;
    labels.push(message.toString('latin1', at + 1, at + 1 + length).replaceAll('.', '\\.'));
    at += 1 + length;
  }
}
