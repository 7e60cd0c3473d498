import { forgetUdpFlows, Nftables, NftablesError, NftablesState, openConntrack } from '../linux/index.ts';
import type { Database, Locks } from '../state/index.ts';
import { keepHostFirewallOpen, leaveHostFirewall, noBridges, type OpenBridges } from './host-firewall.ts';
import { keepLegacyFirewallOpen } from './legacy-firewall.ts';
import { nameServersOf } from './named-networks.ts';
import { listEndpoints, listNetworks } from './records.ts';
import {
  deleteTableCommands,
  emptyTableCommands,
  type Publication,
  portKey,
  portSetOf,
  publicationsOf,
  publishCommands,
  type TableContents,
  tableCommands,
  tableContents,
  USER_CHAIN,
  withdrawCommands,
} from './rules.ts';

/**
 * Our one nftables table. The records are the truth: whenever a small change does not fit what the kernel has, the whole
 * table is written anew from them.
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

  constructor(db: Database, locks: Locks, table: string) {
    this.#db = db;
    this.#locks = locks;
    this.#table = table;
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
   */
  async withdraw(ports: readonly Publication[], isRecorded: () => boolean, forget: () => Promise<void>): Promise<void> {
    if (ports.length === 0) return await forget();
    using _lock = await this.#locks.acquire('network-rules');
    if (!isRecorded()) return;
    let isStale = false;
    try {
      this.#context().run(withdrawCommands(this.#table, ports));
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      isStale = true;
    }
    this.#forgetFlows(ports);
    await forget();
    if (isStale && this.exists) this.#rewrite();
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
    const isWhole = this.#isWhole();
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
    this.#context().run(isUsed ? emptyTableCommands(this.#table) : deleteTableCommands(this.#table));
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
      this.#context().run(tableCommands(this.#table, contents));
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      // Something of our names is there with another shape: an earlier version's table.
      this.#context().run(this.#anew(contents));
    }
    // Programs are started with our own table's writing alone, never by the watch.
    keepLegacyFirewallOpen(this.#table, this.#openHostFirewall());
  }

  /** Commands that replace the table by a new one, with the administrator's rules as they are listed. */
  #anew(contents: TableContents): string {
    const chain = { family: 'inet', table: this.#table, name: USER_CHAIN } as const;
    const rules = this.#state.hasChain(chain)
      ? this.#context().run(`list chain inet ${this.#table} ${USER_CHAIN}`)
      : '';
    return `${deleteTableCommands(this.#table)}${rules}\n${tableCommands(this.#table, contents)}`;
  }

  #contents(): TableContents {
    return tableContents(this.#bridgeNetworks(), listEndpoints(this.#db).flatMap(publicationsOf));
  }

  #bridgeNetworks() {
    return listNetworks(this.#db).filter(({ driver }) => driver === 'bridge');
  }

  /** Whether the kernel has every rule and, by their number, every element. */
  #isWhole(): boolean {
    const rules = this.#state.countRules('inet', this.#table);
    const { chains, sets } = this.#contents();
    return (
      this.exists &&
      chains.every((chain) => (rules.get(chain.name) ?? 0) === chain.rules.length) &&
      sets.every(({ name, elements }) => {
        const count = elements.length === 0 ? 0 : this.#state.countElements('inet', this.#table, name);
        return count >= elements.length;
      })
    );
  }

  /** @returns what the host's firewall is to let through */
  #openHostFirewall(): OpenBridges {
    const networks = this.#bridgeNetworks();
    const bridges: OpenBridges = {
      forwarded: networks.filter(({ internal }) => !internal).map(({ bridge }) => bridge),
      named: networks.filter((network) => nameServersOf(network).length > 0).map(({ bridge }) => bridge),
    };
    keepHostFirewallOpen(this.#context(), this.#state, this.#table, bridges);
    return bridges;
  }

  #context(): Nftables {
    this.#nftables ??= new Nftables();
    return this.#nftables;
  }
}
