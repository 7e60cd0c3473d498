import { readFileSync } from 'node:fs';
import type { HostFacts, RuntimeBinary } from '../../runtime/index.ts';

/*
 * An ordinary user has no cgroups of his own unless somebody gave him some, so his containers run without: no limits, no figures but
 * those of their processes, no freezing.
 */

/** A runtime told to make no cgroups. */
export function withoutCgroups(runtime: RuntimeBinary): RuntimeBinary {
  if (!runtime.path.endsWith('/crun')) return runtime;
  return { ...runtime, args: ['--cgroup-manager=disabled', ...runtime.args] };
}

const none: HostFacts['cgroups'] = {
  memory: {
    ...{ limit: false, swap: false, reservation: false },
    ...{ swappiness: false, oomKillDisable: false, kernelTcp: false },
  },
  cpu: { shares: false, quota: false, realtime: false },
  cpuset: false,
  pids: false,
  blkio: {
    ...{ weight: false, weightDevice: false, readBps: false, writeBps: false },
    ...{ readIOps: false, writeIOps: false },
  },
  hugetlb: false,
  devices: false,
};

/** The host's facts as they are for an ordinary user: nothing that a cgroup could limit. The others stay lazy. */
export const limitedFacts = (facts: HostFacts): HostFacts =>
  Object.create(facts, {
    cgroups: { value: none, enumerable: true },
    presetSysctls: { get: () => mappedSysctls(facts.presetSysctls), enumerable: true },
  }) as HostFacts;

const PING = 'net.ipv4.ping_group_range';

/** Only groups that the namespace has can be let ping. */
function mappedSysctls(sysctls: HostFacts['presetSysctls']): HostFacts['presetSysctls'] {
  if (sysctls[PING] === undefined) return sysctls;
  return { ...sysctls, [PING]: `0 ${lastMappedId(readFileSync('/proc/self/gid_map', 'latin1'))}` };
}

/** The last of the ids from 0 on that a map has without a gap (user_namespaces(7)). */
export function lastMappedId(map: string): number {
  const ranges = map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .sort(([a = 0], [b = 0]) => a - b);
  let next = 0;
  for (const [inside = 0, , count = 0] of ranges) if (inside === next) next += count;
  return Math.max(0, next - 1);
}
