import { closeSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import { bindPort, formatAddress, isIPv6, listBoundSockets, spreadBySource } from '../../linux/index.ts';
import { RESERVATION_MARK } from '../published-ports.ts';
import { STAND_IN_MARK } from '../socket-marks.ts';
import { contains, parseSubnet } from '../subnet.ts';
import { serveDatagrams } from './datagram-server.ts';
import { type Asker, NameDirectory, type NameRecords } from './directory.ts';
import { Forwarder } from './forwarder.ts';
import { HostResolvers } from './host-resolvers.ts';
import { bindInside } from './inner-sockets.ts';
import { decide } from './local-answers.ts';
import {
  answeredAddresses,
  EDNS_UDP_BYTES,
  isQuery,
  MAX_MESSAGE_BYTES,
  passOn,
  type Query,
  ResponseCode,
  readQuery,
  writeAnswer,
  writeRefusal,
} from './message.ts';
import { serveStream } from './stream-server.ts';

/**
 * How long whoever keeps names may keep ours. Containers come and go, and so do their addresses: a second is what a burst
 * of look-ups shares, and no program stays with a container that is gone.
 */
export const NAME_TTL_SECONDS = 1;
const DNS_PORT = 53;
/** Each container's questions wait in one of so many sockets, which are read in turn: a flood delays its neighbours only. */
const DATAGRAM_SOCKETS = 8;

/** Where a keeper's name server listens, in whatever process: the kernel knows. */
export function servedAddresses(): Set<string> {
  return new Set(
    // Opened last, and one a server.
    listBoundSockets('tcp', DNS_PORT)
      .filter(({ mark }) => mark === RESERVATION_MARK)
      .map(({ address }) => address),
  );
}

interface NetworkPlace {
  kind: 'network';
  key: string;
  subject: string;
  networkId: string;
  address: string;
}

interface ContainerPlace {
  kind: 'container';
  key: string;
  subject: string;
  containerId: string;
  namespace: string;
  /** Whether it can ask elsewhere, so that others go before. */
  canWait: boolean;
}

/** Where questions come in, and how their askers are told apart. */
type Place = NetworkPlace | ContainerPlace;

export type Transport = 'udp' | 'tcp';

/** What is sent back; undefined: nothing. */
export type Reply = Buffer | undefined;

/** Works on one message. Never fails. */
export type Responder = (message: Buffer, source: string, transport: Transport) => Reply | Promise<Reply>;

interface Asked {
  message: Buffer;
  query: Query;
  transport: Transport;
}

/** Where the names come from. */
export interface NameSource {
  /** Changes with every change of the records; cheap. */
  version(): number;
  read(): NameRecords;
}

/** What may be built on the names that containers ask for: all of it is optional. */
export interface NameHooks {
  /** Whether a policy holds for what a container sends. */
  isHeld?(containerId: string): boolean;
  /** Whether a container may ask for a name that is not a container's. */
  allows?(containerId: string, name: string): boolean;
  /** Told of the addresses that a container is about to be given for such a name; the answer waits for it. */
  onAnswer?(containerId: string, name: string, addresses: string[], ttlSeconds: number): void | Promise<void>;
  /** Called when the server ends. */
  [Symbol.dispose]?(): void;
}

export interface NameServerOptions {
  source: NameSource;
  hooks?: NameHooks;
  /** Serves only until another process does for good; see {@link servedAddresses}. */
  isStandIn?: boolean;
  /** Told of what fails where nobody waits. */
  report: (subject: string, error: unknown) => void;
  /** Other ports and another file in tests. */
  port?: number;
  forwarder?: Forwarder;
  resolvers?: HostResolvers;
}

/** How long an address whose port is taken, or whose socket failed, is left alone. */
const LOOK_AGAIN_MS = 1_000;

/**
 * Servers inside containers are made in so much time a turn, with so long a pause for answers in between: one takes half a
 * millisecond, and a thousand containers may start together.
 */
const OPENING_MS = 2;
const OPENING_PAUSE_MS = 5;

/** What is told once is not told with every look. */
const MAX_TOLD = 1_000;

/**
 * After a reading, changes are left alone for twice as long as it took, so that a stream of them leaves time for answers.
 * What is unknown waits for the next reading.
 */
const READ_PAUSE = 2;
const MIN_READ_PAUSE_MS = 5;
const MAX_READ_PAUSE_MS = 30;

/**
 * Answers the containers' questions for names, on an address of each of their networks: names of containers from the
 * records as they are at that moment, all others by asking the resolvers of the container or of this host.
 */
export class NameServer implements Disposable {
  readonly #options: NameServerOptions;
  readonly #told = new Set<string>();
  readonly #forwarder: Forwarder;
  readonly #resolvers: HostResolvers;
  readonly #sockets = new Map<string, Disposable>();
  #namespaces: ReadonlySet<string> | undefined;
  #directory: NameDirectory;
  #version = -1;
  #readAgainMs = 0;
  #looking: NodeJS.Timeout | undefined;
  #waiting: ContainerPlace[] = [];
  #opening: NodeJS.Timeout | undefined;

  constructor(options: NameServerOptions) {
    this.#options = options;
    this.#forwarder = options.forwarder ?? new Forwarder();
    this.#resolvers = options.resolvers ?? new HostResolvers();
    this.#directory = new NameDirectory({ networks: [], containers: [] }, () => {});
  }

  /**
   * Listens on the addresses of all networks that have them now, and in the namespaces of containers that ask there, and no
   * longer in other places. Must be called after changes. Servers inside containers that can ask elsewhere come a moment later.
   *
   * @param namespaces of those containers only these; all by default
   */
  look(namespaces?: ReadonlySet<string>): void {
    this.#readIfChanged();
    if (namespaces !== undefined) this.#namespaces = namespaces;
    const wanted = new Map(this.#places().map((place) => [place.key, place]));
    for (const key of this.#sockets.keys()) if (!wanted.has(key)) this.#close(key);
    this.#waiting = [];
    for (const place of wanted.values()) {
      if (this.#sockets.has(place.key)) continue;
      if (place.kind === 'container' && place.canWait) this.#waiting.push(place);
      else this.#open(place);
    }
    this.#waiting.reverse();
    this.#openWaiting();
  }

  #open(place: Place): void {
    try {
      const sockets = place.kind === 'network' ? this.#serveNetwork(place) : this.#serveInside(place);
      if (sockets !== undefined) this.#sockets.set(place.key, sockets);
    } catch (error) {
      this.#report(place.subject, error);
      this.#lookAgain();
    }
  }

  /** Also the first of them in a turn of its own: whoever looks has other duties. */
  #openWaiting(): void {
    if (this.#waiting.length === 0) return;
    this.#opening ??= setTimeout(() => {
      this.#opening = undefined;
      const end = performance.now() + OPENING_MS;
      for (let place = this.#waiting.pop(); place !== undefined; place = this.#waiting.pop()) {
        this.#open(place);
        if (performance.now() >= end) break;
      }
      this.#openWaiting();
    }, OPENING_PAUSE_MS).unref();
  }

  #places(): Place[] {
    const networks = this.#directory.networks.flatMap((network) =>
      network.servers.map((address): Place => {
        const subject = `names of network ${network.name} on ${address}`;
        return { kind: 'network', key: `${network.id} ${address}`, subject, networkId: network.id, address };
      }),
    );
    const containers = this.#directory.residents.flatMap(({ id, inside, namespace = '' }): Place[] => {
      if (this.#namespaces?.has(namespace) === false) return [];
      // One that was started again has another namespace at the same path.
      const file = statSync(namespace, { throwIfNoEntry: false });
      if (file === undefined) return [];
      const key = `${namespace} ${file.dev} ${file.ino}`;
      const subject = `names in container ${id}`;
      return [{ kind: 'container', key, subject, containerId: id, namespace, canWait: inside === 'also' }];
    });
    return [...networks, ...containers];
  }

  /** What failed may work a moment later, without any change of the records. */
  #lookAgain(): void {
    this.#looking ??= setTimeout(() => {
      this.#looking = undefined;
      this.look();
    }, LOOK_AGAIN_MS).unref();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#looking);
    clearTimeout(this.#opening);
    for (const key of this.#sockets.keys()) this.#close(key);
    this.#forwarder[Symbol.dispose]();
    this.#options.hooks?.[Symbol.dispose]?.();
  }

  #close(key: string): void {
    const open = this.#sockets.get(key);
    this.#sockets.delete(key);
    open?.[Symbol.dispose]();
  }

  get #mark(): number {
    return this.#options.isStandIn === true ? STAND_IN_MARK : RESERVATION_MARK;
  }

  #failed({ key, subject }: Place): (error: Error) => void {
    return (error) => {
      this.#report(subject, error);
      this.#close(key);
      this.#lookAgain();
    };
  }

  /** @returns undefined: the container has just ended */
  #serveInside(place: ContainerPlace): Disposable | undefined {
    const bound = bindInside(place.namespace, this.#mark);
    if (bound === undefined) return undefined;
    using opening = new DisposableStack();
    const respond: Responder = (message, source, transport) => this.#respond(place, message, source, transport);
    const failed = this.#failed(place);
    opening.use(serveDatagrams(bound.udp, 4, respond, failed, { isForOne: true }));
    opening.use(serveStream(bound.tcp, respond, failed, { isForOne: true }));
    return opening.move();
  }

  #serveNetwork(place: NetworkPlace): Disposable {
    const { address } = place;
    const { port = DNS_PORT } = this.#options;
    const mark = this.#mark;
    using opening = new DisposableStack();
    const bound = (protocol: 'udp' | 'tcp'): number => {
      // Shared with what holds a published port 53 of all addresses; free, since the bridge may come later.
      const fd = bindPort({ protocol, address, port }, { isShared: true, isFree: true, mark });
      if (fd !== undefined) return fd;
      throw new TareError(
        'Conflict',
        `port ${port}/${protocol} of ${address} is taken: no names there until its holder keeps to addresses of its own`,
      );
    };
    const respond: Responder = (message, source, transport) => this.#respond(place, message, source, transport);
    const failed = this.#failed(place);
    const family = isIPv6(address) ? 6 : 4;
    for (let number = 0; number < DATAGRAM_SOCKETS; number += 1) {
      const fd = bound('udp');
      if (number === 0) attempt(fd, () => spreadBySource(fd, family, DATAGRAM_SOCKETS));
      opening.use(serveDatagrams(fd, family, respond, failed));
    }
    opening.use(serveStream(bound('tcp'), respond, failed));
    return opening.move();
  }

  /** @param isFresh the records have just been read for this message */
  #respond(
    place: Place,
    message: Buffer,
    source: string,
    transport: Transport,
    isFresh = false,
  ): Reply | Promise<Reply> {
    if (performance.now() >= this.#readAgainMs) this.#readIfChanged();
    const again = () => this.#respond(place, message, source, transport, true);
    const asker =
      place.kind === 'network'
        ? this.#directory.asker(place.networkId, source)
        : this.#directory.resident(place.containerId);
    if (asker === undefined) {
      // Strangers get nothing, so that nobody is sent answers that he did not ask for. This one may just have come.
      const belongs = place.kind === 'container' || this.#directory.belongs(place.networkId, source);
      const mayHaveCome = !isFresh && belongs && this.#isStale();
      return mayHaveCome ? this.#afterReading(again) : undefined;
    }
    const query = readQuery(message);
    if (query === undefined) return undefined;
    if (!isQuery(query)) return writeRefusal(query);
    const decision = decide(this.#directory, asker, query);
    if (decision.kind === 'forward') {
      if (!isFresh && this.#isStale()) return this.#afterReading(again);
      return this.#forward(asker, { message, query, transport });
    }
    const limitBytes = transport === 'tcp' ? MAX_MESSAGE_BYTES : Math.min(query.udpSizeBytes, EDNS_UDP_BYTES);
    const { rcode, records } = decision;
    const isAuthoritative = rcode !== ResponseCode.refused;
    return writeAnswer(message, query, { rcode, records, ttlSeconds: NAME_TTL_SECONDS, isAuthoritative }, limitBytes);
  }

  async #forward(asker: Asker, asked: Asked): Promise<Buffer> {
    const { message, query, transport } = asked;
    const { hooks = {} } = this.#options;
    const { id } = asker.container;
    try {
      const resolvers = this.#resolversFor(asker);
      // Programs go on waiting when they hear SERVFAIL or REFUSED; "no such name" they believe at once.
      if (resolvers.length === 0) return emptyAnswer(asked, ResponseCode.noSuchName);
      if (hooks.allows?.(id, query.name) === false) return emptyAnswer(asked, ResponseCode.noSuchName);
      // Those that were given to the container are asked as by itself: there it may reach what this host does not.
      // Who is under a policy may not reach them himself: of his questions the names are judged, and we ask.
      const asksAsItself = asker.container.resolvers.length > 0 && hooks.isHeld?.(id) !== true;
      const from = asksAsItself ? (asker.container.namespace ?? '') : '';
      const found = await this.#forwarder.ask(id, resolvers, message, query.questionEnd, transport === 'tcp', from);
      if (found === undefined) return emptyAnswer(asked, ResponseCode.serverFailure);
      const { addresses, ttlSeconds } = answeredAddresses(found, query);
      if (addresses.length > 0) await hooks.onAnswer?.(id, query.name, addresses.map(formatAddress), ttlSeconds);
      return passOn(found, message, query, transport === 'tcp' ? MAX_MESSAGE_BYTES : query.udpSizeBytes);
    } catch (error) {
      this.#report(`look-up for container ${id}`, error);
      return emptyAnswer(asked, ResponseCode.serverFailure);
    }
  }

  #report(subject: string, error: unknown): void {
    if (this.#told.has(subject)) return;
    if (this.#told.size < MAX_TOLD) this.#told.add(subject);
    this.#options.report(subject, error);
  }

  /** Whom to ask for a container; on internal networks alone, only resolvers that stand on them. */
  #resolversFor({ container, isOpen }: Asker): readonly string[] {
    const own = container.resolvers;
    if (isOpen) return own.length > 0 ? own : this.#resolvers.addresses;
    const ids = new Set(container.endpoints.map(({ networkId }) => networkId));
    const near = this.#directory.networks.filter(({ id }) => ids.has(id)).flatMap(({ subnets }) => subnets);
    return own.filter((address) => near.some((subnet) => contains(parseSubnet(subnet), address)));
  }

  #isStale(): boolean {
    return this.#currentVersion() !== this.#version;
  }

  #currentVersion(): number {
    try {
      return this.#options.source.version();
    } catch (error) {
      this.#report('names', error);
      return this.#version;
    }
  }

  /** Goes on once the records have been read again, which is soon, but not with every question. */
  async #afterReading(proceed: () => Reply | Promise<Reply>): Promise<Reply> {
    await sleep(Math.max(0, this.#readAgainMs - performance.now()));
    this.#readIfChanged();
    return await proceed();
  }

  #readIfChanged(): void {
    const start = performance.now();
    const version = this.#currentVersion();
    if (version === this.#version) return;
    this.#version = version;
    try {
      const records = this.#options.source.read();
      this.#directory = new NameDirectory(records, (subject, error) => this.#report(subject, error));
    } catch (error) {
      // The names of a moment ago are better than none.
      this.#report('names', error);
    }
    const end = performance.now();
    const pauseMs = Math.min(Math.max(READ_PAUSE * (end - start), MIN_READ_PAUSE_MS), MAX_READ_PAUSE_MS);
    this.#readAgainMs = end + pauseMs;
  }
}

const emptyAnswer = ({ message, query }: Asked, rcode: number): Buffer =>
  writeAnswer(message, query, { rcode, records: [], ttlSeconds: 0, isAuthoritative: false }, MAX_MESSAGE_BYTES);

/** Closes a descriptor that nobody has taken over yet when the work on it fails. */
function attempt(fd: number, work: () => void): void {
  try {
    work();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
