import type { NetworkMode, StepNetwork } from '../../build/index.ts';
import type { Endpoint } from '../../network/index.ts';
import { disconnectAll } from '../container-network.ts';
import { hostResolvConf, resolvConf } from '../name-files.ts';
import { nameServerFor } from '../name-servers.ts';
import type { EngineParts } from '../parts.ts';
import { newStepNetworkID } from './step-network-id.ts';

/** How long a namespace waits for the next step. */
const IDLE_MS = 10_000;
/** So many wait at most. */
const MAX_IDLE = 4;

export type StepNetworkParts = Pick<EngineParts, 'networks' | 'locks' | 'intents' | 'names' | 'onError'>;

export interface StepNetworkOptions {
  /** The network that steps are on, as containers that name none. */
  network?: string;
  idleMs?: number;
}

/** A network namespace of ours, joined to a network or to none. */
interface Namespace {
  id: string;
  path: string;
  resolvConf: string;
  /** Tells others that it is in use, and this process that it is to be removed if we die. */
  claim: Disposable;
  idle?: NodeJS.Timeout;
}

/**
 * Network namespaces for steps of builds. One that a step gave back serves the next step at once; another is made meanwhile, and one
 * that nobody wanted for some time is removed, both while nobody waits.
 *
 * A namespace has the id of a container that there is none of, under whose lock this process is: when it dies, whoever reconciles the
 * engine takes its address back and removes it, and the intent says that this is due.
 */
export class StepNetworks implements AsyncDisposable {
  readonly #parts: StepNetworkParts;
  readonly #network: string;
  readonly #idleMs: number;
  readonly #free: Record<'sandbox' | 'none', Namespace[]> = { sandbox: [], none: [] };
  /** Being made or removed. */
  readonly #works = new Set<Promise<unknown>>();
  #isPreparing = false;
  #isClosed = false;

  constructor(parts: StepNetworkParts, options: StepNetworkOptions = {}) {
    this.#parts = parts;
    this.#network = options.network ?? 'bridge';
    this.#idleMs = options.idleMs ?? IDLE_MS;
  }

  /** Makes the first one ahead of the first step. */
  warm(): void {
    if (this.#free.sandbox.length === 0) this.#prepare();
  }

  /** @throws {TareError} Unavailable: no address is left … */
  async lend(mode: NetworkMode, signal: AbortSignal): Promise<StepNetwork> {
    signal.throwIfAborted();
    if (mode === 'host') return hostNetwork();
    const free = this.#free[mode].pop();
    if (free !== undefined) clearTimeout(free.idle);
    const namespace = free ?? (await this.#track(this.#make(mode)));
    if (mode === 'sandbox' && this.#free.sandbox.length === 0) this.#prepare();
    let isSpoilt = false;
    let isBack = false;
    return {
      path: namespace.path,
      resolvConf: namespace.resolvConf,
      spoil: () => {
        isSpoilt = true;
      },
      [Symbol.asyncDispose]: async () => {
        if (isBack) return;
        isBack = true;
        if (isSpoilt || this.#isClosed || this.#free[mode].length >= MAX_IDLE) this.#giveUp(namespace);
        else this.#keep(mode, namespace);
      },
    };
  }

  #keep(mode: 'sandbox' | 'none', namespace: Namespace): void {
    const waiting = this.#free[mode];
    waiting.push(namespace);
    namespace.idle = setTimeout(() => {
      waiting.splice(waiting.indexOf(namespace), 1);
      this.#giveUp(namespace);
    }, this.#idleMs);
    namespace.idle.unref();
  }

  /** While the step that has just got one runs. */
  #prepare(): void {
    if (this.#isPreparing || this.#isClosed) return;
    this.#isPreparing = true;
    const making = this.#make('sandbox').then(
      (namespace) => (this.#isClosed ? this.#giveUp(namespace) : this.#keep('sandbox', namespace)),
      // The step that wants one will be told.
      () => undefined,
    );
    const done = making.finally(() => {
      this.#isPreparing = false;
    });
    void this.#track(done);
  }

  async #make(mode: 'sandbox' | 'none'): Promise<Namespace> {
    const { networks, locks, intents, names } = this.#parts;
    const id = newStepNetworkID();
    await using undo = new AsyncDisposableStack();
    const claim = new DisposableStack();
    undo.use(claim);
    claim.use(intents.begin());
    claim.use(locks.tryAcquire(`container:${id}`));
    undo.defer(() => this.#remove(id));
    const path = networks.createNamespace(id);
    let resolver = resolverFile({});
    if (mode === 'sandbox') {
      const { id: networkId } = networks.get(this.#network);
      const endpoint = await networks.connect({ containerId: id, networkId, netns: path, ports: [] });
      const record = { id, networking: [] };
      const place = nameServerFor(record, [endpoint], new Map([[networkId, networks.get(networkId)]]), networks);
      resolver = resolverFile({ endpoint, ...(place === undefined ? {} : { nameServer: place.address }) });
      if (place !== undefined) names.cover([place]);
    }
    undo.move();
    return { id, path, resolvConf: resolver, claim };
  }

  /** Behind everybody's back: it takes longer than to make one. */
  #giveUp({ id, claim, idle }: Namespace): void {
    clearTimeout(idle);
    const removing = this.#remove(id)
      .catch((error: unknown) => this.#parts.onError(`network namespace ${id} of a build`, error))
      .finally(() => claim[Symbol.dispose]());
    void this.#track(removing);
  }

  async #remove(id: string): Promise<void> {
    await this.#parts.networks.deleteNamespace(id);
    await disconnectAll(this.#parts, id);
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#works.add(work);
    const forget = () => void this.#works.delete(work);
    work.then(forget, forget);
    return work;
  }

  /** Gives up all that wait, and those that are lent as they come back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const waiting of Object.values(this.#free)) for (const one of waiting.splice(0)) this.#giveUp(one);
    while (this.#works.size > 0) await Promise.allSettled(this.#works);
  }
}

const hostNetwork = (): StepNetwork => ({
  path: undefined,
  resolvConf: resolverFile({ keepLoopback: true }),
  spoil: () => undefined,
  async [Symbol.asyncDispose]() {},
});

/** As containers have it that nobody asked anything for. */
function resolverFile(how: { endpoint?: Endpoint; nameServer?: string; keepLoopback?: boolean }): string {
  const { endpoint, nameServer, keepLoopback = false } = how;
  return resolvConf(hostResolvConf(), {
    ...{ dns: [], keepLoopback },
    dnsSearch: endpoint?.dns?.searches ?? [],
    dnsOptions: endpoint?.dns?.options ?? [],
    ...(nameServer === undefined ? {} : { nameServer }),
  });
}
