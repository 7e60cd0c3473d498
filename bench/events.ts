import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { interleaved, median, present } from './measure.ts';
import { replay } from './replay.ts';
import type { Row } from './report.ts';
import { client } from './timer.ts';

const count = 2000;
/** Requests at the same time. */
const atOnce = 4;

/** Gives an image names until so many events are made, while docker's client reads them. @returns ms to the last line */
async function once(contender: Contender): Promise<number> {
  const { stdout } = await contender.cli(['context', 'inspect', '--format', '{{.Endpoints.docker.Host}}']);
  const socketPath = stdout.trim().replace('unix://', '');
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  const tag = (index: number) =>
    new Promise<void>((resolve, reject) => {
      const path = `/images/${busybox}/tag?repo=told&tag=t${index % 5}`;
      const asking = request({ socketPath, agent, method: 'POST', path }, (response) => {
        response.resume().once('end', () => (response.statusCode === 201 ? resolve() : reject(new Error(path))));
      });
      asking.once('error', reject).end();
    });
  const reader = contender.spawn(['events', '--filter', 'type=image']);
  let lines = 0;
  let told = () => {};
  const until = (wanted: number) =>
    new Promise<void>((resolve) => {
      told = () => {
        if (lines >= wanted) resolve();
      };
      told();
    });
  reader.stdout.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte === 0x0a) lines += 1;
    told();
  });
  try {
    // It reads once the first came.
    const warm = setInterval(() => void tag(0).catch(() => {}), 50);
    await until(1);
    clearInterval(warm);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = lines;
    const started = performance.now();
    let next = 0;
    const make = async () => {
      while (next < count) await tag(next++);
    };
    await Promise.all(Array.from({ length: atOnce }, make));
    await until(before + count);
    return performance.now() - started;
  } finally {
    reader.kill();
    agent.destroy();
  }
}

/** 2,000 events, made as fast as they can be, up to the last line that docker's client prints. */
export async function events({ tare, docker, long }: Bench): Promise<Row[]> {
  const times = async (contender: Contender | undefined) => {
    if (contender === undefined) return undefined;
    const all: number[] = [];
    for (let round = 0; round < long; round++) all.push(await once(contender));
    await contender.cli(['rmi', ...Array.from({ length: 5 }, (_, index) => `told:t${index}`)]);
    return median(all);
  };
  const values = { Tare: await times(tare), Docker: await times(docker) };
  const perSecond = values.Tare === undefined ? 0 : Math.round(count / (values.Tare / 1000));
  return [
    {
      what: `events: ${count} image tags, to the last line read`,
      unit: 'ms',
      values,
      promises: [{ who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' }],
      note: `${perSecond} a second with Tare`,
    },
  ];
}

/** `ps` among 500 containers, and with a filter that one of them meets. */
export async function crowd({ tare, docker, rounds }: Bench): Promise<Row[]> {
  const all = [tare, docker].filter((contender) => contender !== undefined);
  for (const contender of all) {
    for (let made = 0; made < 500; made += 10) {
      const create = (index: number) =>
        contender.cli(['create', '--name', `crowd${index}`, '--label', `member=${index}`, busybox, 'true']);
      await Promise.all(Array.from({ length: 10 }, (_, index) => create(made + index)));
    }
  }
  const socket = join(tare.engine.root, 'replay.sock');
  await using _server = await replay(socket, tare.engine.socket);
  const measure = (args: string[]) => {
    const once = (contender: Contender | undefined) => contender && (() => contender.time(args));
    const floor = () => tare.timeBeside([client, '--host', `unix://${socket}`, ...args]);
    return interleaved(present({ floor, Tare: once(tare), Docker: once(docker) }), rounds);
  };
  const promises = [
    { who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' },
    // What is not the client's own.
    { who: 'Tare', bound: 'at most', times: 1.3, than: 'floor' },
  ] as const;
  const rows: Row[] = [
    {
      what: "ps --all, 500 containers (floor: docker's client, answered at once)",
      unit: 'ms',
      values: await measure(['ps', '--all']),
      promises: [...promises],
    },
    {
      what: 'ps --all, one of 500 by label',
      unit: 'ms',
      values: await measure(['ps', '--all', '--filter', 'label=member=77']),
      promises: [...promises],
    },
    {
      what: 'inspect of one of 500',
      unit: 'ms',
      values: await measure(['inspect', 'crowd77']),
      promises: [...promises],
    },
  ];
  for (const contender of all) {
    await contender.cli(['rm', ...Array.from({ length: 500 }, (_, index) => `crowd${index}`)], { timeoutMs: 300_000 });
  }
  return rows;
}
