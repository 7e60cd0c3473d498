import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execute } from '../test/support/execute.ts';
import { busybox, busyboxImage } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { Floor, type Specification } from './floor.ts';
import { interleaved, median, present } from './measure.ts';
import { replay } from './replay.ts';
import type { Row } from './report.ts';
import { client, Timer } from './timer.ts';

const none = ['--network', 'none'];

/** docker's client alone, and conmon and crun by hand on a bundle of ours. */
async function floorOf({ tare }: Bench): Promise<{ client: () => Promise<unknown>; container: () => Promise<number> }> {
  const { engine } = tare;
  await tare.cli(['run', '--detach', '--name', 'floor', ...none, busybox, 'sleep', '3600']);
  const bundles = join(engine.execRoot, 'containers');
  const [bundle] = readdirSync(bundles);
  const config = JSON.parse(readFileSync(join(bundles, bundle!, 'config.json'), 'utf8')) as Specification & {
    process: { args: string[] };
  };
  config.process.args = ['/bin/true'];
  const rootfs = join(engine.root, 'floor-rootfs');
  mkdirSync(rootfs);
  await execute(['tar', '-C', rootfs, '-xf', busyboxImage().rootfs]);
  const floorTimer = new Timer((argv) => engine.spawn(argv));
  const floor = new Floor(config, rootfs, join(engine.root, 'floor'));
  return {
    client: () => tare.time(['version', '--format', '{{.Client.Version}}']),
    // The script runs inside, as the engine's own monitor does.
    container: () => floorTimer.time(floor.command),
  };
}

/** Run, with a bridge, without a network, with a published port; with a daemon and without. */
export async function run(bench: Bench): Promise<Row[]> {
  const { tare, daemonless, docker, podman, rounds } = bench;
  const floor = await floorOf(bench);
  const parts = await interleaved({ client: floor.client, container: floor.container }, rounds);
  const floorMs = parts.client! + parts.container!;
  const measure = (flags: string[]) => {
    const once = (contender: Contender | undefined) =>
      contender && (() => contender.time(['run', '--rm', ...flags, busybox, '/bin/true']));
    const contenders = {
      Tare: once(tare),
      'Tare, no daemon': once(daemonless),
      Docker: once(docker),
      Podman: once(podman),
    };
    return interleaved(present(contenders), rounds);
  };
  const bridged = await measure([]);
  const alone = await measure(none);
  const published = await measure(['--publish', '80']);
  await tare.cli(['rm', '--force', 'floor']);
  const against = (times: number) => ({ who: 'Tare', bound: 'at most', times, than: 'floor' }) as const;
  const daemonlessHalf = { who: 'Tare, no daemon', bound: 'at most', times: 0.5, than: 'Podman' } as const;
  return [
    {
      what: 'floor: client, then conmon and crun by hand',
      unit: 'ms',
      values: { floor: floorMs },
      promises: [],
      note: `client ${parts.client!.toFixed(1)}, conmon and crun ${parts.container!.toFixed(1)}`,
    },
    {
      what: 'run --rm, bridge',
      unit: 'ms',
      values: { floor: floorMs, ...bridged },
      promises: [against(1.6), { who: 'Tare', bound: 'at most', times: 0.25, than: 'Docker' }, daemonlessHalf],
    },
    {
      what: 'run --rm, no network',
      unit: 'ms',
      values: { floor: floorMs, ...alone },
      promises: [against(1.4)],
    },
    { what: 'run --rm --publish', unit: 'ms', values: { floor: floorMs, ...published }, promises: [daemonlessHalf] },
  ];
}

/** What meets a container that runs. */
export async function running(bench: Bench): Promise<Row[]> {
  const { tare, docker, podman, daemonless, rounds } = bench;
  const all = [tare, docker, podman, daemonless].filter((contender) => contender !== undefined);
  for (const contender of all) {
    await contender.cli(['run', '--detach', '--name', 'up', busybox, 'sleep', '3600']);
  }
  const socket = join(tare.engine.root, 'replay.sock');
  await using _server = await replay(socket, tare.engine.socket);
  const measure = (args: string[], floor?: () => Promise<number>) => {
    const once = (contender: Contender | undefined) => contender && (() => contender.time(args));
    const [withDaemon, alone] = [once(tare), once(daemonless)];
    return interleaved(
      present({ floor, Tare: withDaemon, 'Tare, no daemon': alone, Docker: once(docker), Podman: once(podman) }),
      rounds,
    );
  };
  const answeredAtOnce = (args: string[]) =>
    measure(args, () => tare.timeBeside([client, '--host', `unix://${socket}`, ...args]));
  const dockerAtMost = (times: number) => ({ who: 'Tare', bound: 'at most', times, than: 'Docker' }) as const;
  const rows: Row[] = [
    { what: 'exec true', unit: 'ms', values: await measure(['exec', 'up', 'true']), promises: [dockerAtMost(0.6)] },
    {
      what: "ps (floor: docker's client, answered at once)",
      unit: 'ms',
      values: await answeredAtOnce(['ps']),
      promises: [dockerAtMost(1)],
    },
    { what: 'inspect', unit: 'ms', values: await answeredAtOnce(['inspect', 'up']), promises: [dockerAtMost(1)] },
  ];
  for (const contender of all) await contender.cli(['rm', '--force', 'up']);
  return rows;
}

/** 20 short containers, 8 at once. */
export async function parallel({ tare, docker, daemonless, long }: Bench): Promise<Row[]> {
  const once = (contender: Contender | undefined) =>
    contender &&
    (async () => {
      let left = 20;
      const worker = async () => {
        while (left-- > 0) await contender.time(['run', '--rm', busybox, '/bin/true']);
      };
      await Promise.all(Array.from({ length: 8 }, worker));
    });
  const values = await interleaved(
    present({ Tare: once(tare), 'Tare, no daemon': once(daemonless), Docker: once(docker) }),
    long,
  );
  return [
    {
      what: '20 × run --rm, 8 at once',
      unit: 'ms',
      values,
      promises: [{ who: 'Tare', bound: 'at most', times: 0.4, than: 'Docker' }],
    },
  ];
}

/** Whether starting one more container stays as cheap as the first. */
export async function many({ tare }: Bench): Promise<Row[]> {
  const count = 200;
  const window = 10;
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    times.push(await tare.time(['run', '--detach', '--name', `many-${i}`, busybox, 'sleep', '3600']));
  }
  const names = Array.from({ length: count }, (_, i) => `many-${i}`);
  await tare.cli(['rm', '--force', ...names], { timeoutMs: 300_000 });
  const first = median(times.slice(0, window));
  const last = median(times.slice(-window));
  return [
    {
      what: `start of the ${count}th container against the 1st`,
      unit: 'x',
      values: { Tare: last / first },
      promises: [{ who: 'Tare', bound: 'at most', times: 1.3 }],
      note: `medians of ${window}: ${first.toFixed(1)} ms, then ${last.toFixed(1)} ms`,
    },
  ];
}
