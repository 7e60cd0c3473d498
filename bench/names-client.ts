/**
 * Asks one name server for names, in the network that it is started in, and prints what it measured as JSON:
 * `node names-client.ts SERVER NAME[,NAME…]`.
 */
import { createSocket } from 'node:dgram';
import { encodeQuestion } from '../test/support/dns-client.ts';
import { median } from './measure.ts';

const ROUNDS = 2_000;
const OUTSTANDING = 64;
const DURATION_MS = 2_000;

const [, , server = '', list = ''] = process.argv;
const questions = list.split(',').map((name, id) => encodeQuestion({ name, id }));
const socket = createSocket('udp4');
let answered: (message: Buffer) => void = () => {};
socket.on('message', (message) => answered(message));
await new Promise<void>((resolve) => socket.connect(53, server, resolve));

/** One after the other. @returns milliseconds of each */
async function latencies(): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    answered = resolve;
    const started = performance.now();
    socket.send(questions[round % questions.length]!);
    const message = await promise;
    times.push(performance.now() - started);
    // One answer at least, and no error.
    if ((message[3]! & 0xf) !== 0 || message.readUInt16BE(6) === 0) throw new Error('not the answer that was expected');
  }
  return times;
}

/** Many at once. @returns answers a second */
async function throughput(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  let next = 0;
  const send = () => {
    socket.send(questions[next % questions.length]!);
    next += 1;
  };
  const started = performance.now();
  answered = () => {
    count += 1;
    if (performance.now() - started < DURATION_MS) send();
    else resolve();
  };
  for (let index = 0; index < OUTSTANDING; index += 1) send();
  // What is lost is not sent again: those that are left go on.
  const late = setTimeout(resolve, 2 * DURATION_MS);
  await promise;
  clearTimeout(late);
  return (count / (performance.now() - started)) * 1000;
}

await latencies(); // warms both sides
const times = await latencies();
await throughput();
const perSecond = await throughput();
socket.close();
process.stdout.write(JSON.stringify({ medianMs: median(times), perSecond }));
