import { forgetUdpFlows, Nftables, NftablesError, NftablesTables, openConntrack } from '../linux/index.ts';
import type { Database, Locks } from '../state/index.ts';
import { keepHostFirewallOpen, leaveHostFirewall } from './host-firewall.ts';
import { listEndpoints, listNetworks } from './records.ts';
import {
  deleteTableCommands,
  type Publication,
  publicationsOf,
  publishCommands,
  tableCommands,
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
  readonly #tables = new NftablesTables();
  #nftables: Nftables | undefined;
  #conntrack: ReturnType<typeof openConntrack> | undefined;

  constructor(db: Database, locks: Locks, table: string) {
    this.#db = db;
    this.#locks = locks;
    this.#table = table;
  }

  [Symbol.dispose](): void {
    this.#tables[Symbol.dispose]();
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
    return this.#tables.has('inet', this.#table);
  }

  /** Writes the whole table from the records, and lets our bridges through a host firewall that drops by default. */
  async synchronize(): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    this.#rewrite();
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

  /** Removes the table and what was put into the host's. */
  async remove(): Promise<void> {
    using _lock = await this.#locks.acquire('network-rules');
    if (!this.exists) return;
    this.#context().run(deleteTableCommands(this.#table));
    leaveHostFirewall(this.#context(), this.#tables, this.#table);
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
    const networks = listNetworks(this.#db).filter(({ driver }) => driver === 'bridge');
    const ports = listEndpoints(this.#db).flatMap(publicationsOf);
    this.#context().run(tableCommands(this.#table, networks, ports));
    keepHostFirewallOpen(
      this.#context(),
      this.#tables,
      this.#table,
      networks.filter(({ internal }) => !internal).map(({ bridge }) => bridge),
    );
  }

  #context(): Nftables {
    this.#nftables ??= new Nftables();
    return this.#nftables;
  }
}
