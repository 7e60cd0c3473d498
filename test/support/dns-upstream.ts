/** A resolver of the tests' own, which answers as a test says. As a program: `node dns-upstream.ts ADDRESS PORT RECORD`. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** What a resolver makes of a query: messages to send back, each as it is. */
export type Script = (query: Buffer, transport: 'udp' | 'tcp') => Buffer[] | Promise<Buffer[]>;

export interface Upstream extends AsyncDisposable {
  readonly address: string;
  /** Ports that queries came from, in their order. */
  readonly sources: number[];
  readonly ids: number[];
  readonly transports: string[];
}

/** Listens on UDP and TCP. */
export async function startUpstream(address: string, port: number, script: Script): Promise<Upstream> {
  const sources: number[] = [];
  const ids: number[] = [];
  const transports: string[] = [];
  const note = (query: Buffer, source: number, transport: string) => {
    sources.push(source);
    ids.push(query.readUInt16BE(0));
    transports.push(transport);
  };
  const datagrams = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  datagrams.on('message', async (query, from) => {
    note(query, from.port, 'udp');
    for (const reply of await script(query, 'udp')) datagrams.send(reply, from.port, from.address);
  });
  const stream = createServer((socket) => {
    socket.on('error', () => {});
    let received = Buffer.alloc(0);
    socket.on('data', async (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const query = received.subarray(2, 2 + received.readUInt16BE(0));
      note(query, socket.remotePort ?? 0, 'tcp');
      for (const reply of await script(query, 'tcp')) {
        socket.write(Buffer.concat([Buffer.of(reply.length >> 8, reply.length & 0xff), reply]));
      }
    });
  });
  const bound = Promise.withResolvers<void>();
  const listening = Promise.withResolvers<void>();
  datagrams.bind(port, address, () => bound.resolve());
  stream.listen(port, address, () => listening.resolve());
  await Promise.all([bound.promise, listening.promise]);
  return {
    ...{ address, sources, ids, transports },
    [Symbol.asyncDispose]: async () => {
      datagrams.close();
      stream.close();
    },
  };
}

/** An answer to a query with one question: so many addresses from `first` on, or only a response code. */
export function reply(
  query: Buffer,
  first: string,
  options: { count?: number; rcode?: number; ttl?: number } = {},
): Buffer {
  const { count = 1, rcode = 0, ttl = 300 } = options;
  let end = 12;
  while (query[end] !== 0) end += 1 + query[end]!;
  const questionEnd = end + 5;
  const head = Buffer.from(query.subarray(0, questionEnd));
  head.writeUInt16BE(0x8180 | rcode, 2);
  head.writeUInt16BE(count, 6);
  head.writeUInt32BE(0, 8);
  const bytes = first.split('.').map(Number);
  const records = Array.from({ length: count }, (_, index) => {
    const record = Buffer.from('c00c0001000100000000000400000000', 'hex');
    record.writeUInt32BE(ttl, 6);
    record.set([bytes[0]!, bytes[1]!, bytes[2]! + (index >> 8), (bytes[3]! + index) & 0xff], 12);
    return record;
  });
  return Buffer.concat([head, ...records]);
}

/** The same with nothing in it but the notice that it is too long. */
export function truncated(query: Buffer): Buffer {
  const message = reply(query, '0.0.0.0', { count: 0 });
  message.writeUInt16BE(0x8380, 2);
  return message;
}

if (process.argv[1] === import.meta.filename) {
  const [, , address = '', port = '53', record = ''] = process.argv;
  await startUpstream(address, Number(port), (query, transport) => {
    const isLong = query.subarray(12).includes(Buffer.from('\x04long', 'latin1'));
    if (!isLong) return [reply(query, record)];
    return [transport === 'udp' ? truncated(query) : reply(query, record, { count: 500 })];
  });
  process.stdout.write('ready\n');
}
