import { isIPv6 } from '../../linux/index.ts';
import { protocolNumbers } from './decide.ts';
import { type EgressPolicy, type EgressProtocol, type EgressRule, egressRuleText, isRuleName } from './policy.ts';
import type { EgressAttempt, FollowedName } from './records.ts';
import { isPrivate } from './rules.ts';

/**
 * The policy that lets through what was learned, by name where the address was answered for one, and nothing else.
 *
 * @returns beside it the names that were looked up and led to no connection
 */
export function learnedPolicy(
  policy: EgressPolicy | undefined,
  attempts: readonly EgressAttempt[],
  names: readonly FollowedName[],
  hostAddresses: ReadonlySet<string>,
): { policy: EgressPolicy; namesOnly: string[] } {
  const learned = attempts.filter(({ isDenied }) => !isDenied);
  const reached = learned.filter(({ protocol }) => protocol !== 'dns');
  const used = new Set<string>();
  const ports = new Map<string, { rule: EgressRule; ports: Set<number> }>();
  for (const { destination, protocol, port } of reached) {
    const its = names
      .filter(({ name, address }) => address === destination && isRuleName(name))
      .map(({ name }) => name);
    for (const name of its) used.add(name);
    for (const to of destinations(destination, its, hostAddresses)) {
      const mayBePrivate = to.kind === 'name' && isPrivate(destination);
      const rule: EgressRule = { verdict: 'allow', to, mayBePrivate, protocol: protocolOf(protocol), ports: [] };
      const key = egressRuleText(rule);
      const known = ports.get(key) ?? { rule, ports: new Set() };
      if (port !== 0) known.ports.add(port);
      ports.set(key, known);
    }
  }
  const rules = [...ports.values()].map(({ rule, ports: seen }) => ({ ...rule, ports: portRanges(seen) }));
  const text = (rule: EgressRule) => egressRuleText(rule);
  // What else was asked for cannot be said in a rule, nor on a line of its own.
  const namesOnly = learned.filter(
    ({ protocol, destination }) => protocol === 'dns' && !used.has(destination) && isRuleName(destination),
  );
  return {
    policy: {
      rules: [...(policy?.rules ?? []), ...rules.toSorted((a, b) => (text(a) < text(b) ? -1 : 1))],
      otherwise: 'deny',
    },
    namesOnly: [...new Set(namesOnly.map(({ destination }) => destination))].sort(),
  };
}

function destinations(address: string, names: readonly string[], hosts: ReadonlySet<string>): EgressRule['to'][] {
  if (hosts.has(address)) return [{ kind: 'host' }];
  if (names.length > 0) return names.map((name) => ({ kind: 'name', name }));
  return [{ kind: 'subnet', subnet: `${address}/${isIPv6(address) ? 128 : 32}` }];
}

const protocolOf = (text: string): EgressRule['protocol'] =>
  text === 'icmp' || (text !== 'icmpv6' && Object.hasOwn(protocolNumbers, text)) ? (text as EgressProtocol) : '';

/** More single ports than a rule takes are all that lie between them. */
function portRanges(seen: ReadonlySet<number>): EgressRule['ports'] {
  const sorted = [...seen].sort((a, b) => a - b);
  const [first = 0] = sorted;
  const last = sorted.at(-1) ?? 0;
  if (sorted.length > MAX_PORTS) return [[first, last]];
  return sorted.map((port) => [port, port]);
}

const MAX_PORTS = 32;
