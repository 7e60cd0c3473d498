import { type Nftables, type NftablesChain, NftablesError, type NftablesState } from '../linux/index.ts';

/** Bridges that a host firewall must let through. */
export interface OpenBridges {
  /** Their packets are forwarded. */
  forwarded: readonly string[];
  /** Their containers ask this host for names. */
  named: readonly string[];
}

/** A chain of the host, and what we add to those of its kind. */
export interface Opening {
  hook: 'forward' | 'input';
  /** As iptables calls the chain. */
  chain: 'FORWARD' | 'INPUT';
  bridges: readonly string[];
  /** In nftables' words and in those of iptables. */
  rules(bridge: string): { nft: string; iptables: string }[];
}

/** With these, everything that was added goes. */
export const noBridges: OpenBridges = { forwarded: [], named: [] };

export function openings({ forwarded, named }: OpenBridges): Opening[] {
  return [
    {
      hook: 'forward',
      chain: 'FORWARD',
      bridges: forwarded,
      rules: (bridge) => [
        { nft: `iifname "${bridge}"`, iptables: `-i ${bridge}` },
        { nft: `oifname "${bridge}"`, iptables: `-o ${bridge}` },
      ],
    },
    {
      hook: 'input',
      chain: 'INPUT',
      bridges: named,
      rules: (bridge) =>
        ['udp', 'tcp'].map((protocol) => ({
          nft: `iifname "${bridge}" ${protocol} dport 53`,
          iptables: `-i ${bridge} -p ${protocol} -m ${protocol} --dport 53`,
        })),
    },
  ];
}

/**
 * A verdict of ours cannot overrule another table's: a packet passes only when every table lets it. Where a table of the
 * host refuses forwarded packets by default (iptables-nft's `filter`, ufw, firewalld, hand-written ones), our bridges are
 * let through by a chain of our own there, called just before what refuses whatever is left, so that every rule the
 * administrator wrote comes first; and so are questions for names where packets for the host are refused. What may reach
 * a container is still decided in our own table.
 *
 * A table that nobody else may change (firewalld's, where it owns it) stays closed.
 *
 * @param onClosed told of such a table
 */
export function keepHostFirewallOpen(
  nftables: Nftables,
  state: NftablesState,
  instance: string,
  bridges: OpenBridges,
  onClosed: (table: string, error: Error) => void = () => {},
): void {
  for (const { opening, chain } of openings(bridges).flatMap((opening) =>
    state.baseChains(opening.hook).map((chain) => ({ opening, chain })),
  )) {
    if (isOfAnEngine(chain.table)) continue;
    try {
      openChain(nftables, chain, chainName(instance, opening), opening);
    } catch (error) {
      if (!(error instanceof NftablesError)) throw error;
      // Owned by another process, or gone meanwhile: our containers start all the same.
      if (/not permitted/.test(error.message)) onClosed(`${chain.family} ${chain.table}`, error);
    }
  }
}

/** Removes what {@link keepHostFirewallOpen} added. Repeating is safe. */
export function leaveHostFirewall(nftables: Nftables, state: NftablesState, instance: string): void {
  keepHostFirewallOpen(nftables, state, instance, noBridges);
}

/** iptables shows chain names of at most 28 characters. */
export const chainName = (instance: string, { chain }: Pick<Opening, 'chain'>): string =>
  `${instance.toUpperCase()}-${chain}`;

/** Our own table, or that of another engine of ours: they refuse what is theirs alone. */
const isOfAnEngine = (table: string): boolean => /^tare(-[0-9a-f]{8})?$/.test(table);

function openChain(nftables: Nftables, chain: NftablesChain, ours: string, { bridges, rules }: Opening): void {
  const { family, table, name } = chain;
  const found = read(nftables, chain, ours);
  const isNeeded = found.refuses && bridges.length > 0;
  if (!isNeeded && !found.hasChain) return;
  if (isNeeded && found.isSettled(bridges)) return;
  const commands = found.jumps.map((handle) => `delete rule ${family} ${table} ${name} handle ${handle}\n`);
  if (found.hasChain) commands.push(`flush chain ${family} ${table} ${ours}\n`);
  if (isNeeded) {
    commands.push(`add chain ${family} ${table} ${ours}\n`);
    for (const { nft } of bridges.flatMap(rules)) {
      commands.push(`add rule ${family} ${table} ${ours} ${nft} counter accept\n`);
    }
    const jump = `counter jump ${ours}`;
    commands.push(
      found.lastWord === undefined
        ? `add rule ${family} ${table} ${name} ${jump}\n`
        : `insert rule ${family} ${table} ${name} position ${found.lastWord} ${jump}\n`,
    );
  } else {
    commands.push(`delete chain ${family} ${table} ${ours}\n`);
  }
  nftables.run(commands.join(''));
}

type Expression = Record<string, unknown>;

interface ListedRule {
  chain: string;
  handle: number;
  expr: Expression[];
}

interface Listing {
  nftables: { chain?: { name: string; policy?: string }; rule?: ListedRule }[];
}

interface ForwardChain {
  /** Whether what no rule decides is dropped or rejected. */
  refuses: boolean;
  /** Handle of the first rule that refuses whatever is left; undefined: the policy does. */
  lastWord: number | undefined;
  hasChain: boolean;
  /** Handles of the rules that jump to our chain. */
  jumps: number[];
  /** Whether everything is as it would be written. */
  isSettled(bridges: readonly string[]): boolean;
}

function read(nftables: Nftables, { family, table, name }: NftablesChain, ours: string): ForwardChain {
  const { nftables: listed } = nftables.list(`list table ${family} ${table}`) as Listing;
  const chains = listed.flatMap(({ chain }) => (chain === undefined ? [] : [chain]));
  const rulesOf = Map.groupBy(
    listed.flatMap(({ rule }) => (rule === undefined ? [] : [rule])),
    ({ chain }) => chain,
  );
  const rules = rulesOf.get(name) ?? [];
  const isOurs = ({ expr }: ListedRule) => expr.some((part) => targetOf(part) === ours);
  const refuses = (rule: ListedRule) => isRefusal(rule, rulesOf, new Set([name, ours]));
  const lastWord = rules.filter((rule) => !isOurs(rule)).find(refuses)?.handle;
  const jumps = rules.filter(isOurs).map(({ handle }) => handle);
  return {
    refuses: lastWord !== undefined || chains.find((chain) => chain.name === name)?.policy === 'drop',
    lastWord,
    hasChain: chains.some((chain) => chain.name === ours),
    jumps,
    isSettled: (bridges) => {
      const at = rules.findIndex(isOurs);
      const isInPlace = jumps.length === 1 && rules[at + 1]?.handle === lastWord;
      const links = new Set((rulesOf.get(ours) ?? []).flatMap(({ expr }) => expr.flatMap(linkOf)));
      return isInPlace && links.size === bridges.length && bridges.every((bridge) => links.has(bridge));
    },
  };
}

/** Whether a rule decides against everything that comes to it, itself or by the chain that it leads to. */
function isRefusal(rule: ListedRule, rulesOf: Map<string, ListedRule[]>, seen: Set<string>): boolean {
  if (!rule.expr.every((part) => isVerdict(part) || 'counter' in part || 'log' in part)) return false;
  return rule.expr.some((part) => {
    if ('drop' in part || 'reject' in part || isRejectTarget(part)) return true;
    const target = targetOf(part);
    // Each chain is looked at once: chains may lead to each other in any number of ways.
    if (target === undefined || seen.has(target)) return false;
    seen.add(target);
    return (rulesOf.get(target) ?? []).some((next) => isRefusal(next, rulesOf, seen));
  });
}

const isVerdict = (part: Expression): boolean =>
  'drop' in part || 'reject' in part || isRejectTarget(part) || targetOf(part) !== undefined;

const targetOf = (part: Expression): string | undefined =>
  ((part['jump'] ?? part['goto']) as { target?: string } | undefined)?.target;

const isRejectTarget = (part: Expression): boolean =>
  (part['xt'] as { type?: string; name?: string } | undefined)?.name === 'REJECT';

/** The link that an expression compares with. */
function linkOf(part: Expression): string[] {
  const right = (part['match'] as { right?: unknown } | undefined)?.right;
  return typeof right === 'string' ? [right] : [];
}
