import { TareError } from '../errors/index.ts';
import { forgetUdpFlows, isIPv6, Nftables, NftablesError, NftablesState, openConntrack } from '../linux/index.ts';
import type { Database, Locks } from '../state/index.ts';
import { BridgeGuard } from './bridge-guard.ts';
import type { Endpoint, NetworkRecord } from './driver.ts';
import { cutForbiddenFlows } from './egress/flows.ts';
import { followedNetworks, governedSubjects } from './egress/governed.ts';
import { HeldInKernel } from './egress/held-in-kernel.ts';
import { neighbourContents } from './egress/neighbours.ts';
import { type EgressSubject, type FollowedName, findPolicy } from './egress/records.ts';
import {
  EGRESS_PREFIX,
  egressFragment,
  endpointKeys,
  memberElement,
  nameSet,
  opens,
  subjectName,
  timedElement,
} from './egress/rules.ts';
import { keepHostFirewallOpen, leaveHostFirewall, noBridges, type OpenBridges } from './host-firewall.ts';
import { keepLegacyFirewallOpen } from './legacy-firewall.ts';
import { nameServersOf } from './named-networks.ts';
import { isGuarded } from './network-options.ts';
import { type Passage, passageSets } from './passages.ts';
import { findNetwork, listEndpoints, listNetworks } from './records.ts';
import {
  bridgeTableCommands,
  deleteBridgeTableCommands,
  deleteTableCommands,
  emptyTableCommands,
  fragmentCommands,
  type NamedSet,
  type Publication,
  portKey,
  portSetOf,
  publicationsOf,
  publishCommands,
  type Remnants,
  setCommands,
  type TableContents,
  tableCommands,
  tableContents,
  USER_CHAIN,
  withdrawCommands,
} from './rules.ts';

/**
 * Our nftables table, and the one beside it for the frames of bridges. The records are the truth: whenever a small change
 * does not fit what the kernel has, the whole table is written anew from them.
 */
export class Firewall implements Disposable {
  readonly #db: Database;
  readonly #locks: Locks;
  readonly #table: string;
  readonly #state = new NftablesState();
  #nftables: Nftables | undefined;
  #conntrack: ReturnType<typeof openConntrack> | undefined;
  /** Of the rules when {@link watch} last found them, or made them, whole. */
  #seenGeneration = -1;
  readonly #guard: BridgeGuard;
  /** What the kernel has of policies' attempts. */
  readonly held: HeldInKernel;

  readonly #passages: () => readonly Passage[];
  readonly #report: (subject: string, error: unknown) => void;
  /** Tables of the host that nobody else may change, as was told. */
  readonly #closed = new Set<string>();

  /**
   * @param passages what passes between containers that are kept apart
   * @param report told of what of the host's firewall stays closed
   */
  constructor(
    db: Database,
    locks: Locks,
    table: string,
    passages: () => readonly Passage[],
    report: (subject: string, error: unknown) => void = () => {},
  ) {
    this.#passages = passages;
    this.#report = report;
    this.#db = db;
    this.#locks = locks;
    this.#table = table;
    this.#guard = new BridgeGuard(db, table, this.#state, () => this.#context());
    this.held = new HeldInKernel(this.#state, () => this.#context(), { inet: table, bridge: this.#neighbours });
  }

  [Symbol.dispose](): void {
    this.#state[Symbol.dispose]();
    this.#conntrack?.[Symbol.dispose]();
    this.#nftables?.[Symbol.dispose]();
    this.#nftables = undefined;
  }

  /** Loading libnftables takes 10 ms: a daemon does it before the first container. */
  warm(): void {
    this.#context();
  }

  /** Cheap: one netlink request. */
  get exists(): boolean {
    // Not the table: it may hold nothing but the administrator's chain.
    return this.#state.hasChain({ family: 'inet', table: this.#table, name: 'bridged' });
  }

  /** Writes the whole table from the records, and lets our bridges through a host firewall that drops by default. */
  async synchronize(): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    this.#rewrite();
  }

  /** Whether the kernel has this publication now. */
  has(port: Publication): boolean {
    try {
      this.#context().run(`get element inet ${this.#table} ${portSetOf(port)} { ${portKey(port)} }\n`);
      return true;
    } catch (error) {
      if (error instanceof NftablesError) return false;
      throw error;
    }
  }

  async publish(ports: readonly Publication[]): Promise<void> {
    if (ports.length === 0) return;
    using _lock = await this.#locks.acquire('network-rules');
    this.#apply(publishCommands(this.#table, ports));
    this.#forgetFlows(ports);
  }

  /**
   * Takes ports out of the rules, then runs `forget`, which removes their records. Both under the lock, so that nobody
   * who rewrites the table meanwhile puts them back.
   *
   * @param isRecorded false when somebody else withdrew them first: the rules of these ports may be another's by now
   * @param leaving the endpoint that goes altogether, with the bridge it was on: what its policies are in the rules goes too
   */
  async withdraw(
    ports: readonly Publication[],
    isRecorded: () => boolean,
    forget: () => Promise<void>,
    leaving?: { network: NetworkRecord; endpoint: Endpoint },
  ): Promise<void> {
    const isGoverned = leaving !== undefined && this.#isGoverned(leaving.endpoint);
    const isLinked = leaving !== undefined && this.#hasPassages(leaving.network);
    if (ports.length === 0 && !isGoverned && !isLinked) return await forget();
    using _lock = await this.#locks.acquire('network-rules');
    if (!isRecorded()) return;
    let isStale = false;
    try {
      const release = isGoverned ? this.#releaseCommands(leaving.network, leaving.endpoint) : '';
      this.#context().run(`${release}${withdrawCommands(this.#table, ports)}`);
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      isStale = true;
    }
    this.#forgetFlows(ports);
    await forget();
    if (isStale && this.exists) return this.#rewrite();
    if (isGoverned) this.#writeNeighbours();
    // Before somebody else has the address.
    if (isLinked) this.#writePassages();
  }

  /** Lets a newcomer's links through, on a network that keeps its containers apart: before its link is made. */
  async link(network: NetworkRecord): Promise<void> {
    if (this.#hasPassages(network)) await this.settlePassages();
  }

  /** What passes between containers that are kept apart has changed. */
  async settlePassages(): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    if (this.exists) this.#writePassages();
  }

  /** Puts the policies of an endpoint, and of its network, in force for it: before its link is made. */
  async govern(endpoint: Endpoint): Promise<void> {
    if (!this.#isGoverned(endpoint)) return await this.#addMember(endpoint);
    using _lock = await this.#locks.acquire('network-rules');
    const now = Date.now();
    const governed = governedSubjects(this.#db, [endpoint.containerId, endpoint.networkId]);
    this.#apply(governed.map((one) => fragmentCommands(this.#table, egressFragment(one, now))).join(''));
    this.#writeNeighbours();
  }

  /** Makes a newcomer known as a neighbour of those who are under a policy. */
  async #addMember({ networkId, macAddress }: Endpoint): Promise<void> {
    if (!followedNetworks(this.#db).has(networkId)) return;
    using _lock = await this.#locks.acquire('network-rules');
    const [set, element] = memberElement(findNetwork(this.#db, networkId).bridge, macAddress);
    this.#apply(`add element inet ${this.#table} ${set} { ${element} }\n`);
  }

  /** Opens addresses that a name was answered with; what is open already stays open for longer. */
  async openNames(subject: EgressSubject, names: readonly FollowedName[]): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    const rules = findPolicy(this.#db, subject.id)?.policy.rules ?? [];
    const now = Date.now();
    const commands = names.flatMap(({ name, address, expiresMs }) =>
      rules.flatMap((rule, index) => {
        if (rule.verdict !== 'allow' || !opens(rule, name, address)) return [];
        const set = `inet ${this.#table} ${nameSet(subject, index, isIPv6(address) ? 6 : 4)}`;
        const element = `element ${set} { ${timedElement(address, expiresMs - now)} }\n`;
        // An element that is there keeps its time-out unless it is made anew; in one batch nobody sees it gone.
        return [`add ${element}delete element ${set} { ${address} }\nadd ${element}`];
      }),
    );
    // A container that has just gone took its sets along.
    if (commands.length > 0 && governedSubjects(this.#db, [subject.id]).length > 0) this.#apply(commands.join(''));
  }

  /** Cuts open connections that no policy lets through any more. */
  cutForbiddenFlows(hostAddresses: ReadonlySet<string>): void {
    this.#conntrack ??= openConntrack();
    cutForbiddenFlows(this.#db, this.#conntrack, hostAddresses);
  }

  /** Holds an endpoint to its own addresses, from before its link is there. */
  async admit(network: NetworkRecord, endpoint: Endpoint): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    this.#guard.admit(network, endpoint);
  }

  /** Forgets an endpoint's addresses. Repeating is safe. */
  async dismiss(network: NetworkRecord, endpoint: Endpoint): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    this.#guard.dismiss(network, endpoint);
  }

  /**
   * Looks whether the rules are as they were written, and writes them again if somebody has changed or flushed them.
   * Cheap when no rule of the machine has changed since the last look: one netlink request.
   *
   * @returns whether something had to be put back
   */
  async watch(): Promise<boolean> {
    const generation = this.#state.generation();
    if (generation === this.#seenGeneration) return false;
    using _lock = await this.#locks.acquire('network-rules');
    const isWhole = this.#isWhole() && this.#guard.isWhole();
    // Somebody may have loaded the host's own tables anew: our place in them is looked at with each change.
    if (isWhole) this.#openHostFirewall();
    else this.#rewrite();
    // Our own writing has made another generation; a change since then shows by its count.
    this.#seenGeneration = isWhole ? generation : this.#state.generation();
    return !isWhole;
  }

  /** Removes the table and what was put into the host's; an administrator's chain that has rules stays. */
  async remove(): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    if (!this.exists) return;
    const isUsed = this.#state.countRules('inet', this.#table).has(USER_CHAIN);
    const empty = () => emptyTableCommands(this.#table, this.#remnants('inet', noContents));
    this.#context().run(isUsed ? empty() : deleteTableCommands(this.#table));
    this.#guard.remove();
    if (this.#hasNeighbours) this.#context().run(deleteBridgeTableCommands(this.#neighbours));
    leaveHostFirewall(this.#context(), this.#state, this.#table);
    keepLegacyFirewallOpen(this.#table, noBridges);
  }

  /** A UDP client that never pauses would stay with the container, or the lack of one, that it found first. */
  #forgetFlows(ports: readonly Publication[]): void {
    const udp = new Set(ports.filter(({ protocol }) => protocol === 'udp').map(({ hostPort }) => hostPort));
    for (const port of udp) {
      this.#conntrack ??= openConntrack();
      forgetUdpFlows(this.#conntrack, port);
    }
  }

  #apply(commands: string): void {
    try {
      this.#context().run(commands);
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      // Flushed by somebody, or an element is there with another target: the records decide.
      this.#rewrite();
    }
  }

  #rewrite(): void {
    const contents = this.#contents();
    try {
      this.#context().run(tableCommands(this.#table, contents, this.#remnants('inet', contents)));
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      // Something of our names is there with another shape: an earlier version's table.
      this.#context().run(this.#anew(contents));
    }
    this.#guard.rewrite();
    this.#writeNeighbours();
    // Programs are started with our own table's writing alone, never by the watch.
    keepLegacyFirewallOpen(this.#table, this.#openHostFirewall());
  }

  /** The table for what passes bridges alone: there only while a policy speaks of neighbours. */
  #writeNeighbours(): void {
    const contents = neighbourContents(governedSubjects(this.#db));
    if (contents !== undefined) {
      this.#context().run(bridgeTableCommands(this.#neighbours, contents, this.#remnants('bridge', contents)));
    } else if (this.#hasNeighbours) {
      this.#context().run(deleteBridgeTableCommands(this.#neighbours));
    }
  }

  /** What passes bridges alone has a table of its own, for it comes and goes with policies. */
  get #neighbours(): string {
    return `${this.#table}-egress`;
  }

  #nameOf(family: 'inet' | 'bridge'): string {
    return family === 'inet' ? this.#table : this.#neighbours;
  }

  get #hasNeighbours(): boolean {
    return this.#state.hasChain({ family: 'bridge', table: this.#neighbours, name: 'forward' });
  }

  /** Commands that replace the table by a new one, with the administrator's rules as they are listed. */
  #anew(contents: TableContents): string {
    const chain = { family: 'inet', table: this.#table, name: USER_CHAIN } as const;
    const rules = this.#state.hasChain(chain)
      ? this.#context().run(`list chain inet ${this.#table} ${USER_CHAIN}`)
      : '';
    return `${deleteTableCommands(this.#table)}${rules}\n${tableCommands(this.#table, contents, { chains: [], sets: [] })}`;
  }

  #contents(): TableContents {
    const now = Date.now();
    return tableContents(
      this.#bridgeNetworks(),
      listEndpoints(this.#db).flatMap(publicationsOf),
      governedSubjects(this.#db).map((governed) => egressFragment(governed, now)),
      this.#passageSets(),
    );
  }

  #hasPassages({ id, icc }: NetworkRecord): boolean {
    return !icc && this.#passages().some(({ networkId }) => networkId === id);
  }

  #passageSets(): NamedSet[] {
    const apart = new Set(this.#bridgeNetworks().flatMap(({ id, icc }) => (icc ? [] : [id])));
    const passages = apart.size === 0 ? [] : this.#passages().filter(({ networkId }) => apart.has(networkId));
    return passageSets(passages, passages.length === 0 ? [] : listEndpoints(this.#db));
  }

  #writePassages(): void {
    this.#apply(setCommands(this.#table, this.#passageSets()));
  }

  /** Chains and sets of policies that hold for nobody now. */
  #remnants(family: 'inet' | 'bridge', { chains, sets }: TableContents): Remnants {
    const known = new Set([...chains, ...sets].map(({ name }) => name));
    const isRemnant = (name: string) => name.startsWith(EGRESS_PREFIX) && !known.has(name);
    return {
      chains: this.#state.chainNames(family, this.#nameOf(family)).filter(isRemnant),
      sets: this.#state.setNames(family, this.#nameOf(family)).filter(isRemnant),
    };
  }

  /** Whether a policy of its own, or of its network, holds for an endpoint. */
  #isGoverned({ containerId, networkId }: Endpoint): boolean {
    const rows = this.#db.all('SELECT 1 FROM egress_policies WHERE subject IN (?, ?)', containerId, networkId);
    return rows.length > 0;
  }

  /** Commands that take an endpoint out of the policies' sets, and with a container's last one its policy. */
  #releaseCommands(network: NetworkRecord, endpoint: Endpoint): string {
    const { containerId } = endpoint;
    const isContainers = findPolicy(this.#db, containerId) !== undefined;
    const keys = isGuarded(network) ? endpointKeys(network.bridge, endpoint, isContainers) : [];
    const elements = keys.map(([set, key]) => `delete element inet ${this.#table} ${set} { ${key} }\n`).join('');
    const isLast = listEndpoints(this.#db, { containerId }).every(({ id }) => id === endpoint.id);
    if (!isContainers || !isLast) return elements;
    const own = subjectName({ kind: 'container', id: containerId });
    const isIts = (name: string) => name === own || name.startsWith(`${own}-`);
    const chains = this.#state.chainNames('inet', this.#table).filter(isIts);
    const sets = this.#state.setNames('inet', this.#table).filter(isIts);
    return [
      elements,
      ...chains.map((name) => `flush chain inet ${this.#table} ${name}\n`),
      ...chains.map((name) => `delete chain inet ${this.#table} ${name}\n`),
      ...sets.map((name) => `delete set inet ${this.#table} ${name}\n`),
    ].join('');
  }

  #bridgeNetworks() {
    return listNetworks(this.#db).filter(({ driver }) => driver === 'bridge');
  }

  /** Whether the kernel has every rule and, by their number, every element. */
  #isWhole(): boolean {
    const neighbours = neighbourContents(governedSubjects(this.#db));
    return (
      this.exists &&
      this.#hasAll('inet', this.#contents()) &&
      (neighbours === undefined || this.#hasAll('bridge', neighbours))
    );
  }

  #hasAll(family: 'inet' | 'bridge', { chains, sets }: TableContents): boolean {
    const table = this.#nameOf(family);
    const rules = this.#state.countRules(family, table);
    return (
      chains.every((chain) => (rules.get(chain.name) ?? 0) === chain.rules.length) &&
      sets.every(({ name, elements, countedElements = elements.length }) => {
        const count = countedElements === 0 ? 0 : this.#state.countElements(family, table, name);
        return count >= countedElements;
      })
    );
  }

  /** @returns what the host's firewall is to let through */
  #openHostFirewall(): OpenBridges {
    const networks = this.#bridgeNetworks();
    const followed = followedNetworks(this.#db);
    const bridges: OpenBridges = {
      forwarded: networks.filter(({ internal }) => !internal).map(({ bridge }) => bridge),
      named: networks
        .filter((network) => nameServersOf(network, followed.has(network.id)).length > 0)
        .map(({ bridge }) => bridge),
    };
    keepHostFirewallOpen(this.#context(), this.#state, this.#table, bridges, (table, error) => {
      if (this.#closed.has(table)) return;
      this.#closed.add(table);
      this.#report(
        `host firewall, table ${table}`,
        new TareError(
          'Forbidden',
          'it belongs to another process (flags owner) and refuses what it does not know: let the bridges through there yourself, or with firewalld set NftablesTableOwner=no',
          { cause: error },
        ),
      );
    });
    return bridges;
  }

  #context(): Nftables {
    this.#nftables ??= new Nftables();
    return this.#nftables;
  }
}

const noContents: TableContents = { chains: [], sets: [] };
