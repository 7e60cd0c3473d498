/** A DNS client of the tests' own, which shares no code with the engine. As a program it asks for an `Asker`. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { createInterface } from 'node:readline';

export const types = {
  A: 1,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  HTTPS: 65,
  AXFR: 252,
  ANY: 255,
};
type TypeName = keyof typeof types;

export interface Question {
  name: string;
  type?: TypeName;
  class?: number;
  id?: number;
  /** Size that the client takes, with EDNS. */
  edns?: number;
  ednsVersion?: number;
}

export interface Ask extends Question {
  server: string;
  port?: number;
  transport?: 'udp' | 'tcp';
  /** The address to ask from. */
  from?: string;
  timeoutMs?: number;
}

export interface Told {
  id: number;
  rcode: number;
  isAuthoritative: boolean;
  isTruncated: boolean;
  /** Texts of the records of the answer section, in their order. */
  answers: string[];
  ttls: number[];
  hasEdns: boolean;
  sizeBytes: number;
  question: string;
}

export function encodeQuestion(question: Question): Buffer {
  const {
    name,
    type = 'A',
    class: kind = 1,
    id = Math.floor(Math.random() * 65_536),
    edns,
    ednsVersion = 0,
  } = question;
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(edns === undefined ? 0 : 1, 10);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(types[type], 0);
  tail.writeUInt16BE(kind, 2);
  const parts = [header, encodeName(name), tail];
  if (edns !== undefined) {
    const opt = Buffer.alloc(11);
    opt.writeUInt16BE(types.OPT, 1);
    opt.writeUInt16BE(edns, 3);
    opt.writeUInt8(ednsVersion, 6);
    parts.push(opt);
  }
  return Buffer.concat(parts);
}

export function encodeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([
    ...labels.flatMap((label) => [Buffer.of(Buffer.byteLength(label)), Buffer.from(label)]),
    Buffer.of(0),
  ]);
}

/** @throws what is not a well-formed message to its last byte */
export function decode(message: Buffer): Told {
  const reader = new Reader(message);
  const [id, flags, questions, answers, authorities, additional] = Array.from({ length: 6 }, () => reader.u16()) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  let question = '';
  for (let index = 0; index < questions; index += 1) question = `${reader.name()} ${reader.u16()} ${reader.u16()}`;
  const records = Array.from({ length: answers }, () => reader.record());
  const rest = Array.from({ length: authorities + additional }, () => reader.record());
  if (reader.at !== message.length) throw new Error(`${message.length - reader.at} bytes too many`);
  const opt = rest.find(({ type }) => type === types.OPT);
  return {
    id,
    rcode: (flags & 0xf) | (opt === undefined ? 0 : (opt.ttl >>> 24) << 4),
    isAuthoritative: (flags & 0x0400) !== 0,
    isTruncated: (flags & 0x0200) !== 0,
    answers: records.map(({ text }) => text),
    ttls: records.map(({ ttl }) => ttl),
    hasEdns: opt !== undefined,
    sizeBytes: message.length,
    question,
  };
}

class Reader {
  at = 0;
  readonly #message: Buffer;

  constructor(message: Buffer) {
    this.#message = message;
  }

  u16(): number {
    this.at += 2;
    return this.#message.readUInt16BE(this.at - 2);
  }

  u32(): number {
    return this.u16() * 65_536 + this.u16();
  }

  name(): string {
    const labels: string[] = [];
    let at = this.at;
    let end: number | undefined;
    for (let jumps = 0; jumps < 20; ) {
      const length = this.#message.readUInt8(at);
      if (length >= 0xc0) {
        end ??= at + 2;
        at = this.#message.readUInt16BE(at) & 0x3fff;
        jumps += 1;
      } else if (length === 0) {
        this.at = end ?? at + 1;
        return labels.join('.');
      } else {
        labels.push(this.#message.toString('latin1', at + 1, at + 1 + length));
        at += 1 + length;
      }
    }
    throw new Error('a name that never ends');
  }

  record(): { type: number; ttl: number; text: string } {
    this.name();
    const type = this.u16();
    this.u16();
    const ttl = this.u32();
    const length = this.u16();
    const end = this.at + length;
    const bytes = this.#message.subarray(this.at, end);
    if (bytes.length !== length) throw new Error('a record that is cut off');
    let text = bytes.toString('hex');
    if (type === types.A) text = bytes.join('.');
    if (type === types.AAAA) text = new URL(`http://[${text.match(/.{4}/g)!.join(':')}]`).hostname.slice(1, -1);
    if (type === types.PTR || type === types.CNAME) text = this.name();
    this.at = end;
    return { type, ttl, text };
  }
}

/** @returns an error's code, or 'timeout', when nothing came back */
export async function ask(request: Ask): Promise<Told | string> {
  const reply = await askRaw(encodeQuestion(request), request);
  return typeof reply === 'string' ? reply : decode(reply);
}

/** Sends any bytes. */
export async function askRaw(message: Buffer, to: Omit<Ask, 'name'>): Promise<Buffer | string> {
  const { server, port = 53, transport = 'udp', from, timeoutMs = 5_000 } = to;
  const { promise, resolve } = Promise.withResolvers<Buffer | string>();
  const timer = setTimeout(() => resolve('timeout'), timeoutMs);
  const failed = (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message);
  let close: () => void;
  if (transport === 'udp') {
    const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
    close = () => socket.close();
    socket.on('error', failed);
    socket.on('message', (reply) => resolve(reply));
    socket.bind({ port: 0, ...(from !== undefined && { address: from }) }, () => {
      // Connected, so that the refusal of a closed port is heard.
      socket.connect(port, server, () => socket.send(message));
    });
  } else {
    const socket = connect({ host: server, port, ...(from !== undefined && { localAddress: from }) });
    close = () => socket.destroy();
    let received = Buffer.alloc(0);
    socket.on('error', failed);
    socket.on('close', () => resolve('closed'));
    socket.on('connect', () =>
      socket.write(Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message])),
    );
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        resolve(received.subarray(2, 2 + received.readUInt16BE(0)));
      }
    });
  }
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    close();
  }
}

/** Asks from inside a network namespace, by way of a process that lives there. */
export class Asker implements Disposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, (told: Told | string) => void>();
  #count = 0;

  /** @param start gives the process that runs a command line inside the namespace */
  constructor(start: (argv: string[]) => ChildProcessWithoutNullStreams) {
    this.#child = start([process.execPath, import.meta.filename]);
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const { number, told } = JSON.parse(line) as { number: number; told: Told | string };
      this.#waiting.get(number)?.(told);
      this.#waiting.delete(number);
    });
    this.#child.stdin.on('error', () => {});
  }

  ask(request: Ask): Promise<Told | string> {
    this.#count += 1;
    const { promise, resolve } = Promise.withResolvers<Told | string>();
    this.#waiting.set(this.#count, resolve);
    this.#child.stdin.write(`${JSON.stringify({ number: this.#count, request })}\n`);
    return promise;
  }

  /** The answer's records in one line, sorted; `rcode N` of an error; or why there is none. */
  async answer(request: Ask): Promise<string> {
    const told = await this.ask(request);
    if (typeof told === 'string') return told;
    return told.rcode === 0 ? told.answers.sort().join(' ') : `rcode ${told.rcode}`;
  }

  [Symbol.dispose](): void {
    this.#child.stdin.end();
  }
}

if (process.argv[1] === import.meta.filename) {
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const { number, request } = JSON.parse(line) as { number: number; request: Ask };
    process.stdout.write(`${JSON.stringify({ number, told: await ask(request) })}\n`);
  });
}
