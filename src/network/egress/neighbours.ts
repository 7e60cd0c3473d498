import type { Chain, NamedSet, TableContents } from '../rules.ts';
import { overlaps, parseSubnet } from '../subnet.ts';
import type { EgressRule } from './policy.ts';
import { type GovernedSubject, heldSets, holdRules, serviceMatch, subjectName, subnetMatch } from './rules.ts';

/** Exchanges that neighbours began with one container; those that talk go on, and a flood takes no more. */
const MAX_ANSWERED = 4_096;

/**
 * What policies say of containers on the same network, whose frames pass the bridge alone and no rule for IP. A table of the
 * family `bridge`, which knows containers by their ports; what a neighbour began is answered, as far as a set remembers it, since
 * the kernel tracks no connections there.
 *
 * @returns undefined: no policy speaks of neighbours
 */
export function neighbourContents(governed: readonly GovernedSubject[]): TableContents | undefined {
  const speaking = governed.filter(speaksOfNeighbours);
  if (speaking.length === 0) return undefined;
  // A container's own policy and its network's are two: each kind has maps of its own.
  const jumps = (kind: string, name: string, chain: (one: GovernedSubject) => string): NamedSet => {
    const its = speaking.filter(({ subject }) => subject.kind === kind);
    const elements = its.flatMap((one) => portsOf(one).map((port) => `${JSON.stringify(port)} : jump ${chain(one)}`));
    return { kind: 'map', name, type: 'type ifname : verdict;', elements };
  };
  const answered = (one: Pick<GovernedSubject, 'subject'>) => `${subjectName(one.subject)}-asked`;
  const kinds = ['container', 'network'] as const;
  return {
    sets: [
      ...kinds.flatMap((kind) => [
        jumps(kind, `from_${kind}s`, ({ subject }) => subjectName(subject)),
        jumps(kind, `to_${kind}s`, answered),
      ]),
      ...speaking.flatMap(({ subject }) => [...heldSets(subject, 'denied'), ...answeredSets(answered({ subject }))]),
    ],
    chains: [
      {
        name: 'forward',
        hook: 'type filter hook forward priority filter; policy accept;',
        rules: [
          'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept',
          'iifname vmap @from_containers',
          'iifname vmap @from_networks',
          // Only what is let through may be answered.
          'oifname vmap @to_containers',
          'oifname vmap @to_networks',
        ],
      },
      ...speaking.flatMap((one) => chainsOf(one, answered(one))),
    ],
  };
}

function speaksOfNeighbours({ policy, places }: GovernedSubject): boolean {
  const subnets = places.flatMap((place) => place.subnets.map(parseSubnet));
  return policy.rules.some(
    ({ to }) =>
      to.kind === 'neighbours' ||
      (to.kind === 'subnet' && subnets.some((subnet) => overlaps(subnet, parseSubnet(to.subnet)))),
  );
}

const portsOf = ({ places }: GovernedSubject): string[] =>
  places.flatMap(({ endpoint }) => (endpoint === undefined ? [] : [endpoint.hostInterface]));

function chainsOf({ subject, policy }: GovernedSubject, answered: string): Chain[] {
  const name = subjectName(subject);
  const denied = `${name}-denied`;
  return [
    { name: denied, hook: '', rules: [...holdRules(subject, 'denied'), 'counter drop'] },
    {
      name,
      hook: '',
      rules: [
        ...([4, 6] as const).flatMap((family) => [
          `${tuple(family, 'saddr', 'daddr')} . th sport . th dport @${answered}${family} return`,
          `${tuple(family, 'saddr', 'daddr')} @${answered}${family}o return`,
        ]),
        ...policy.rules.flatMap((rule) => neighbourRules(rule, denied)),
      ],
    },
    {
      name: answered,
      hook: '',
      rules: ([4, 6] as const).flatMap((family) => [
        `meta l4proto { tcp, sctp } update @${answered}${family} { ${tuple(family, 'daddr', 'saddr')} . th dport . th sport timeout 1d }`,
        `meta l4proto udp update @${answered}${family} { ${tuple(family, 'daddr', 'saddr')} . th dport . th sport }`,
        `meta l4proto != { tcp, udp, sctp } update @${answered}${family}o { ${tuple(family, 'daddr', 'saddr')} }`,
      ]),
    },
  ];
}

function tuple(family: 4 | 6, from: 'saddr' | 'daddr', to: 'saddr' | 'daddr'): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  return `${ip} ${from} . ${ip} ${to} . meta l4proto`;
}

function neighbourRules(rule: EgressRule, denied: string): string[] {
  const { to, verdict } = rule;
  const place = to.kind === 'neighbours' ? '' : to.kind === 'subnet' ? subnetMatch(to.subnet) : undefined;
  if (place === undefined) return [];
  // Of other protocols than IP there is none to deny but ARP, which finds the gateway too.
  const match = `${place} ${serviceMatch(rule)}`.trim() || 'meta protocol { ip, ip6 }';
  return [`${match} ${verdict === 'allow' ? 'return' : `goto ${denied}`}`];
}

function answeredSets(name: string): NamedSet[] {
  return ([4, 6] as const).flatMap((family) => {
    const pair = `ipv${family}_addr . ipv${family}_addr . inet_proto`;
    const rest = `size ${MAX_ANSWERED}; flags dynamic,timeout; timeout 180s;`;
    const set = (suffix: string, type: string): NamedSet => ({
      ...{ kind: 'set', name: `${name}${family}${suffix}`, type: `type ${type}; ${rest}`, elements: [], isKept: true },
    });
    return [set('', `${pair} . inet_service . inet_service`), set('o', pair)];
  });
}
