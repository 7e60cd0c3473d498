import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { deflateSync, gzipSync } from 'node:zlib';
import { UdpSender } from './datagram-sender.ts';
import { chosenAttributes, type LogSource, parseTag } from './description.ts';
import { type GelfOptions, gelfOptions } from './options.ts';
import type { LogSink, ShippedLine } from './sink.ts';
import { StreamSender } from './stream-sender.ts';

/** Of a datagram: what fits an Ethernet frame through most tunnels. */
const CHUNK_BYTES = 1420;
const CHUNK_HEAD_BYTES = 12;
const MAX_CHUNKS = 128;
const level = { stdout: 6, stderr: 3 };

/** GELF 1.1 (Graylog's format): JSON by UDP, compressed and in chunks, or by TCP, ended by a zero byte. */
export function openGelf(source: LogSource, options: Readonly<Record<string, string>>): LogSink {
  const parsed = gelfOptions(options);
  const encode = encoder(source, options);
  if (parsed.address.transport === 'tcp') {
    const sender = new StreamSender(parsed.address);
    return {
      connect: async () => void (await sender.connect()),
      send: (lines) => sender.write(Buffer.concat(lines.map((line) => Buffer.from(`${encode(line)}\0`)))),
      [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
    };
  }
  const sender = new UdpSender(parsed.address.host, (parsed.address as { port: number }).port);
  return {
    connect: () => sender.connect(),
    async send(lines) {
      for (const line of lines)
        for (const chunk of chunks(compress(Buffer.from(encode(line)), parsed))) await sender.send(chunk);
    },
    [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
  };
}

function encoder(source: LogSource, options: Readonly<Record<string, string>>): (line: ShippedLine) => string {
  const extra = Object.fromEntries(chosenAttributes(options)(source).map(([name, value]) => [`_${name}`, value]));
  const described = {
    _container_id: source.id,
    _container_name: source.name,
    _image_id: source.imageId,
    _image_name: source.imageName,
    _command: source.command.join(' '),
    _tag: parseTag(options['tag'])(source),
    _created: new Date(source.createdMs).toISOString(),
  };
  const host = hostname();
  return ({ stream, time, text }) =>
    JSON.stringify({
      version: '1.1',
      host,
      short_message: Buffer.from(text).toString(),
      timestamp: Date.parse(time) / 1000,
      level: level[stream],
      ...extra,
      ...described,
    });
}

function compress(message: Buffer, { compression, level: effort }: GelfOptions): Buffer {
  if (compression === 'none') return message;
  return (compression === 'gzip' ? gzipSync : deflateSync)(message, { level: effort });
}

/** A message in one datagram, or in chunks with a head of their own. One of more than 128 chunks is none: it is left out. */
function chunks(message: Buffer): Buffer[] {
  if (message.length <= CHUNK_BYTES) return [message];
  const size = CHUNK_BYTES - CHUNK_HEAD_BYTES;
  const count = Math.ceil(message.length / size);
  if (count > MAX_CHUNKS) return [];
  const id = randomBytes(8);
  return Array.from({ length: count }, (_, index) =>
    Buffer.concat([
      Buffer.from([0x1e, 0x0f]),
      id,
      Buffer.from([index, count]),
      message.subarray(index * size, (index + 1) * size),
    ]),
  );
}
