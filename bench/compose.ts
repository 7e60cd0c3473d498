import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seedShopImages, shopSource } from '../test/clients/shop.ts';
import { cache } from '../test/support/built.ts';
import { execute } from '../test/support/execute.ts';
import { startRegistry } from '../test/support/registry.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { interleaved, present } from './measure.ts';
import type { Row } from './report.ts';
import { watchSocket } from './waiting.ts';

const registryName = 'registry.example:5000';
const images = ['nginx', 'python', 'postgres', 'redis'];

/** The shop's images as archives, made once. */
async function archives(): Promise<string[]> {
  const folder = join(cache, 'bench', 'shop-images');
  const archives = images.map((name) => join(folder, `${name}.tar`));
  if (archives.every((path) => existsSync(path))) return archives;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await using registry = await startRegistry();
  await seedShopImages(registry);
  for (const [index, name] of images.entries()) {
    const source = `docker://${registry.address}/shop/${name}:1`;
    const target = `docker-archive:${archives[index]}:${registryName}/shop/${name}:1`;
    await execute(['skopeo', 'copy', '--quiet', '--src-tls-verify=false', source, target]);
  }
  return archives;
}

/** `up` until all that is waited for is healthy, and `down`, of the project of five services that the clients' tests use. */
export async function compose({ tare, docker, long }: Bench): Promise<Row[]> {
  const folder = join(cache, 'bench', 'shop');
  rmSync(folder, { recursive: true, force: true });
  cpSync(shopSource, folder, { recursive: true });
  chmodSync(join(folder, 'db_password.txt'), 0o644);
  writeFileSync(join(folder, '.env'), `REGISTRY=${registryName}\nWEB_PORT=8080\n`);
  // Debian's Docker does not know the start interval, and newer ones probe every 5 s in a start period without one.
  const file = join(folder, 'compose.yaml');
  const steady = readFileSync(file, 'utf8')
    .replaceAll(/^ *(?:start_interval|retries):.*\n/gm, '')
    .replaceAll(/start_period:.*/g, 'retries: 60');
  writeFileSync(file, steady);
  for (const contender of [tare, docker]) {
    for (const archive of await archives()) await contender?.cli(['load', '--quiet', '--input', archive]);
  }
  const words = ['compose', '--progress', 'quiet', '--project-directory', folder];
  const upWords = [...words, 'up', '--detach', '--pull', 'never'];
  const downWords = [...words, 'down'];
  const up = (contender: Contender) => contender.time(upWords);
  const down = (contender: Contender) => contender.time(downWords);
  const downs: Record<string, number[]> = { floor: [], Tare: [], Docker: [] };
  const socket = join(tare.engine.root, 'watched.sock');
  await using watched = await watchSocket(socket, tare.engine.socket);
  const idle = async (command: string[]) => {
    watched.idleMs();
    await tare.time(['--host', `unix://${socket}`, ...command]);
    return watched.idleMs();
  };
  const floor = async () => {
    const upMs = await idle(upWords);
    downs['floor']!.push(await idle(downWords));
    return upMs;
  };
  const once = (who: string, contender: Contender | undefined) =>
    contender &&
    (async () => {
      const took = await up(contender);
      downs[who]!.push(await down(contender));
      return took;
    });
  // The first round, which counts for nothing, makes the database.
  const ups = await interleaved(present({ floor, Tare: once('Tare', tare), Docker: once('Docker', docker) }), long);
  const lasted = (who: string) => {
    let round = 0;
    return async () => downs[who]![round++]!;
  };
  const ended = await interleaved(
    present({ floor: lasted('floor'), Tare: lasted('Tare'), Docker: docker && lasted('Docker') }),
    long,
  );
  for (const contender of [tare, docker]) await contender?.cli([...words, 'down', '--volumes']);
  const promises = [{ who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' }] as const;
  const own = "floor: compose's own time and what it waits for, Tare having nothing to answer";
  return [
    { what: `compose up --detach, five services (${own})`, unit: 'ms', values: ups, promises: [...promises] },
    { what: `compose down (${own})`, unit: 'ms', values: ended, promises: [...promises] },
  ];
}
