import { type Nftables, NftablesError, type NftablesState, SyscallError } from '../linux/index.ts';
import type { Database } from '../state/index.ts';
import type { Endpoint, NetworkRecord } from './driver.ts';
import { listEndpoints, listNetworks } from './records.ts';
import { deleteGuardCommands, guardCommands, guardElements, isGuardWhole } from './spoof-guard.ts';

/** The table for the frames of bridges. Its user holds the lock of the rules. */
export class BridgeGuard {
  readonly #db: Database;
  readonly #table: string;
  readonly #state: NftablesState;
  readonly #nftables: () => Nftables;
  /** Whether the kernel knows rules for the frames of bridges, as far as we know. */
  #isKnown = true;

  /** @param nftables gives the context, which loads libnftables: not on the path of a container */
  constructor(db: Database, table: string, state: NftablesState, nftables: () => Nftables) {
    this.#db = db;
    this.#table = table;
    this.#state = state;
    this.#nftables = nftables;
  }

  admit(network: NetworkRecord, endpoint: Endpoint): void {
    const elements = guardElements(network, endpoint);
    if (elements.length === 0 || !this.#isKnown) return;
    try {
      this.#state.changeElements('add', 'bridge', this.#table, elements);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // Deleted by somebody, or never made: the records decide.
      this.rewrite();
    }
  }

  dismiss(network: NetworkRecord, endpoint: Endpoint): void {
    const elements = guardElements(network, endpoint);
    if (elements.length === 0 || !this.#isKnown) return;
    try {
      this.#state.changeElements('delete', 'bridge', this.#table, elements);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // They were not there; what is left of them is of a link that nobody has.
    }
  }

  rewrite(): void {
    if (!this.#isKnown) return;
    try {
      this.#nftables().run(guardCommands(this.#table, this.#elements()));
    } catch (error) {
      if (!(error instanceof NftablesError) || !/not supported/.test(error.message)) throw error;
      // Some small kernels have no rules for bridges: everything else holds without.
      this.#isKnown = false;
    }
  }

  isWhole(): boolean {
    if (!this.#isKnown) return true;
    const counts = this.#state.countRules('bridge', this.#table);
    return isGuardWhole(this.#elements(), {
      rules: (chain) => counts.get(chain) ?? 0,
      elements: (set) => this.#state.countElements('bridge', this.#table, set),
    });
  }

  remove(): void {
    if (this.#isKnown) this.#nftables().run(deleteGuardCommands(this.#table));
  }

  #elements() {
    const networks = new Map(listNetworks(this.#db).map((network) => [network.id, network]));
    return listEndpoints(this.#db).flatMap((endpoint) => {
      const network = networks.get(endpoint.networkId);
      return network === undefined ? [] : guardElements(network, endpoint);
    });
  }
}
