import { join } from 'node:path';
import { node } from '../test/support/built.ts';
import { collect } from '../test/support/execute.ts';
import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import type { Row } from './report.ts';

const CONTAINERS = 20;
const NAMES_EACH = 50;
const network = 'bench-names';

interface Measured {
  medianMs: number;
  perSecond: number;
}

/** Names of containers: one look-up after the other, and as many as there is room for, among 1,000 names. */
export async function names({ tare, docker }: Bench): Promise<Row[]> {
  const measured: Partial<Record<'Tare' | 'Docker', Measured>> = {
    Tare: await measure(tare),
    ...(docker && { Docker: await measure(docker) }),
  };
  const values = (key: keyof Measured) =>
    Object.fromEntries(Object.entries(measured).map(([who, figures]) => [who, figures[key]]));
  const what = `among ${CONTAINERS * NAMES_EACH} names`;
  return [
    {
      what: `a container's look-up of another, ${what}`,
      unit: 'ms',
      values: values('medianMs'),
      promises: [{ who: 'Tare', bound: 'at most', times: 0.3 }],
    },
    {
      what: `look-ups a second from one container, ${what}`,
      unit: '/s',
      values: values('perSecond'),
      promises: [{ who: 'Tare', bound: 'at least', times: 20_000 }],
    },
  ];
}

async function measure(contender: Contender): Promise<Measured> {
  await contender.cli(['network', 'create', network]);
  const all: string[] = [];
  for (let number = 0; number < CONTAINERS; number += 1) {
    const aliases = Array.from({ length: NAMES_EACH - 1 }, (_, index) => `service-${number}-${index}`);
    const name = `bench-${number}`;
    all.push(name, ...aliases);
    const given = aliases.flatMap((alias) => ['--network-alias', alias]);
    await contender.cli(['run', '--detach', '--name', name, '--network', network, ...given, busybox, 'sleep', '3600']);
  }
  const pid = (await contender.cli(['inspect', '--format', '{{.State.Pid}}', 'bench-0'])).stdout.trim();
  const file = (await contender.cli(['exec', 'bench-0', 'cat', '/etc/resolv.conf'])).stdout;
  const server = /^nameserver (\S+)/m.exec(file)![1]!;
  const client = join(import.meta.dirname, 'names-client.ts');
  const { stdout, stderr, code } = await collect(
    contender.beside(['nsenter', `--net=/proc/${pid}/ns/net`, node, client, server, all.join(',')]),
  );
  if (code !== 0) throw new Error(`names were not measured: ${stderr}`);
  const bench = Array.from({ length: CONTAINERS }, (_, number) => `bench-${number}`);
  await contender.cli(['rm', '--force', ...bench]);
  await contender.cli(['network', 'rm', network]);
  return JSON.parse(stdout) as Measured;
}
