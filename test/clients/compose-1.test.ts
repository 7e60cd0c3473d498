import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { exitOf, patiently, printed } from '../support/compose.ts';
import { busybox } from '../support/engine.ts';
import type { ExecuteOptions } from '../support/execute.ts';
import { busyboxImage } from '../support/image.ts';
import { Shop } from './shop.ts';

// One story: each test goes on where the one before it stopped.
describe('the shop, with docker-compose 1.29', {
  ...shows({ client: 'docker-compose 1.29' }),
  timeout: 240_000,
}, () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await Shop.open();
  });
  afterAll(async () => {
    await shop?.[Symbol.asyncDispose]();
  });

  const words = (): string[] => [
    'docker-compose',
    ...['--no-ansi', '--project-name', 'shop', '--project-directory', shop.project],
    ...['--file', join(shop.project, 'version-1.yaml')],
  ];
  const environment = (): Record<string, string> => ({
    ...shop.environment,
    DOCKER_HOST: `unix://${shop.engine.socket}`,
    // Its own folders are Python's, not the tests'.
    HOME: shop.engine.root,
  });
  const compose = (args: readonly string[], options: ExecuteOptions = {}) =>
    shop.engine.run([...words(), ...args], { timeoutMs: 120_000, ...options, env: environment() });
  const text = async (...args: string[]): Promise<string> => (await compose(args)).stdout.trim();
  const docker = async (...args: string[]): Promise<string> => (await shop.engine.docker(args)).stdout.trim();
  const web = async (...args: string[]): Promise<string> =>
    (await shop.engine.run(['curl', '--silent', '--fail', ...args])).stdout;
  const names = async (): Promise<string[]> =>
    (await docker('ps', '--all', '--format', '{{.Names}}', '--filter', 'label=com.docker.compose.project=shop'))
      .split('\n')
      .sort();

  test('pull, and up --detach with health and completion as conditions', async () => {
    await compose(['pull', '--quiet']);
    await compose(['up', '--detach']);
    expect(await names()).toEqual([
      'shop_api_1',
      'shop_db_1',
      'shop_queue_1',
      'shop_schema_1',
      'shop_web_1',
      'shop_worker_1',
    ]);
    await patiently(
      'the web server answers',
      async () => (await web('http://127.0.0.1:8080/pages/')) === 'The shop is open\n',
    );
    expect(await text('ps')).toMatch(/shop_api_1 .* Up \(healthy\)/);
  });

  test('a request goes through all services', async () => {
    await web('--data', 'tea', 'http://127.0.0.1:8080/api/orders');
    await patiently('the order was written', async () =>
      (await web('http://127.0.0.1:8080/api/orders')).includes('"orders": ["tea"]'),
    );
  });

  test('port, top, images, logs, exec and run', async () => {
    expect(await text('port', 'web', '80')).toBe('127.0.0.1:8080');
    expect(await text('top', 'queue')).toContain('redis-server');
    expect(await text('images')).toMatch(/shop_db_1 +\S+\/shop\/postgres +1 /);
    expect(await text('logs', '--no-color', '--tail', '1', 'schema')).toMatch(/schema_1 +\| the schema is there/);
    expect(await text('exec', '-T', '--env', 'WORD=spoken', 'web', 'sh', '-c', 'echo $WORD')).toBe('spoken');
    await compose(['exec', '-T', 'web', 'sh', '-c', 'exit 9'], { expect: 9 });
    expect(await text('run', '--rm', '-T', '--no-deps', 'worker', 'python3', 'report.py', 'now')).toBe('1 orders now');
    const follower = shop.engine.spawn(
      [...words(), 'logs', '--no-color', '--follow', '--tail', '0', 'worker'],
      environment(),
    );
    const followed = printed(follower);
    await patiently('the follower sees an order', async () => {
      await web('--data', 'coffee', 'http://127.0.0.1:8080/api/orders');
      return followed().includes('order of coffee');
    });
    follower.kill('SIGINT');
    await exitOf(follower);
  });

  test('scale, restart, pause, kill and rm', async () => {
    await compose(['up', '--detach', '--scale', 'worker=3', '--no-recreate', 'worker']);
    expect((await names()).filter((name) => name.includes('worker'))).toHaveLength(3);
    await compose(['up', '--detach', '--scale', 'worker=1', '--no-recreate', 'worker']);
    expect((await names()).filter((name) => name.includes('worker'))).toEqual(['shop_worker_1']);
    await compose(['restart', '--timeout', '3', 'worker']);
    await compose(['pause', 'worker']);
    expect(await text('ps', 'worker')).toContain('Paused');
    await compose(['unpause', 'worker']);
    await compose(['kill', 'worker']);
    expect(await text('ps', 'worker')).toContain('Exit 137');
    await compose(['rm', '--force', 'worker', 'schema']);
    expect(await names()).not.toContain('shop_worker_1');
  });

  test('what has changed is made anew, with its volumes', async () => {
    const before = await docker('inspect', '--format', '{{.Id}} {{(index .Mounts 0).Name}}', 'shop_queue_1');
    const other = await docker('inspect', '--format', '{{.Id}}', 'shop_db_1');
    const file = join(shop.project, 'version-1.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace(', "no"]', ', "no", --appendonly, "yes"]'));
    await compose(['up', '--detach', '--no-deps', 'queue', 'db']);
    const after = await docker('inspect', '--format', '{{.Id}} {{(index .Mounts 0).Name}}', 'shop_queue_1');
    expect(after.split(' ')[0]).not.toBe(before.split(' ')[0]);
    // The anonymous volume of the image went over to the new one.
    expect(after.split(' ')[1]).toBe(before.split(' ')[1]);
    expect(await docker('inspect', '--format', '{{.Id}}', 'shop_db_1')).toBe(other);
  });

  test('events, and down -v, which leaves nothing', async () => {
    const follower = shop.engine.spawn([...words(), 'events', '--json'], environment());
    const told = printed(follower);
    await patiently('it listens', async () => {
      await compose(['exec', '-T', 'queue', 'true']);
      return told().includes('exec_start');
    });
    await compose(['down', '--volumes', '--timeout', '5', '--remove-orphans']);
    await patiently('the ends are told', () => told().includes('"action": "die"') || told().includes('"action":"die"'));
    follower.kill('SIGINT');
    await exitOf(follower);
    expect(await names()).toEqual(['']);
    expect(await docker('volume', 'ls', '--quiet')).toBe('');
    expect(await docker('network', 'ls', '--quiet', '--filter', 'type=custom')).toBe('');
  });

  test('build: arguments, a target, another file, the cache; up --build makes anew what was built anew', async () => {
    const folder = join(shop.project, 'building');
    mkdirSync(folder);
    writeFileSync(
      join(folder, 'My.file'),
      `FROM ${busybox} AS first\nARG WORD\nCOPY page /page\nRUN echo said $WORD >> /page\nFROM first\nRUN exit 1\n`,
    );
    writeFileSync(join(folder, 'page'), 'one\n');
    const build = {
      context: '.',
      dockerfile: 'My.file',
      target: 'first',
      args: { WORD: 'well' },
      cache_from: ['built:1'],
      shm_size: '16m',
    };
    const idle = ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 0.1; done'];
    const services = { built: { build, image: 'built:1', command: idle }, other: { image: busybox, command: idle } };
    writeFileSync(join(folder, 'docker-compose.yml'), JSON.stringify({ version: '2.4', services }));
    const run = async (...args: string[]) =>
      (
        await shop.engine.run(['docker-compose', '--no-ansi', ...args], {
          cwd: folder,
          env: environment(),
          timeoutMs: 120_000,
        })
      ).stdout;
    expect(await run('build')).toMatch(
      /Step 4\/4 : RUN echo said \$WORD >> \/page\n(.|\n)*Successfully tagged built:1\n/,
    );
    await run('up', '--detach', '--build');
    const page = () => docker('exec', 'building_built_1', 'cat', '/page');
    expect(await page()).toBe('one\nsaid well');
    const ids = async () => (await run('ps', '--quiet')).trim().split('\n').sort();
    const before = await ids();
    expect(await run('build')).toContain(' ---> Using cache\n');
    writeFileSync(join(folder, 'page'), 'two\n');
    await run('up', '--detach', '--build');
    expect(await page()).toBe('two\nsaid well');
    expect((await ids()).filter((id) => before.includes(id))).toHaveLength(1);
    await run('down', '--rmi', 'all', '--timeout', '1');
    expect(await docker('images', '--quiet', 'built')).toBe('');
    await shop.engine.docker(['load', '--quiet', '--input', busyboxImage().docker]);
  });

  test('attached up shows the output of all, and ends with the code of one', async () => {
    const file = join(shop.project, 'attached.yaml');
    const service = (command: string, more: object = {}): object => ({
      image: busybox,
      command: ['sh', '-c', command],
      ...more,
    });
    const services = {
      server: service('trap "exit 0" TERM; echo ready >&2; while :; do sleep 0.1; done'),
      tests: service('sleep 0.5; echo tested; exit 21', { depends_on: ['server'] }),
    };
    // YAML takes JSON as it is.
    writeFileSync(file, JSON.stringify({ version: '2.4', services }));
    const argv = ['docker-compose', '--project-name', 'attached', '--file', file];
    const up = [...argv, 'up', '--no-color', '--exit-code-from', 'tests'];
    const { stdout } = await shop.engine.run(up, { expect: 21, env: environment(), timeoutMs: 120_000 });
    expect(stdout).toMatch(/server_1 +\| ready/);
    expect(stdout).toMatch(/tests_1 +\| tested/);
    await shop.engine.run([...argv, 'down'], { env: environment(), timeoutMs: 120_000 });
  });
});
