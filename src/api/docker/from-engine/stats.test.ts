import { expect, test } from 'vitest';
import type { StatsSample } from '../../../engine/index.ts';
import { eventOf } from './event.ts';
import { statsOf, stoppedStatsOf } from './stats.ts';

const sample: StatsSample = {
  readMs: 1_700_000_000_000,
  cpu: {
    ...{ usageNs: 30, userNs: 20, systemNs: 10, perCpuNs: [10, 20], hostNs: 1000, onlineCpus: 2 },
    ...{ periods: 1, throttledPeriods: 2, throttledNs: 3 },
  },
  memory: { usageBytes: 5, maxUsageBytes: 6, limitBytes: 7, failures: 8, stats: { cache: 1 } },
  pids: { current: 3, limit: Number.POSITIVE_INFINITY },
  blockIO: [{ device: [8, 0], op: 'read', bytes: 512, operations: 1 }],
  networks: {},
  cgroupVersion: 1,
};
const web = { id: 'a', name: 'web' };

test('one sample: no previous CPU, no limit that JSON cannot hold', () => {
  const document = statsOf(web, sample, undefined);
  expect(document).toMatchObject({
    name: '/web',
    preread: '0001-01-01T00:00:00Z',
    pids_stats: { current: 3 },
    memory_stats: { usage: 5, max_usage: 6, failcnt: 8, limit: 7, stats: { cache: 1 } },
    cpu_stats: { cpu_usage: { total_usage: 30, percpu_usage: [10, 20] }, system_cpu_usage: 1000, online_cpus: 2 },
    precpu_stats: { cpu_usage: { total_usage: 0 } },
    blkio_stats: { io_service_bytes_recursive: [{ major: 8, minor: 0, op: 'read', value: 512 }] },
  });
  expect(document.pids_stats).not.toHaveProperty('limit');
  expect(document.precpu_stats).not.toHaveProperty('system_cpu_usage');
});

test('two samples: the second has the first’s CPU', () => {
  const next = { ...sample, cpu: { ...sample.cpu, usageNs: 60 } };
  expect(statsOf(web, next, sample)).toMatchObject({
    preread: '2023-11-14T22:13:20Z',
    cpu_stats: { cpu_usage: { total_usage: 60 } },
    precpu_stats: { cpu_usage: { total_usage: 30 }, system_cpu_usage: 1000 },
  });
});

test('cgroup v2 has neither the maximum nor failures', () => {
  const { memory_stats } = statsOf(web, { ...sample, cgroupVersion: 2 }, undefined);
  expect(memory_stats).not.toHaveProperty('max_usage');
  expect(memory_stats).not.toHaveProperty('failcnt');
});

test('a stopped container has zeros', () => {
  expect(stoppedStatsOf(web)).toMatchObject({ read: '0001-01-01T00:00:00Z', memory_stats: {} });
});

test('an event keeps its nanoseconds', () => {
  const event = eventOf({
    id: 1,
    type: 'container',
    action: 'start',
    actorId: 'a',
    attributes: { image: 'busybox', name: 'web' },
    timeNs: 1_700_000_000_123_456_789n,
  });
  const line = JSON.stringify(event);
  expect(line).toContain('"timeNano":1700000000123456789');
  expect(JSON.parse(line)).toMatchObject({
    status: 'start',
    id: 'a',
    from: 'busybox',
    Type: 'container',
    Action: 'start',
    scope: 'local',
    time: 1_700_000_000,
  });
});

test('an event of a network has no old fields', () => {
  const event = eventOf({ id: 1, type: 'network', action: 'create', actorId: 'n', attributes: {}, timeNs: 1n });
  expect(Object.keys(event)).toEqual(['Type', 'Action', 'Actor', 'scope', 'time', 'timeNano']);
});
