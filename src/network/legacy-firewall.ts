import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chainName } from './host-firewall.ts';

const families = [
  { names: '/proc/thread-self/net/ip_tables_names', program: 'iptables-legacy' },
  { names: '/proc/thread-self/net/ip6_tables_names', program: 'ip6tables-legacy' },
];

/**
 * The old xtables rules are out of nftables' reach. Where they are in use and refuse forwarded packets by default, our
 * bridges are let through as in {@link keepHostFirewallOpen}, by the program that comes with them: the only one this
 * folder starts, and only then. Without the program the administrator lets the bridges through.
 *
 * @param bridges none: what was added is removed
 */
export function keepLegacyFirewallOpen(instance: string, bridges: readonly string[]): void {
  const ours = chainName(instance);
  for (const { names, program } of families) {
    if (!isInUse(names)) continue;
    const listed = run(program, ['-t', 'filter', '-S']);
    if (listed === undefined) continue;
    const rules = listed.split('\n');
    const forward = rules.filter((rule) => rule.startsWith('-A FORWARD '));
    const jump = `-A FORWARD -j ${ours}`;
    const others = forward.filter((rule) => rule !== jump);
    const lastWord = others.findIndex((rule) => /^-A FORWARD -j (DROP|REJECT)( |$)/.test(rule));
    const refuses = lastWord !== -1 || rules.includes('-P FORWARD DROP');
    const isNeeded = refuses && bridges.length > 0;
    const hasChain = rules.includes(`-N ${ours}`);
    if (!isNeeded && !hasChain) continue;
    const position = lastWord === -1 ? others.length + 1 : lastWord + 1;
    const wanted = bridges.flatMap((bridge) => [
      `-A ${ours} -i ${bridge} -j ACCEPT`,
      `-A ${ours} -o ${bridge} -j ACCEPT`,
    ]);
    const present = rules.filter((rule) => rule.startsWith(`-A ${ours} `));
    const isInPlace = forward.indexOf(jump) === position - 1 && forward.length === others.length + 1;
    if (isNeeded && isInPlace && present.join('\n') === wanted.join('\n')) continue;
    const changes = [
      ...forward.filter((rule) => rule === jump).map(() => `-D FORWARD -j ${ours}`),
      ...(isNeeded ? [...wanted, `-I FORWARD ${position} -j ${ours}`] : [`-X ${ours}`]),
    ];
    // One batch, all or nothing; naming the chain makes it anew and empty.
    run(`${program}-restore`, ['--noflush', '-w', '2'], `*filter\n:${ours} - [0:0]\n${changes.join('\n')}\nCOMMIT\n`);
  }
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
