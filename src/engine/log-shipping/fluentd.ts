import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import { chosenAttributes, type LogSource, parseTag } from './description.ts';
import { fluentdOptions } from './options.ts';
import type { LogSink, ShippedLine } from './sink.ts';
import { StreamSender } from './stream-sender.ts';

const EVENT_TIME = 0;
const ACK_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024;

type MessagePack = typeof import('@msgpack/msgpack');

/** Fluentd's forward protocol, version 1, Forward mode: `[tag, [[time, record], …], option]` in MessagePack. */
export function openFluentd(source: LogSource, options: Readonly<Record<string, string>>): LogSink {
  const { address, hasSubSeconds, wantsAck, writeTimeoutMs } = fluentdOptions(options);
  const answers = new Answers();
  const sender = new StreamSender(address, { writeTimeoutMs }, (bytes) => answers.push(bytes));
  const tag = parseTag(options['tag'])(source);
  const extra = Object.fromEntries(chosenAttributes(options)(source));
  const recordOf = ({ stream, text, part }: ShippedLine) => ({
    ...extra,
    container_id: source.id,
    container_name: `/${source.name}`,
    source: stream,
    log: Buffer.from(text).toString(),
    ...(part === undefined
      ? {}
      : {
          partial_message: 'true',
          partial_id: part.id,
          partial_ordinal: String(part.ordinal),
          partial_last: String(part.isLast),
        }),
  });
  return {
    connect: async () => void (await sender.connect()),
    async send(lines) {
      const pack = await import('@msgpack/msgpack');
      const timeOf = ({ time }: ShippedLine) =>
        hasSubSeconds ? eventTime(pack, time) : Math.floor(Date.parse(time) / 1000);
      const chunk = randomUUID();
      const entries = lines.map((line) => [timeOf(line), recordOf(line)]);
      try {
        const asked = wantsAck ? answers.ask(pack, chunk) : undefined;
        await sender.write(pack.encode([tag, entries, wantsAck ? { chunk } : {}]));
        await asked?.arrival();
      } catch (error) {
        sender.drop();
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
  };
}

/** Seconds and nanoseconds, four bytes each, as the extension that the protocol gives number 0. */
function eventTime({ ExtData }: MessagePack, time: string): InstanceType<MessagePack['ExtData']> {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(Date.parse(time) / 1000));
  view.setUint32(4, Number((/\.(\d{1,9})/.exec(time)?.[1] ?? '0').padEnd(9, '0')));
  return new ExtData(EVENT_TIME, bytes);
}

/** What the collector answers: `{ack: CHUNK}`. */
class Answers {
  #received: Buffer = Buffer.alloc(0);
  #arrived: (() => void) | undefined;

  push(bytes: Buffer): void {
    // Nothing is expected where nothing was asked for.
    if (this.#arrived === undefined) return;
    this.#received = Buffer.concat([this.#received, bytes]).subarray(0, MAX_ANSWER_BYTES);
    this.#arrived();
  }

  /** Listens for the acknowledgement of a chunk that is about to be sent; what came of an earlier one is forgotten. */
  ask({ decode }: MessagePack, chunk: string): { arrival(): Promise<void> } {
    this.#received = Buffer.alloc(0);
    const arrived = Promise.withResolvers<unknown>();
    this.#arrived = () => {
      const answer = acknowledged(decode, this.#received);
      if (answer !== undefined) arrived.resolve(answer);
    };
    return {
      /** @throws {TareError} Unavailable: another answer than asked for, or none */
      async arrival() {
        const waiting = new AbortController();
        const late = sleep(ACK_MS, undefined, { ref: false, signal: waiting.signal }).catch(() => undefined);
        const answer = await Promise.race([arrived.promise, late]);
        waiting.abort();
        if (answer === chunk) return;
        const why =
          answer === undefined ? `no acknowledgement within ${ACK_MS / 1000} s` : 'it acknowledged something else';
        throw new TareError('Unavailable', `fluentd: ${why}`);
      },
    };
  }
}

/** @returns undefined: not whole yet */
function acknowledged(decode: MessagePack['decode'], bytes: Buffer): unknown {
  try {
    const answer = decode(bytes);
    return typeof answer === 'object' && answer !== null && 'ack' in answer ? answer.ack : null;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    return null;
  }
}
