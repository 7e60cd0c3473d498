import { isIPv6 } from '../../linux/index.ts';
import { contains, parseSubnet } from '../subnet.ts';
import type { EgressPolicy, EgressRule } from './policy.ts';

/** What a container wants to reach. */
export interface EgressTarget {
  /** In canonical text. */
  address: string;
  /** IP protocol number. */
  protocol: number;
  /** 0 for protocols without ports. */
  port: number;
  isHost: boolean;
  /** Names that the address was answered for, and whether that opens it to a rule. */
  isNamed(rule: EgressRule): boolean;
}

/** Numbers of IP protocols (IANA). */
export const protocolNumbers = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const withPorts: readonly number[] = [protocolNumbers.tcp, protocolNumbers.udp, protocolNumbers.sctp];

/** Whether a name is one that a rule's pattern means; both in lower case. */
export const nameMatches = (pattern: string, name: string): boolean =>
  pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) && name.length > pattern.length - 1 : name === pattern;

/**
 * Whether a policy lets somebody look a name up: as its rules by name say, and as those for `any` destination, where all
 * addresses are open anyway.
 */
export function allowsName({ rules, otherwise }: EgressPolicy, name: string): boolean {
  for (const { to, verdict, ports, protocol } of rules) {
    const isMeant = to.kind === 'name' && nameMatches(to.name, name);
    // A name is not a port: what is denied on some ports may be asked for.
    const isAny = to.kind === 'any' && (verdict === 'allow' || (ports.length === 0 && protocol === ''));
    const isDenied = verdict === 'deny' && (ports.length > 0 || protocol !== '');
    if ((isMeant && !isDenied) || isAny) return verdict === 'allow';
  }
  return otherwise !== 'deny';
}

/** What the kernel's rules decide of a new connection, worked out here. @returns the rule, or undefined for the default */
export function decidingRule({ rules }: EgressPolicy, target: EgressTarget): EgressRule | undefined {
  return rules.find((rule) => matchesService(rule, target) && matchesPlace(rule, target));
}

export const isLetThrough = (policy: EgressPolicy, target: EgressTarget): boolean =>
  (decidingRule(policy, target)?.verdict ?? policy.otherwise) !== 'deny';

function matchesPlace(rule: EgressRule, target: EgressTarget): boolean {
  switch (rule.to.kind) {
    case 'any':
      return true;
    case 'host':
      return target.isHost;
    case 'neighbours':
      return false;
    case 'subnet':
      return contains(parseSubnet(rule.to.subnet), target.address);
    case 'name':
      return rule.verdict === 'allow' && target.isNamed(rule);
  }
}

function matchesService({ protocol, ports }: EgressRule, target: EgressTarget): boolean {
  const { icmp, icmpv6 } = protocolNumbers;
  if (protocol === 'icmp') return target.protocol === (isIPv6(target.address) ? icmpv6 : icmp);
  if (protocol !== '' && target.protocol !== protocolNumbers[protocol]) return false;
  if (ports.length === 0) return true;
  return (
    withPorts.includes(target.protocol) && ports.some(([first, last]) => target.port >= first && target.port <= last)
  );
}
