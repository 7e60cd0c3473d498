import type { Nftables, NftablesState } from '../linux/index.ts';

/**
 * A verdict of ours cannot overrule another table's: a packet passes only when every table lets it. Where the host's
 * forward chain drops by default (iptables-nft's `filter` tables: ufw, docker, hand-written rules), our bridges are let
 * through by a chain of our own there, called just before the chain's last word, so that every rule the administrator
 * wrote comes first. What may reach a container is still decided in our own table.
 */
export function keepHostFirewallOpen(
  nftables: Nftables,
  tables: NftablesState,
  instance: string,
  bridges: readonly string[],
): void {
  for (const family of ['ip', 'ip6'] as const) {
    if (!tables.hasChain({ family, table: 'filter', name: 'FORWARD' })) continue;
    const forward = readForward(nftables, family, instance);
    if (forward === undefined) continue;
    const needed = forward.dropsByDefault && bridges.length > 0;
    if (!needed && !forward.hasChain) continue;
    const chain = chainName(instance);
    const commands = forward.jumps.map((handle) => `delete rule ${family} filter FORWARD handle ${handle}\n`);
    if (forward.hasChain) commands.push(`flush chain ${family} filter ${chain}\n`);
    if (needed) {
      commands.push(`add chain ${family} filter ${chain}\n`);
      for (const bridge of bridges) {
        commands.push(`add rule ${family} filter ${chain} iifname "${bridge}" counter accept\n`);
        commands.push(`add rule ${family} filter ${chain} oifname "${bridge}" counter accept\n`);
      }
      const jump = `counter jump ${chain}`;
      commands.push(
        forward.lastWord === undefined
          ? `add rule ${family} filter FORWARD ${jump}\n`
          : `insert rule ${family} filter FORWARD position ${forward.lastWord} ${jump}\n`,
      );
    } else {
      commands.push(`delete chain ${family} filter ${chain}\n`);
    }
    nftables.run(commands.join(''));
  }
}

/** Removes what {@link keepHostFirewallOpen} added. Repeating is safe. */
export function leaveHostFirewall(nftables: Nftables, tables: NftablesState, instance: string): void {
  keepHostFirewallOpen(nftables, tables, instance, []);
}

// iptables shows chain names of at most 28 characters.
const chainName = (instance: string): string => `${instance.toUpperCase()}-FORWARD`;

interface Forward {
  dropsByDefault: boolean;
  hasChain: boolean;
  /** Handles of the rules that jump to our chain. */
  jumps: number[];
  /** Handle of a last rule that drops or rejects whatever is left. */
  lastWord: number | undefined;
}

interface ListedRule {
  chain: string;
  handle: number;
  expr: Record<string, unknown>[];
}

interface Listing {
  nftables: { chain?: { name: string; policy?: string; hook?: string }; rule?: ListedRule }[];
}

/** The FORWARD chain of the `filter` table that iptables-nft keeps, or undefined when there is none. */
function readForward(nftables: Nftables, family: 'ip' | 'ip6', instance: string): Forward | undefined {
  let listing: Listing;
  try {
    listing = nftables.list(`list table ${family} filter`) as Listing;
  } catch {
    return undefined;
  }
  const chains = listing.nftables.flatMap(({ chain }) => (chain === undefined ? [] : [chain]));
  const forward = chains.find(({ name, hook }) => name === 'FORWARD' && hook === 'forward');
  if (forward === undefined) return undefined;
  const ours = chainName(instance);
  const rules = listing.nftables.flatMap(({ rule }) => (rule?.chain === 'FORWARD' ? [rule] : []));
  const isOurs = (rule: ListedRule) => rule.expr.some((part) => (part['jump'] as { target?: string })?.target === ours);
  const last = rules.filter((rule) => !isOurs(rule)).at(-1);
  const lastWord = last !== undefined && isUnconditionalRefusal(last) ? last.handle : undefined;
  return {
    dropsByDefault: forward.policy === 'drop' || lastWord !== undefined,
    hasChain: chains.some(({ name }) => name === ours),
    jumps: rules.filter(isOurs).map(({ handle }) => handle),
    lastWord,
  };
}

const isUnconditionalRefusal = ({ expr }: ListedRule): boolean =>
  expr.every((part) => 'drop' in part || 'reject' in part || 'counter' in part || isRejectTarget(part)) &&
  expr.some((part) => 'drop' in part || 'reject' in part || isRejectTarget(part));

const isRejectTarget = (part: Record<string, unknown>): boolean =>
  (part['xt'] as { type?: string; name?: string } | undefined)?.name === 'REJECT';
