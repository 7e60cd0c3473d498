import { randomInt } from 'node:crypto';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { isAway, isIPv6, openHostSocket } from '../../linux/index.ts';
import { socketInside } from './inner-sockets.ts';
import { answers, isTruncated, MAX_MESSAGE_BYTES, ResponseCode, rcodeOf } from './message.ts';

/** After so long without an answer the next resolver is asked, too; the earlier ones may still answer. */
const NEXT_RESOLVER_MS = 1_000;
/** A client gives up, or asks again, after 5 s. */
const GIVE_UP_MS = 4_500;
const MAX_OUTSTANDING = 2_048;
const MAX_OUTSTANDING_OF_ONE = 128;
const DNS_PORT = 53;

/** Asks other resolvers, with bounds, so that nobody uses up what the others need. */
export class Forwarder implements Disposable {
  readonly #outstanding = new Map<string, number>();
  readonly #running = new Set<Disposable>();
  readonly #port: number;
  #disposed = false;

  /** @param port where resolvers listen; another one in tests */
  constructor(port = DNS_PORT) {
    this.#port = port;
  }

  /**
   * The first usable answer. Each query goes out from a socket and with an id of its own, so that an answer cannot be
   * guessed, and an answer counts only if it comes from whom was asked and repeats the question.
   *
   * @param asker who waits for it; his share is bounded
   * @param namespace path of the network namespace that is asked from; '' for the own one
   * @param isStream whether the asker takes long answers: a truncated one is then asked for again by TCP
   * @returns undefined: none came in time, or too much is under way
   */
  async ask(
    asker: string,
    resolvers: readonly string[],
    request: Buffer,
    questionEnd: number,
    isStream: boolean,
    namespace = '',
  ): Promise<Buffer | undefined> {
    const own = this.#outstanding.get(asker) ?? 0;
    if (this.#disposed || own >= MAX_OUTSTANDING_OF_ONE || this.#running.size >= MAX_OUTSTANDING) return undefined;
    this.#outstanding.set(asker, own + 1);
    const inquiry = new Inquiry(request, questionEnd, this.#port, namespace);
    this.#running.add(inquiry);
    try {
      const found = await inquiry.run(resolvers);
      if (!isStream || found === undefined || !isTruncated(found.answer)) return found?.answer;
      return (await askByStream({ ...found, port: this.#port, namespace }, request, questionEnd)) ?? found.answer;
    } finally {
      this.#running.delete(inquiry);
      inquiry[Symbol.dispose]();
      const left = (this.#outstanding.get(asker) ?? 1) - 1;
      if (left > 0) this.#outstanding.set(asker, left);
      else this.#outstanding.delete(asker);
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const inquiry of this.#running) inquiry[Symbol.dispose]();
  }
}

interface Found {
  answer: Buffer;
  resolver: string;
}

/** One question on its way to one resolver after another. */
class Inquiry implements Disposable {
  readonly #sockets: DatagramSocket[] = [];
  readonly #request: Buffer;
  readonly #questionEnd: number;
  readonly #port: number;
  readonly #namespace: string;
  readonly #result = Promise.withResolvers<Found | undefined>();
  /** What a resolver said that could not help; better than nothing. */
  #lastRefusal: Found | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waiting: string[] = [];
  #open = 0;

  constructor(request: Buffer, questionEnd: number, port: number, namespace: string) {
    this.#request = request;
    this.#questionEnd = questionEnd;
    this.#port = port;
    this.#namespace = namespace;
  }

  async run(resolvers: readonly string[]): Promise<Found | undefined> {
    const giveUp = setTimeout(() => this.#result.resolve(this.#lastRefusal), GIVE_UP_MS);
    this.#waiting = [...resolvers];
    this.#askNext();
    try {
      return await this.#result.promise;
    } finally {
      clearTimeout(giveUp);
    }
  }

  #askNext(): void {
    clearTimeout(this.#timer);
    const resolver = this.#waiting.shift();
    if (resolver === undefined) {
      if (this.#open === 0) this.#result.resolve(this.#lastRefusal);
      return;
    }
    this.#open += 1;
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#askNext(), NEXT_RESOLVER_MS);
    this.#send(resolver);
  }

  #send(resolver: string): void {
    const sent = withId(this.#request, randomInt(0x10000));
    const socket = createSocket(isIPv6(resolver) ? 'udp6' : 'udp4');
    this.#sockets.push(socket);
    let failed = false;
    const fail = () => {
      if (failed) return;
      failed = true;
      this.#open -= 1;
      this.#askNext();
    };
    socket.on('error', fail);
    socket.on('message', (answer) => {
      // Connected: the kernel passes on only what comes from the resolver's own address and port.
      if (!answers(answer, sent, this.#questionEnd)) return;
      const rcode = rcodeOf(answer);
      if (rcode !== ResponseCode.serverFailure && rcode !== ResponseCode.refused) {
        this.#result.resolve({ answer, resolver });
      } else {
        this.#lastRefusal = { answer, resolver };
        fail();
      }
    });
    let fd: number | undefined;
    try {
      fd = ownSocket(this.#namespace, 'udp', resolver);
    } catch {
      fail(); // no descriptor is left
      return;
    }
    if (fd !== undefined) socket.bind({ fd, exclusive: true });
    else if (this.#namespace !== '') {
      fail(); // the container has ended
      return;
    }
    socket.connect(this.#port, resolver, () => {
      try {
        socket.send(sent);
      } catch {
        fail(); // closed meanwhile: another resolver has answered
      }
    });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#waiting = [];
    for (const socket of this.#sockets.splice(0)) socket.close();
    this.#result.resolve(undefined);
  }
}

/**
 * A socket where a resolver is to be asked from, if that is not this process's own network: inside a namespace, or on the host when
 * the engine's network is another, for the host's resolvers may be on its loopback.
 *
 * @returns undefined: any will do, or the namespace is gone
 */
function ownSocket(namespace: string, protocol: 'udp' | 'tcp', resolver: string): number | undefined {
  if (namespace !== '') return socketInside(namespace, protocol, isIPv6(resolver) ? 6 : 4);
  return isAway() ? openHostSocket({ protocol, isIPv6: isIPv6(resolver) }) : undefined;
}

/** Asks one resolver by TCP. @returns undefined: it does not answer that way */
async function askByStream(
  { resolver, port, namespace }: { resolver: string; port: number; namespace: string },
  request: Buffer,
  questionEnd: number,
): Promise<Buffer | undefined> {
  const sent = withId(request, randomInt(0x10000));
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  const fd = ownSocket(namespace, 'tcp', resolver);
  if (fd === undefined && namespace !== '') return undefined;
  // A socket that is not connected yet has nothing to read.
  const socket = new Socket(fd === undefined ? {} : ({ fd, manualStart: true } as SocketConstructorOpts));
  socket.setTimeout(GIVE_UP_MS);
  socket.connect({ host: resolver, port });
  let received = Buffer.alloc(0);
  socket.on('connect', () => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(sent.length);
    socket.write(Buffer.concat([length, sent]));
  });
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (received.length > MAX_MESSAGE_BYTES + 2) return resolve(undefined);
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    const answer = received.subarray(2, 2 + received.readUInt16BE(0));
    resolve(answers(answer, sent, questionEnd) ? answer : undefined);
  });
  for (const end of ['error', 'close', 'timeout'] as const) socket.on(end, () => resolve(undefined));
  const giveUp = setTimeout(() => resolve(undefined), GIVE_UP_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(giveUp);
    socket.destroy();
  }
}

function withId(request: Buffer, id: number): Buffer {
  const copy = Buffer.from(request);
  copy.writeUInt16BE(id, 0);
  return copy;
}
