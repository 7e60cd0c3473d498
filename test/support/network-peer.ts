import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import koffi from 'koffi';
import { parseAddress } from '../../src/linux/index.ts';

/**
 * A program that serves and asks inside one network namespace, told what to do over IPC by `Peer`. An answer is the
 * address that the server saw its client at.
 */
export type PeerCommand =
  | { verb: 'serve'; protocol: 'tcp' | 'udp' | 'sctp'; port: number; host?: string }
  | { verb: 'ask'; protocol: 'tcp' | 'udp' | 'sctp'; host: string; port: number; timeoutMs: number };

export type PeerAnswer = { number: number; text: string };

const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const sendto = libc.func('long sendto(int fd, void *data, size_t n, int flags, void *address, unsigned int length)');
const recv = libc.func('long recv(int fd, _Out_ void *data, size_t length, int flags)');

const AF_INET = 2;
const SOCK_RAW = 3;
const IPPROTO_SCTP = 132;
const MSG_DONTWAIT = 0x40;

process.on('message', async ({ number, ...command }: PeerCommand & { number: number }) => {
  process.send?.({ number, text: await obey(command as PeerCommand) } satisfies PeerAnswer);
});
process.on('disconnect', () => process.exit());

async function obey(command: PeerCommand): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  if (command.verb === 'serve') serve(command.protocol, command.port, command.host, resolve);
  else ask(command, resolve);
  return await promise;
}

function serve(
  protocol: PeerCommand['protocol'],
  port: number,
  host: string | undefined,
  ready: (text: string) => void,
): void {
  if (protocol === 'tcp') {
    const server = createServer((client) => {
      client.on('error', () => {});
      client.end(plain(client.remoteAddress ?? ''));
    });
    server.listen(port, () => ready('serving'));
  } else if (protocol === 'udp') {
    const server = createSocket({ type: 'udp4' });
    server.on('message', (_, { address, port }) => server.send(address, port, address));
    server.bind({ port, ...(host === undefined ? {} : { address: host }) }, () => ready('serving'));
  } else {
    serveSctp(port);
    ready('serving');
  }
}

function ask(command: PeerCommand & { verb: 'ask' }, answer: (text: string) => void): void {
  const { protocol, host, port, timeoutMs } = command;
  const timer = setTimeout(() => answer('timeout'), timeoutMs);
  const done = (text: string) => {
    clearTimeout(timer);
    answer(text);
  };
  if (protocol === 'tcp') {
    let text = '';
    const client = connect({ host, port });
    client.on('data', (chunk) => {
      text += chunk.toString();
    });
    client.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'));
    client.on('end', () => done(text));
    setTimeout(() => client.destroy(), timeoutMs);
  } else if (protocol === 'udp') {
    const client = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
    client.on('message', (message) => {
      client.close();
      done(message.toString());
    });
    client.send('question', port, host, (error) => error && done((error as NodeJS.ErrnoException).code ?? 'error'));
  } else {
    askSctp(host, port, done);
  }
}

const plain = (address: string): string => address.replace(/^::ffff:/, '');

// This kernel may have no SCTP sockets, while its routers know the protocol: the handshake's first two packets are made
// by hand (RFC 9260, 3.3.2 and 3.3.3).

const INIT = 1;
const INIT_ACK = 2;

function serveSctp(port: number): void {
  onSctp((packet, source) => {
    if (packet.readUInt16BE(2) !== port || packet.readUInt8(12) !== INIT) return false;
    const reply = sctpPacket(INIT_ACK, port, packet.readUInt16BE(0), packet.readUInt32BE(16), Buffer.from(source));
    sendSctp(reply, source);
    return false;
  });
}

function askSctp(host: string, port: number, answer: (text: string) => void): void {
  const from = 40_000 + Math.floor(Math.random() * 20_000);
  onSctp((packet) => {
    if (packet.readUInt16BE(2) !== from || packet.readUInt8(12) !== INIT_ACK) return false;
    const length = packet.readUInt16BE(14);
    // After the fixed part of the chunk: our own parameter, the client's address as text.
    answer(packet.subarray(12 + 20 + 4, 12 + length).toString());
    return true;
  });
  sendSctp(sctpPacket(INIT, from, port, 0, Buffer.alloc(0)), host);
}

/** Calls back for each SCTP packet that comes in, until it says true. */
function onSctp(handle: (packet: Buffer, source: string) => boolean): void {
  const fd = socket(AF_INET, SOCK_RAW, IPPROTO_SCTP);
  const buffer = Buffer.alloc(2048);
  const timer = setInterval(() => {
    for (;;) {
      const length = Number(recv(fd, buffer, buffer.length, MSG_DONTWAIT));
      if (length < 20 + 32) return;
      const header = (buffer.readUInt8(0) & 15) * 4;
      const source = buffer.subarray(12, 16).join('.');
      if (handle(Buffer.from(buffer.subarray(header, length)), source)) return clearInterval(timer);
    }
  }, 5);
}

function sctpPacket(type: number, from: number, to: number, tag: number, parameter: Buffer): Buffer {
  const hasParameter = parameter.length > 0;
  const chunk = Buffer.alloc(20 + (hasParameter ? (4 + parameter.length + 3) & ~3 : 0));
  chunk.writeUInt8(type, 0);
  chunk.writeUInt16BE(20 + (hasParameter ? 4 + parameter.length : 0), 2);
  chunk.writeUInt32BE(0x1234_5678, 4); // initiate tag
  chunk.writeUInt32BE(65_536, 8); // receiver window
  chunk.writeUInt16BE(1, 12);
  chunk.writeUInt16BE(1, 14);
  chunk.writeUInt32BE(1, 16);
  if (hasParameter) {
    chunk.writeUInt16BE(0x8001, 20); // a type to be skipped by who does not know it
    chunk.writeUInt16BE(4 + parameter.length, 22);
    chunk.set(parameter, 24);
  }
  const packet = Buffer.concat([Buffer.alloc(12), chunk]);
  packet.writeUInt16BE(from, 0);
  packet.writeUInt16BE(to, 2);
  packet.writeUInt32BE(tag, 4);
  packet.writeUInt32LE(crc32c(packet), 8);
  return packet;
}

function sendSctp(packet: Buffer, host: string): void {
  const fd = socket(AF_INET, SOCK_RAW, IPPROTO_SCTP);
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.set(parseAddress(host), 4);
  sendto(fd, packet, packet.length, 0, address, address.length);
}

/** RFC 9260, appendix A. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
