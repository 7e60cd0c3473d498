import { call } from '../test/support/api-call.ts';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { interleaved, median, present } from './measure.ts';
import type { Row } from './report.ts';

// Killed at once: as process 1 it does not hear the usual signal, which Podman would wait for.
const endless = ['--stop-signal', 'KILL', busybox, 'sleep', '3600'];

/** What a network costs a container: at its start, and while it runs. */
export async function connections(bench: Bench): Promise<Row[]> {
  return [await networkOfStart(bench), ...(await whileRunning(bench))];
}

/** The start of a container on a bridge less that of one without a network, one after the other, many times. */
async function networkOfStart({ tare, daemonless, docker, podman, rounds }: Bench): Promise<Row> {
  const contenders = present({ Tare: tare, 'Tare, no daemon': daemonless, Docker: docker, Podman: podman });
  const differences = new Map<string, number[]>();
  // The first warms the caches.
  for (let round = -1; round < 2 * rounds; round += 1) {
    for (const [who, contender] of Object.entries(contenders)) {
      const took: number[] = [];
      // Turned around each time: what comes second finds warmer caches.
      const modes = round % 2 === 0 ? ['bridge', 'none'] : ['none', 'bridge'];
      for (const mode of modes) {
        await contender.cli(['create', '--name', mode, '--network', mode, ...endless]);
        took.push(await ask(contender, `/containers/${mode}/start`, ['start', mode]));
      }
      await contender.cli(['rm', '--force', ...modes]);
      const [first = 0, second = 0] = took;
      const difference = modes[0] === 'bridge' ? first - second : second - first;
      if (round >= 0) differences.set(who, [...(differences.get(who) ?? []), difference]);
    }
  }
  return {
    what: 'network part of a start: on a bridge, less without a network',
    unit: 'ms',
    values: Object.fromEntries([...differences].map(([who, all]) => [who, median(all)])),
    promises: [{ who: 'Tare', bound: 'at most', times: 5 }],
  };
}

async function whileRunning({ tare, docker, podman, rounds }: Bench): Promise<Row[]> {
  const all = present({ Tare: tare, Docker: docker, Podman: podman });
  for (const contender of Object.values(all)) {
    await contender.cli(['network', 'create', 'second']);
    await contender.cli(['run', '--detach', '--name', 'up', '--network', 'second', ...endless]);
    await contender.cli(['network', 'create', 'other']);
  }
  const disconnects: Record<string, number[]> = {};
  const once = (who: string, contender: Contender) => async () => {
    const change = (verb: string) =>
      ask(contender, `/networks/other/${verb}`, ['network', verb, 'other', 'up'], { Container: 'up' });
    const took = await change('connect');
    const after = await change('disconnect');
    disconnects[who] = [...(disconnects[who] ?? []), after];
    return took;
  };
  const connects = await interleaved(
    Object.fromEntries(Object.entries(all).map(([who, contender]) => [who, once(who, contender)])),
    2 * rounds,
  );
  for (const contender of Object.values(all)) {
    await contender.cli(['rm', '--force', 'up']);
    await contender.cli(['network', 'rm', 'second', 'other']);
  }
  const promises: Row['promises'] = [{ who: 'Tare', bound: 'at most', times: 0.3, than: 'Docker' }];
  const asked = 'asked of the API; Podman by its command';
  return [
    { what: `network connect of a running container, ${asked}`, unit: 'ms', values: connects, promises },
    {
      what: `network disconnect of a running container, ${asked}`,
      unit: 'ms',
      values: Object.fromEntries(Object.entries(disconnects).map(([who, times]) => [who, median(times.slice(1))])),
      promises,
    },
  ];
}

/** Asks the API, or, of who serves none, the command. @returns milliseconds */
async function ask(contender: Contender, path: string, command: string[], body?: unknown): Promise<number> {
  const { socket } = contender;
  if (socket === undefined) return await contender.time(command);
  const started = performance.now();
  await call(socket, 'POST', path, body);
  return performance.now() - started;
}
