import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { busybox, TestEngine } from '../support/engine.ts';
import { restingHoldings } from '../support/holdings.ts';

const containers = Number(process.env['TARE_CROWD'] ?? 60);
const networks = Math.max(6, Math.round(containers / 50));
const AT_ONCE = 8;

/** Does it for each number below `count`, several at once, in order. @returns milliseconds of each */
async function each(count: number, work: (number: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const number = next++;
      const started = performance.now();
      await work(number);
      times[number] = performance.now() - started;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return times;
}

const mean = (times: readonly number[]): number => times.reduce((sum, one) => sum + one, 0) / times.length;

/** Memory that a process is responsible for, in MB. */
function megabytes(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1000;
}

test(
  `${containers} containers on ${networks} networks come up and go away, with nothing left`,
  async () => {
    await using engine = await TestEngine.start({ face: 'docker' });
    const ask = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
      const answer = await engine.api<T>(method, path, body);
      expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
      return answer.body;
    };
    const name = (number: number) => `crowd-${number}`;
    const network = (number: number) => `crowd-net-${number % networks}`;
    // What the first container brings into being, for good.
    await engine.cli(['run', '--detach', '--name', 'first', busybox, 'sleep', '36000']);
    await engine.cli(['exec', 'first', 'true']);
    await engine.cli(['rm', '--force', 'first']);
    const before = await restingHoldings(engine);

    const begun = performance.now();
    await each(networks, (number) => ask('POST', '/networks/create', { Name: network(number) }));
    const starts = await each(containers, async (number) => {
      const isPublished = number % 10 === 0;
      await ask('POST', `/containers/create?name=${name(number)}`, {
        Image: busybox,
        Cmd: ['sleep', '36000'],
        HostConfig: {
          NetworkMode: network(number),
          ...(isPublished && {
            PortBindings: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: String(20_000 + number) }] },
          }),
        },
        NetworkingConfig: { EndpointsConfig: { [network(number)]: { Aliases: ['everybody'] } } },
      });
      await ask('POST', `/containers/${name(number)}/start`);
    });
    const up = performance.now();

    const running = await ask<{ Id: string }[]>('GET', '/containers/json');
    expect(running).toHaveLength(containers);
    for (let number = 0; number < networks; number += 1) {
      const { Containers: members } = await ask<{ Containers: Record<string, { IPv4Address: string }> }>(
        'GET',
        `/networks/${network(number)}`,
      );
      const addresses = Object.values(members).map(({ IPv4Address }) => IPv4Address);
      expect(new Set(addresses).size).toBe(Math.floor((containers - number - 1) / networks) + 1);
    }
    const [first, last] = [name((containers - 1) % networks), name(containers - 1)];
    expect((await engine.cli(['exec', first, 'ping', '-c', '1', '-W', '30', last])).stdout).toContain(
      '1 packets received',
    );
    const [stranger] = [name(containers - 2)];
    expect((await engine.cli(['exec', first, 'nslookup', stranger], { expect: 'any' })).code).not.toBe(0);
    const keeper = keeperOf(engine);
    const memory = { daemon: megabytes(engine.daemonPid), keeper: keeper === undefined ? 0 : megabytes(keeper.pid) };

    const ending = performance.now();
    const removals = await each(containers, (number) => ask('DELETE', `/containers/${name(number)}?force=1`));
    await each(networks, (number) => ask('DELETE', `/networks/${network(number)}`));
    const down = performance.now();
    const window = Math.ceil(containers / 10);
    const figures = (times: number[]) =>
      `${mean(times.slice(0, window)).toFixed(0)} ms each at first, ${mean(times.slice(-window)).toFixed(0)} ms at last`;
    console.log(
      `${containers} containers: up in ${((up - begun) / 1000).toFixed(1)} s (${figures(starts)}), ` +
        `down in ${((down - ending) / 1000).toFixed(1)} s (${figures(removals)}); ` +
        `daemon ${memory.daemon.toFixed(0)} MB, keeper ${memory.keeper.toFixed(0)} MB`,
    );
    expect(await restingHoldings(engine)).toEqual(before);
  },
  120_000 + containers * 1_000,
);

const keeperOf = (engine: TestEngine) => engine.processes().find(({ command }) => /\bkeeper\b/.test(command));
