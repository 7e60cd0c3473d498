/**
 * Small packets, each from a socket of its own, so that each is a connection that the host's rules have not seen yet:
 * `node flow-client.ts ADDRESS PORT COUNT` prints the microseconds from a packet to its answer, as JSON: the median and
 * the lowest tenth. `node flow-client.ts serve PORT` answers.
 */
import koffi from 'koffi';
import { parseAddress } from '../src/linux/index.ts';
import { median } from './measure.ts';

const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, unsigned int length)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');
const sendto = libc.func('long sendto(int fd, void *data, size_t n, int flags, void *address, unsigned int length)');
const recv = libc.func('long recv(int fd, void *data, size_t n, int flags)');
const recvfrom = libc.func('long recvfrom(int fd, void *data, size_t n, int flags, void *address, void *length)');
const close = libc.func('int close(int fd)');

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;

const data = Buffer.alloc(64);

function socketAddress(address: string, port: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(parseAddress(address), 4);
  return bytes;
}

function serve(port: number): void {
  const fd = socket(AF_INET, SOCK_DGRAM, 0) as number;
  const own = socketAddress('0.0.0.0', port);
  if (bind(fd, own, own.length) !== 0) throw new Error(`port ${port} is taken`);
  console.log('ready');
  const from = Buffer.alloc(16);
  const length = Buffer.of(16, 0, 0, 0);
  for (;;) {
    const size = Number(recvfrom(fd, data, data.length, 0, from, length));
    if (size > 0) sendto(fd, data, size, 0, from, 16);
  }
}

/** @returns milliseconds */
function roundTrip(to: Buffer): number {
  const fd = socket(AF_INET, SOCK_DGRAM, 0) as number;
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(2n);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length);
  const started = performance.now();
  sendto(fd, data, 32, 0, to, to.length);
  const got = Number(recv(fd, data, data.length, 0));
  const took = performance.now() - started;
  close(fd);
  if (got !== 32) throw new Error('no answer within 2 s');
  return took;
}

const [, , first = '', second = '', count = ''] = process.argv;
if (first === 'serve') {
  serve(Number(second));
} else {
  const to = socketAddress(first, Number(second));
  for (let warm = 0; warm < 200; warm += 1) roundTrip(to);
  const times = Array.from({ length: Number(count) }, () => roundTrip(to) * 1000).sort((a, b) => a - b);
  console.log(JSON.stringify({ median: median(times), lowest: median(times.slice(0, times.length / 10)) }));
}
