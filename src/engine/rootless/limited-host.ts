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
  Object.create(facts, { cgroups: { value: none, enumerable: true } }) as HostFacts;
