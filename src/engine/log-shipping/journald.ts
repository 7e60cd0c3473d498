import { UnixSender } from './datagram-sender.ts';
import { chosenAttributes, type LogSource, parseTag } from './description.ts';
import type { LogSink, ShippedLine } from './sink.ts';

const SOCKET = '/run/systemd/journal/socket';
/** syslog(3)'s levels. */
const priority = { stdout: '6', stderr: '3' };
const NEWLINE = 10;

/** systemd-journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), with docker's field names. */
export function openJournald(source: LogSource, options: Readonly<Record<string, string>>): LogSink {
  const sender = new UnixSender([SOCKET]);
  const tag = parseTag(options['tag'])(source);
  const fixed = Buffer.concat([
    field('CONTAINER_ID', source.id.slice(0, 12)),
    field('CONTAINER_ID_FULL', source.id),
    field('CONTAINER_NAME', source.name),
    field('CONTAINER_TAG', tag),
    field('IMAGE_NAME', source.imageName),
    field('SYSLOG_IDENTIFIER', tag),
    ...chosenAttributes(options)(source).flatMap(([name, value]) => {
      const key = fieldName(name);
      return key === '' ? [] : [field(key, value)];
    }),
  ]);
  const encode = ({ stream, time, text, part }: ShippedLine): Buffer =>
    Buffer.concat([
      fixed,
      field('PRIORITY', priority[stream]),
      field('SYSLOG_TIMESTAMP', time),
      ...(part === undefined
        ? []
        : [
            field('CONTAINER_PARTIAL_ID', part.id),
            field('CONTAINER_PARTIAL_ORDINAL', String(part.ordinal)),
            field('CONTAINER_PARTIAL_LAST', String(part.isLast)),
            ...(part.isLast ? [] : [field('CONTAINER_PARTIAL_MESSAGE', 'true')]),
          ]),
      field('MESSAGE', text),
    ]);
  return {
    connect: () => sender.connect(),
    async send(lines) {
      for (const line of lines) await sender.send(encode(line));
    },
    [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
  };
}

/** `NAME=VALUE`, or the name, the length and the bytes where the value has a newline. */
function field(name: string, value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  if (!bytes.includes(NEWLINE)) return Buffer.concat([Buffer.from(`${name}=`), bytes, Buffer.from('\n')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')]);
}

/** Capitals, digits and underscores, none of these in front: with one in front a field would be journald's own. */
export const fieldName = (name: string): string =>
  name
    .toUpperCase()
    .replaceAll(/[^A-Z0-9_]/g, '_')
    .replace(/^[_0-9]+/, '')
    .slice(0, 64);
