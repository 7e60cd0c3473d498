import { ENOENT, SyscallError } from './ffi.ts';
import {
  attributeText,
  NETLINK_NETFILTER,
  NetlinkSocket,
  NetlinkWriter,
  NLM_F_DUMP,
  readAttributes,
} from './netlink.ts';
import { changeElements, type ElementKey } from './nftables-elements.ts';

const message = (number: number): number => (10 << 8) | number;
const NFT_MSG_GETCHAIN = message(4);
const NFT_MSG_GETRULE = message(7);
const NFT_MSG_GETSET = message(10);
const NFT_MSG_GETSETELEM = message(13);
const NFT_MSG_GETGEN = message(16);

const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_HOOK_HOOKNUM = 1;
const NFTA_RULE_TABLE = 1;
const NFTA_RULE_CHAIN = 2;
const NFTA_SET_TABLE = 1;
const NFTA_SET_NAME = 2;
const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_GEN_ID = 1;

const families = { inet: 1, ip: 2, netdev: 5, bridge: 7, ip6: 10 } as const;
export type NftablesFamily = keyof typeof families;
const ipFamilies = ['inet', 'ip', 'ip6'] as const;
/** enum nf_inet_hooks */
const hooks = { input: 1, forward: 2 };
/** struct nfgenmsg: family, version, resource id. */
const GENERIC_HEADER = 4;

export interface NftablesChain {
  family: NftablesFamily;
  table: string;
  name: string;
}

/**
 * Looks at what rules there are, without libnftables, by one netlink request each. Kept open by its user: closing such a
 * socket waits for whatever the kernel still has to free of deleted tables, for milliseconds.
 */
export class NftablesState implements Disposable {
  readonly #netlink = new NetlinkSocket(NETLINK_NETFILTER);

  [Symbol.dispose](): void {
    this.#netlink[Symbol.dispose]();
  }

  /** The number that grows with every change of any rule in this network namespace. */
  generation(): number {
    const [answer] = this.#netlink.request(NFT_MSG_GETGEN, 0, header(0).bytes, 'get generation of rules');
    const attributes = readAttributes(answer?.subarray(GENERIC_HEADER) ?? Buffer.alloc(0));
    return attributes.get(NFTA_GEN_ID)?.readUInt32BE(0) ?? 0;
  }

  hasChain({ family, table, name }: NftablesChain): boolean {
    const body = header(families[family]).string(NFTA_CHAIN_TABLE, table).string(NFTA_CHAIN_NAME, name).bytes;
    return this.#ask(NFT_MSG_GETCHAIN, 0, body, `get chain ${family} ${table} ${name}`) !== undefined;
  }

  /** Chains that see forwarded packets, or those for this host, of every table of the families for IP. */
  baseChains(hook: keyof typeof hooks): NftablesChain[] {
    return this.#netlink.request(NFT_MSG_GETCHAIN, NLM_F_DUMP, header(0).bytes, 'list chains').flatMap((answer) => {
      const family = ipFamilies.find((name) => families[name] === answer[0]);
      const attributes = readAttributes(answer.subarray(GENERIC_HEADER));
      const place = attributes.get(NFTA_CHAIN_HOOK);
      if (family === undefined || place === undefined) return [];
      if (readAttributes(place).get(NFTA_HOOK_HOOKNUM)?.readUInt32BE(0) !== hooks[hook]) return [];
      return [
        {
          family,
          table: attributeText(attributes.get(NFTA_CHAIN_TABLE)),
          name: attributeText(attributes.get(NFTA_CHAIN_NAME)),
        },
      ];
    });
  }

  /** Names of a table's chains, base chains or not. */
  chainNames(family: NftablesFamily, table: string): string[] {
    const body = header(families[family]).bytes;
    return this.#netlink.request(NFT_MSG_GETCHAIN, NLM_F_DUMP, body, `list chains of ${family}`).flatMap((answer) => {
      const attributes = readAttributes(answer.subarray(GENERIC_HEADER));
      if (attributeText(attributes.get(NFTA_CHAIN_TABLE)) !== table) return [];
      return [attributeText(attributes.get(NFTA_CHAIN_NAME))];
    });
  }

  /** Names of a table's sets and maps that have a name. */
  setNames(family: NftablesFamily, table: string): string[] {
    const body = header(families[family]).string(NFTA_SET_TABLE, table).bytes;
    return (this.#ask(NFT_MSG_GETSET, NLM_F_DUMP, body, `list sets of ${family} ${table}`) ?? [])
      .map((answer) => attributeText(readAttributes(answer.subarray(GENERIC_HEADER)).get(NFTA_SET_NAME)))
      .filter((name) => !name.startsWith('__'));
  }

  /** How many rules each chain of a table has; one without rules is not in it. */
  countRules(family: NftablesFamily, table: string): Map<string, number> {
    const body = header(families[family]).string(NFTA_RULE_TABLE, table).bytes;
    const counts = new Map<string, number>();
    for (const answer of this.#ask(NFT_MSG_GETRULE, NLM_F_DUMP, body, `list rules of ${family} ${table}`) ?? []) {
      const chain = attributeText(readAttributes(answer.subarray(GENERIC_HEADER)).get(NFTA_RULE_CHAIN));
      counts.set(chain, (counts.get(chain) ?? 0) + 1);
    }
    return counts;
  }

  /** How many elements a set or map has (an interval counts as two); 0 when there is no such set. */
  countElements(family: NftablesFamily, table: string, set: string): number {
    const body = header(families[family])
      .string(NFTA_SET_ELEM_LIST_TABLE, table)
      .string(NFTA_SET_ELEM_LIST_SET, set).bytes;
    let count = 0;
    for (const answer of this.#ask(NFT_MSG_GETSETELEM, NLM_F_DUMP, body, `list elements of ${set}`) ?? []) {
      const list = readAttributes(answer.subarray(GENERIC_HEADER)).get(NFTA_SET_ELEM_LIST_ELEMENTS);
      for (let at = 0; list !== undefined && at + 4 <= list.length; count += 1) {
        const length = list.readUInt16LE(at);
        if (length < 4) break;
        at += (length + 3) & ~3;
      }
    }
    return count;
  }

  /**
   * Adds elements to sets, or takes them out, all or none.
   * @throws {NetlinkError} ENOENT: there is no such table, set, or element to take out
   */
  changeElements(how: 'add' | 'delete', family: NftablesFamily, table: string, elements: readonly ElementKey[]): void {
    changeElements(this.#netlink, how, { family: families[family], table }, elements);
  }

  /** The answers, or undefined when there is no such thing. */
  #ask(type: number, flags: number, body: Uint8Array, subject: string): Buffer[] | undefined {
    try {
      return this.#netlink.request(type, flags, body, subject);
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ENOENT) return undefined;
      throw error;
    }
  }
}

const header = (family: number): NetlinkWriter => new NetlinkWriter().raw(Buffer.of(family, 0, 0, 0));
