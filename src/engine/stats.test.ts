import { describe, expect, test } from 'vitest';
import { parseNetworkCounters, type StatsTarget, watchStats } from './stats.ts';

test('network counters leave out lo', () => {
  const text = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0',
    '  eth0:  123456      12    1    2    0     0          0         0   654321      34    5    6    0     0       0          0',
    'eth1:0:1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0',
    '',
  ].join('\n');
  expect(parseNetworkCounters(text)).toEqual({
    eth0: {
      ...{ rxBytes: 123456, rxPackets: 12, rxErrors: 1, rxDropped: 2 },
      ...{ txBytes: 654321, txPackets: 34, txErrors: 5, txDropped: 6 },
    },
    'eth1:0': {
      ...{ rxBytes: 1, rxPackets: 2, rxErrors: 3, rxDropped: 4 },
      ...{ txBytes: 5, txPackets: 6, txErrors: 7, txDropped: 8 },
    },
  });
  expect(parseNetworkCounters('')).toEqual({});
});

describe('watchStats', () => {
  const own: StatsTarget = { pid: process.pid, cgroupPath: '/', ownNetwork: true };

  test('one sample without stream', async () => {
    const samples = await Array.fromAsync(watchStats(() => own, { stream: false }));
    expect(samples).toHaveLength(1);
    expect(samples[0]!.cpu.hostNs).toBeGreaterThan(0);
    expect(samples[0]!.cpu.onlineCpus).toBeGreaterThan(0);
    expect(samples[0]!.memory.limitBytes).toBeGreaterThan(0);
  });

  test('a stopped container gives empty samples, and is found again', async () => {
    const stop = new AbortController();
    const places = [undefined, own, { ...own, cgroupPath: '/tare-no-such-cgroup', pid: 1 }];
    const hostNs: number[] = [];
    for await (const sample of watchStats(() => places[hostNs.length], { stream: true, signal: stop.signal })) {
      hostNs.push(sample.cpu.hostNs);
      if (hostNs.length === places.length) stop.abort();
    }
    expect(hostNs.map((ns) => ns > 0)).toEqual([false, true, false]);
  });

  test('a removed container ends the samples with its error', async () => {
    const gone = new Error('No such container');
    const samples = watchStats(
      () => {
        throw gone;
      },
      { stream: true },
    );
    await expect(samples.next()).rejects.toBe(gone);
  });

  test('an abort ends them quietly while waiting', async () => {
    const samples = watchStats(() => undefined, { stream: true, signal: AbortSignal.timeout(20) });
    expect(await Array.fromAsync(samples)).toHaveLength(1);
  });
});
