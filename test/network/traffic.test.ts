import { afterEach, describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { throughEveryFace, withEngine } from '../support/faces.ts';

interface Stats {
  networks?: Record<string, { rx_bytes: number; tx_bytes: number; rx_packets: number; tx_dropped: number }>;
}

describe('bandwidth of a container', () => {
  const engine = withEngine({ face: 'tare' });
  const cli = (...args: string[]) => engine().cli(args);
  const rates = async (name: string, link = 'eth0') => {
    const pid = (await cli('inspect', '-f', '{{.State.Pid}}', name)).stdout.trim();
    const within = async (command: string) =>
      (await engine().run(['nsenter', '-t', pid, '-n', 'sh', '-c', command])).stdout;
    const inside = await within(`tc qdisc show dev ${link}`);
    const peer = /@if(\d+)/.exec(await within(`ip -o link show ${link}`))?.[1];
    const { stdout: hostLinks } = await engine().run(['ip', '-o', 'link']);
    const hostEnd = new RegExp(`^${peer}: (\\w+)@`, 'm').exec(hostLinks)?.[1] ?? '';
    const { stdout: outside } = await engine().run(['tc', 'qdisc', 'show', 'dev', hostEnd]);
    const rate = (text: string) => /tbf .*rate (\S+)/.exec(text)?.[1] ?? 'none';
    return `in ${rate(outside)}, out ${rate(inside)}`;
  };
  const run = (...options: string[]) => cli('run', '-d', '--name', 'slow', ...options, busybox, 'sleep', '600');
  afterEach(() => engine().cli(['rm', '-f', 'slow'], { expect: 'any' }));

  test('asked for, shown, changed while it runs, kept over a restart, and on networks that come later', async () => {
    await run('--network-bandwidth', 'in=10mbit,out=5mbit');
    expect(await rates('slow')).toBe('in 10Mbit, out 5Mbit');
    const shown = () => cli('inspect', '-f', '{{json .HostConfig.NetworkBandwidth}}', 'slow');
    expect(JSON.parse((await shown()).stdout)).toEqual({ In: '10mbit', Out: '5mbit' });
    await cli('update', '--network-bandwidth', 'in=1.5gbit', 'slow');
    expect(await rates('slow')).toBe('in 1500Mbit, out 5Mbit');
    await cli('restart', '-t', '0', 'slow');
    expect(await rates('slow')).toBe('in 1500Mbit, out 5Mbit');
    await cli('network', 'create', 'later');
    await cli('network', 'connect', 'later', 'slow');
    expect(await rates('slow', 'eth1')).toBe('in 1500Mbit, out 5Mbit');
    await cli('network', 'disconnect', 'later', 'slow');
    await cli('network', 'rm', 'later');
    await cli('update', '--network-bandwidth', 'in=none,out=none', 'slow');
    expect(await rates('slow')).toBe('in none, out none');
    // Of one that does not run, for its next start.
    await cli('stop', '-t', '0', 'slow');
    await cli('update', '--network-bandwidth', 'out=2mbit', 'slow');
    await cli('start', 'slow');
    expect(await rates('slow')).toBe('in none, out 2Mbit');
  });

  test('a network may have limits of its own, which an update of the container leaves', async () => {
    await cli('network', 'create', 'narrow');
    await run('--network-bandwidth', 'in=10mbit', '--network', 'bridge', '--network', 'name=narrow,bandwidth-in=1mbit');
    expect(await rates('slow')).toBe('in 10Mbit, out none');
    expect(await rates('slow', 'eth1')).toBe('in 1Mbit, out none');
    await cli('update', '--network-bandwidth', 'in=20mbit', 'slow');
    expect(await rates('slow')).toBe('in 20Mbit, out none');
    expect(await rates('slow', 'eth1')).toBe('in 1Mbit, out none');
    await cli('rm', '-f', 'slow');
    await cli('network', 'rm', 'narrow');
  });

  test('docker gives a network its limits by driver options', async () => {
    await engine().docker(['network', 'create', 'narrow']);
    const option = 'name=narrow,driver-opt=tare.bandwidth.out=1mbit';
    await engine().docker(['run', '-d', '--name', 'slow', '--network', option, busybox, 'sleep', '600']);
    expect(await rates('slow')).toBe('in none, out 1Mbit');
    await cli('rm', '-f', 'slow');
    await cli('network', 'rm', 'narrow');
  });

  test.each([
    { options: ['--network-bandwidth', 'in=fast'], code: 125, says: 'invalid bandwidth in "fast"' },
    { options: ['--network-bandwidth', 'out=10MB'], code: 125, says: 'invalid bandwidth out "10MB"' },
    { options: ['--network-bandwidth', '10mbit'], code: 125, says: 'in=RATE or out=RATE' },
    { options: ['--network-bandwidth', 'in=1bit'], code: 125, says: 'a rate from 8kbit to 1tbit' },
    { options: ['--network', 'name=bridge,bandwidth-in=x'], code: 125, says: 'invalid bandwidth in "x"' },
    {
      options: ['--network', 'host', '--network-bandwidth', 'in=1mbit'],
      code: 125,
      says: 'conflicting options: --network-bandwidth and the network mode host',
    },
  ])('$options is refused before anything is made', async ({ options, code, says }) => {
    const { stderr } = await engine().cli(['run', '--name', 'slow', ...options, busybox, 'true'], { expect: code });
    expect(stderr).toContain(says);
    await engine().cli(['inspect', 'slow'], { expect: 1 });
  });
});

throughEveryFace('what passes each link of a container', (engine, face) => {
  const cli = (...args: string[]) => engine().cli(args);
  const stats = async (name: string): Promise<NonNullable<Stats['networks']> | undefined> => {
    if (face === 'in-process') return undefined;
    return (await engine().api<Stats>('GET', `/containers/${name}/stats?stream=false&one-shot=true`)).body.networks;
  };
  const sums = async (name: string) =>
    (await cli('stats', '--no-stream', '--format', '{{.NetIO}}', name)).stdout.trim();

  test('is counted by the name that the link has, as networks come and go', async () => {
    await cli('network', 'create', 'two');
    await cli('run', '-d', '--name', 'box', busybox, 'sleep', '600');
    await cli('run', '-d', '--name', 'guest', '--network', 'container:box', busybox, 'sleep', '600');
    await cli('run', '-d', '--name', 'bare', '--network', 'host', busybox, 'sleep', '600');
    await cli('run', '-d', '--name', 'joined', '--network', 'container:bare', busybox, 'sleep', '600');
    await cli('network', 'connect', 'two', 'box');
    const gateway = (await cli('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', 'two')).stdout.trim();
    await cli('exec', 'box', 'ping', '-c', '4', '-i', '0.1', '-s', '1000', gateway);
    for (const name of ['box', 'guest']) {
      const networks = await stats(name);
      if (networks !== undefined) {
        expect(Object.keys(networks).sort()).toEqual(['eth0', 'eth1']);
        expect(networks['eth1']!.rx_bytes).toBeGreaterThan(4 * 1000);
        expect(networks['eth1']!.tx_bytes).toBeGreaterThan(4 * 1000);
        expect(networks['eth1']!.rx_packets).toBeGreaterThanOrEqual(4);
        expect(networks['eth1']!.tx_dropped).toBe(0);
        expect(networks['eth0']!.tx_bytes).toBeLessThan(4 * 1000);
      }
      if (name === 'box') expect(await sums(name)).toMatch(/^[4-9](\.\d+)?kB \/ [4-9](\.\d+)?kB$/);
    }
    for (const name of ['bare', 'joined']) {
      expect(await stats(name)).toBeUndefined();
      if (name === 'joined') expect(await sums(name)).toBe('0B / 0B');
    }
    await cli('network', 'disconnect', 'two', 'box');
    const left = await stats('box');
    if (left !== undefined) expect(Object.keys(left)).toEqual(['eth0']);
    await cli('rm', '-f', 'guest', 'box', 'joined', 'bare');
    await cli('network', 'rm', 'two');
  });
});
