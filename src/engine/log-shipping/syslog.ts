import { hostname } from 'node:os';
import { type DatagramSender, UdpSender, UnixSender } from './datagram-sender.ts';
import { type LogSource, parseTag } from './description.ts';
import { type CollectorAddress, type SyslogOptions, syslogOptions } from './options.ts';
import type { LogSink, ShippedLine } from './sink.ts';
import { StreamSender } from './stream-sender.ts';

const localSockets = ['/dev/log', '/var/run/syslog', '/var/run/log'];
/** RFC 5424 section 6.2.1. */
const severity = { stdout: 6, stderr: 3 };

/** Syslog messages (RFC 3164, RFC 5424; RFC 5425 over TLS), as docker's driver writes them. */
export function openSyslog(source: LogSource, options: Readonly<Record<string, string>>): LogSink {
  const parsed = syslogOptions(options);
  const tag = parseTag(options['tag'])(source);
  const format = formatter(parsed, tag);
  const { address } = parsed;
  if (address?.transport === 'tcp' || address?.transport === 'tls' || address?.transport === 'unix') {
    const sender = new StreamSender(address, address.transport === 'tls' ? { tls: parsed.tls } : {});
    const counted = address.transport === 'tls' && parsed.format.startsWith('rfc5424');
    return {
      connect: async () => void (await sender.connect()),
      send: (lines) => sender.write(Buffer.concat(lines.map((line) => framed(format(line), counted)))),
      [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
    };
  }
  const sender = datagramSender(address);
  return {
    connect: () => sender.connect(),
    async send(lines) {
      for (const line of lines) await sender.send(format(line));
    },
    [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
  };
}

function datagramSender(address: CollectorAddress | undefined): DatagramSender {
  if (address === undefined) return new UnixSender(localSockets);
  return 'path' in address ? new UnixSender([address.path]) : new UdpSender(address.host, address.port);
}

/** A message ends with a newline, or its length stands before it (RFC 5425 section 4.3). */
function framed(message: Buffer, counted: boolean): Buffer {
  const ended = Buffer.concat([message, Buffer.from('\n')]);
  return counted ? Buffer.concat([Buffer.from(`${ended.length} `), ended]) : ended;
}

function formatter({ facility, format }: SyslogOptions, tag: string): (line: ShippedLine) => Buffer {
  const host = hostname();
  const head = ({ stream, time }: ShippedLine): string => {
    const priority = `<${facility * 8 + severity[stream]}>`;
    switch (format) {
      case 'rfc5424':
        return `${priority}1 ${time.slice(0, 19)}Z ${host} ${tag} ${process.pid} ${tag} - `;
      case 'rfc5424micro':
        return `${priority}1 ${time.slice(0, 26)}Z ${host} ${tag} ${process.pid} ${tag} - `;
      case 'rfc3164':
        return `${priority}${stamp(time)} ${host} ${tag}[${process.pid}]: `;
      case '':
        return `${priority}${stamp(time)} ${tag}[${process.pid}]: `;
    }
  };
  return (line) => Buffer.concat([Buffer.from(head(line)), line.text]);
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Jan _2 15:04:05` in the host's time zone (RFC 3164 section 4.1.2). */
function stamp(time: string): string {
  const date = new Date(`${time.slice(0, 23)}Z`);
  const two = (number: number) => String(number).padStart(2, '0');
  const day = String(date.getDate()).padStart(2, ' ');
  return `${months[date.getMonth()]} ${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
