import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chainName, type OpenBridges, type Opening, openings } from './host-firewall.ts';

const families = [
  { names: '/proc/thread-self/net/ip_tables_names', program: 'iptables-legacy' },
  { names: '/proc/thread-self/net/ip6_tables_names', program: 'ip6tables-legacy' },
];

/**
 * The old xtables rules are out of nftables' reach. Where they are in use and refuse packets by default, our
 * bridges are let through as in {@link keepHostFirewallOpen}, by the program that comes with them: the only one this
 * folder starts, and only then. Without the program the administrator lets the bridges through.
 *
 * @param bridges none: what was added is removed
 */
export function keepLegacyFirewallOpen(instance: string, bridges: OpenBridges): void {
  for (const { names, program } of families) {
    if (!isInUse(names)) continue;
    const listed = run(program, ['-t', 'filter', '-S']);
    if (listed === undefined) continue;
    for (const opening of openings(bridges))
      openLegacyChain(program, listed.split('\n'), chainName(instance, opening), opening);
  }
}

function openLegacyChain(
  program: string,
  rules: string[],
  ours: string,
  { chain, bridges, rules: rulesFor }: Opening,
): void {
  const theirs = rules.filter((rule) => rule.startsWith(`-A ${chain} `));
  const jump = `-A ${chain} -j ${ours}`;
  const others = theirs.filter((rule) => rule !== jump);
  const lastWord = others.findIndex((rule) => /^ -j (DROP|REJECT)( |$)/.test(rule.slice(`-A ${chain}`.length)));
  const refuses = lastWord !== -1 || rules.includes(`-P ${chain} DROP`);
  const isNeeded = refuses && bridges.length > 0;
  const hasChain = rules.includes(`-N ${ours}`);
  if (!isNeeded && !hasChain) return;
  const position = lastWord === -1 ? others.length + 1 : lastWord + 1;
  const wanted = bridges.flatMap(rulesFor).map(({ iptables }) => `-A ${ours} ${iptables} -j ACCEPT`);
  const present = rules.filter((rule) => rule.startsWith(`-A ${ours} `));
  const isInPlace = theirs.indexOf(jump) === position - 1 && theirs.length === others.length + 1;
  if (isNeeded && isInPlace && present.join('\n') === wanted.join('\n')) return;
  const changes = [
    ...theirs.filter((rule) => rule === jump).map(() => `-D ${chain} -j ${ours}`),
    ...(isNeeded ? [...wanted, `-I ${chain} ${position} -j ${ours}`] : [`-X ${ours}`]),
  ];
  // One batch, all or nothing; naming the chain makes it anew and empty.
  run(`${program}-restore`, ['--noflush', '-w', '2'], `*filter\n:${ours} - [0:0]\n${changes.join('\n')}\nCOMMIT\n`);
}

/** Asked of the kernel first: the program itself would bring the tables into being. */
function isInUse(names: string): boolean {
  try {
    return readFileSync(names, 'latin1').split('\n').includes('filter');
  } catch {
    return false; // no such tables in this kernel
  }
}

/** What a program printed; undefined: it is not there, or failed. */
function run(program: string, args: string[], input = ''): string | undefined {
  const env = { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' };
  const { status, stdout } = spawnSync(program, args, { env, input, encoding: 'utf8', timeout: 5000 });
  return status === 0 ? stdout : undefined;
}
