import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { dropContexts } from './context-floor.ts';
import { interleaved, present } from './measure.ts';
import type { Column, Row } from './report.ts';

const STEPS = 20;
const STAGES = 8;
const CONTEXT_FILES = 50_000;
const CONTEXT_BYTES = 300_000_000;
const RESULT_MIB = 1000;

/**
 * Builds, cold and warm: docker's client with buildx against our daemon and against BuildKit in Docker, `tare build` without a daemon, and
 * Buildah by `podman build`.
 */
export async function building({ tare, daemonless, docker, podman, rounds, long }: Bench): Promise<Row[]> {
  const root = join(tare.engine.root, 'built');
  mkdirSync(root);
  const builders: Partial<Record<Column, Contender>> = present({
    Tare: tare,
    'Tare, no daemon': daemonless,
    Docker: docker,
    Podman: podman,
  });
  /** A folder with a Dockerfile. */
  const context = (name: string, dockerfile: string): string => {
    const folder = join(root, name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'Dockerfile'), dockerfile);
    return folder;
  };
  /** Everybody in turn, after `prepare` outside of the time; and `others`. */
  const timed = (
    args: readonly string[],
    prepare: (builder: Contender, name: string) => Promise<unknown> = async () => {},
    others: Partial<Record<Column, () => Promise<number>>> = {},
    times = long,
  ) =>
    interleaved<Column>(
      {
        ...others,
        ...(Object.fromEntries(
          Object.entries(builders).map(([name, builder]) => [
            name,
            async () => {
              await prepare(builder, name);
              return await builder.time(['build', ...args]);
            },
          ]),
        ) as Partial<Record<Column, () => Promise<number>>>),
      },
      times,
    );
  const rows: Row[] = [];

  const steps = context(
    'steps',
    `FROM busybox:test\n${Array.from({ length: STEPS }, (_, n) => `RUN echo ${n} > /file${n}\n`).join('')}`,
  );
  rows.push({
    what: `build: ${STEPS} small RUN steps, cold`,
    unit: 'ms',
    values: await timed(['--no-cache', '--tag', 'steps:bench', steps]),
    promises: [{ who: 'Tare', bound: 'at most', times: 0.3, than: 'Docker' }],
  });
  rows.push({
    what: 'the same again, nothing changed',
    unit: 'ms',
    values: await timed(['--tag', 'steps:bench', steps], undefined, undefined, rounds),
    promises: [
      { who: 'Tare', bound: 'at most', times: 1, than: 'Docker' },
      { who: 'Tare, no daemon', bound: 'at most', times: 0.6, than: 'Docker' },
    ],
  });
  const unchanged = (flags: readonly string[]) => {
    const args = ['build', '--tag', 'steps:bench', steps];
    return interleaved<Column>(
      {
        Tare: () => tare.timeBeside(tare.engine.tareCommand([...flags, ...args])),
        ...(docker && { Docker: () => docker.time(args) }),
      },
      rounds,
    );
  };
  rows.push({
    what: 'the same by `tare build`, which builds by itself beside the daemon; Docker by its client',
    unit: 'ms',
    values: await unchanged([]),
    promises: [{ who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' }],
  });
  rows.push({
    what: 'the same by `tare -H`: the daemon builds',
    unit: 'ms',
    values: await unchanged(['-H', `unix://${tare.engine.socket}`]),
    promises: [],
  });

  const stages = Array.from(
    { length: STAGES },
    (_, n) => `FROM busybox:test AS s${n}\nRUN sleep 1 && echo ${n} > /f${n}\n`,
  );
  const joined = `FROM busybox:test\n${stages.map((_, n) => `COPY --from=s${n} /f${n} /\n`).join('')}`;
  const alone = context('alone', stages[0]!);
  const parallel = context('parallel', stages.join('') + joined);
  const longest = await timed(['--no-cache', '--tag', 'alone:bench', alone]);
  const together = await timed(['--no-cache', '--tag', 'parallel:bench', parallel]);
  rows.push({
    what: `${STAGES} independent stages of a second each, against one of them`,
    unit: 'x',
    values: Object.fromEntries(Object.entries(together).map(([name, ms]) => [name, ms / longest[name as Column]!])),
    promises: [{ who: 'Tare', bound: 'at most', times: 1.2 }],
  });

  const many = context('many', 'FROM busybox:test\nCOPY . /all\n');
  const content = 'x'.repeat(Math.ceil(CONTEXT_BYTES / CONTEXT_FILES));
  for (let n = 0; n < CONTEXT_FILES; n++) {
    const folder = join(many, `d${Math.floor(n / 500)}`);
    if (n % 500 === 0) mkdirSync(folder);
    writeFileSync(join(folder, `f${n}`), `${n}${content}`);
  }
  // What the first sending finds: no earlier one. Pruning takes the kept folder away too.
  const forget = (builder: Contender, name: string) =>
    name === 'Podman'
      ? Promise.resolve()
      : builder.cli(['builder', 'prune', '--all', '--force'], { timeoutMs: 300_000 });
  const first = await timed(['--no-cache', '--tag', 'many:bench', many], forget);
  rows.push({
    what: 'a context of 300 MB in 50,000 files, sent and copied for the first time',
    unit: 's',
    values: inSeconds(first),
    promises: [{ who: 'Tare', bound: 'at most', times: 0.7, than: 'Docker' }],
  });
  const floorSocket = join(tare.engine.root, 'floor.sock');
  await using _floor = await dropContexts(floorSocket, tare.engine.socket);
  const again = await timed(['--tag', 'many:bench', many], undefined, {
    floor: () => tare.time(['--host', `unix://${floorSocket}`, 'build', '--tag', 'many:bench', many]),
  });
  rows.push({
    what: "the same context again, nothing changed (floor: docker's client, what it says of its files is dropped)",
    unit: 's',
    values: inSeconds(again),
    promises: [
      // The client alone takes more than that.
      { who: 'Tare', bound: 'at most', times: 0.5, than: 'Docker' },
      { who: 'Tare', bound: 'at most', times: 1.3, than: 'floor' },
      { who: 'Tare, no daemon', bound: 'at most', times: 0.5, than: 'Docker' },
    ],
  });

  const big = context(
    'big',
    `FROM busybox:test\nARG N\nRUN head -c ${RESULT_MIB}m /dev/urandom > /big && echo $N > /n\n`,
  );
  const { Podman: _, ...withoutPodman } = builders;
  let count = 0;
  const exported = await interleaved(
    Object.fromEntries(
      Object.entries(withoutPodman).map(([name, builder]) => [
        name,
        async () => {
          count += 1;
          const args = ['build', '--build-arg', `N=${count}`, big];
          await builder.time([...args, '--output', 'type=cacheonly']);
          return await builder.time([...args, '--tag', 'big:bench']);
        },
      ]),
    ) as Partial<Record<Column, () => Promise<number>>>,
    long,
  );
  rows.push({
    what: 'export of a result of 1 GB into the store: a build that finds all its steps in the cache',
    unit: 's',
    values: inSeconds(exported),
    promises: [{ who: 'Tare', bound: 'at most', times: 0.3, than: 'Docker' }],
  });
  for (const builder of Object.values(builders)) {
    for (const name of ['steps', 'alone', 'parallel', 'many', 'big'])
      await builder.cli(['rmi', '--force', `${name}:bench`], { expect: 'any' });
  }
  rmSync(root, { recursive: true, force: true });
  return rows;
}

const inSeconds = (values: Partial<Record<Column, number>>): Partial<Record<Column, number>> =>
  Object.fromEntries(Object.entries(values).map(([name, ms]) => [name, ms / 1000]));
