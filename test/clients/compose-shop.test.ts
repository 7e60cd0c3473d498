import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { Compose, exitOf, patiently, printed } from '../support/compose.ts';
import { Shop } from './shop.ts';

interface Inspected {
  Id: string;
  Created: string;
  State: { StartedAt: string; FinishedAt: string; Health?: { Status: string } };
}

// One story: each test goes on where the one before it stopped.
describe('the shop, with docker compose', { ...shows({ client: 'docker compose' }), timeout: 240_000 }, () => {
  let shop: Shop;
  let compose: Compose;
  beforeAll(async () => {
    shop = await Shop.open();
    compose = new Compose(shop.engine, shop.project, shop.environment);
  });
  afterAll(async () => {
    await shop?.[Symbol.asyncDispose]();
  });

  const docker = async (...args: string[]): Promise<string> => (await shop.engine.docker(args)).stdout.trim();
  const inspect = async (name: string): Promise<Inspected> =>
    (JSON.parse(await docker('inspect', name)) as [Inspected])[0];
  const web = async (path: string, ...options: string[]): Promise<string> =>
    (await shop.engine.run(['curl', '--silent', '--fail', ...options, `http://127.0.0.1:8080${path}`])).stdout;
  const order = (item: string): Promise<string> => web('/api/orders', '--data', item);
  const ordered = async (): Promise<string[]> => (JSON.parse(await web('/api/orders')) as { orders: string[] }).orders;
  const ids = async (): Promise<Map<string, string>> =>
    new Map([...(await compose.containers())].map(([name, { ID }]) => [name, ID]));

  test('config prints the project, pull fetches an image', async () => {
    expect((await compose.text('config', '--services')).split('\n').sort()).toEqual([
      'api',
      'db',
      'queue',
      'schema',
      'web',
      'worker',
    ]);
    expect(await compose.text('config', '--profiles')).toBe('tools');
    expect(JSON.parse(await compose.text('config', '--format', 'json'))).toMatchObject({
      name: 'shop',
      services: { db: { shm_size: '67108864' } },
    });
    await compose.run(['pull', '--quiet', 'queue']);
    // Both are as old as each other: their order is that of their ids.
    const images = (await docker('images', '--format', '{{.Repository}}:{{.Tag}}')).split('\n');
    expect(images.sort()).toEqual([expect.stringMatching(/^\S+\/shop\/redis:1$/), 'busybox:test']);
  });

  test('build makes the images of all services', async () => {
    await compose.run(['build']);
    const images = await docker('images', '--format', '{{.Repository}}:{{.Tag}}');
    for (const image of await compose.text('config', '--images').then((text) => text.split('\n'))) {
      expect(images).toContain(image);
    }
    const made = await docker(
      'image',
      'history',
      '--format',
      '{{.CreatedBy}}',
      `${shop.environment['REGISTRY']}/shop/redis:1`,
    );
    expect(made).toContain('WORKDIR /var/lib/redis');
    // Nothing was done again, and nothing is another image.
    const ids = await docker('images', '--quiet', '--no-trunc');
    const { stdout, stderr } = await compose.run(['build']);
    expect(`${stdout}${stderr}`).toContain('CACHED');
    expect(await docker('images', '--quiet', '--no-trunc')).toBe(ids);
  });

  test('up --wait starts six services in the order of their conditions, health and successful ends among them', async () => {
    await compose.run(['up', '--detach', '--wait', '--pull', 'never']);
    const containers = await compose.containers();
    const states = Object.fromEntries(
      [...containers].map(([name, { State, Health }]) => [name, `${State} ${Health}`.trim()]),
    );
    expect(states).toEqual({
      'shop-api-1': 'running healthy',
      'shop-db-1': 'running healthy',
      'shop-queue-1': 'running healthy',
      'shop-schema-1': 'exited',
      'shop-web-1': 'running healthy',
      'shop-worker-1': 'running',
    });
    expect(containers.get('shop-schema-1')?.ExitCode).toBe(0);
    const [schema, api, front] = await Promise.all(['schema', 'api', 'web'].map((name) => inspect(`shop-${name}-1`)));
    expect(schema!.State.FinishedAt < api!.State.StartedAt).toBe(true);
    expect(api!.State.StartedAt < front!.State.StartedAt).toBe(true);
  });

  test('a request goes through all of them, with the secret and the configs that they read', async () => {
    expect(await web('/pages/')).toBe('The shop is open\n');
    expect(JSON.parse(await order('tea'))).toEqual({ waiting: 1 });
    await patiently('the worker wrote the order', async () => (await ordered()).length === 1);
    expect(JSON.parse(await web('/api/orders'))).toMatchObject({ greeting: 'welcome', orders: ['tea'] });
    // The same way, by a name that nginx asks for itself.
    await patiently('the API is found inside', async () =>
      (await web('/looked-up/orders').catch(() => '')).includes('"tea"'),
    );
    // Nobody outside the internal network gets to the database, and it gets nowhere.
    await shop.engine.docker(['exec', 'shop-web-1', 'nc', '-w', '2', '-z', 'db', '5432'], { expect: 1 });
  });

  test('ps, images, top, port, ls, volumes and stats tell what there is', async () => {
    const { Publishers } = (await compose.containers('web')).get('shop-web-1')!;
    expect(Publishers).toContainEqual({ URL: '127.0.0.1', TargetPort: 80, PublishedPort: 8080, Protocol: 'tcp' });
    expect(await compose.text('port', 'web', '80')).toBe('127.0.0.1:8080');
    expect((await compose.text('ps', '--services', '--status', 'running')).split('\n').sort()).toEqual([
      'api',
      'db',
      'queue',
      'web',
      'worker',
    ]);
    expect((await compose.text('ps', '--quiet', '--filter', 'status=exited', '--all')).split('\n')).toHaveLength(1);
    expect(JSON.parse(await compose.text('images', '--format', 'json'))).toContainEqual(
      expect.objectContaining({
        ContainerName: 'shop-db-1',
        Tag: '1',
        Repository: expect.stringMatching(/shop\/postgres$/),
      }),
    );
    expect(await compose.text('top', 'db')).toMatch(/postgres: walwriter/);
    expect(JSON.parse(await compose.text('ls', '--format', 'json'))).toEqual(
      [{ Name: 'shop', Status: 'exited(1), running(5)', ConfigFiles: join(shop.project, 'compose.yaml') }].map(
        ({ Name, ConfigFiles }) => expect.objectContaining({ Name, ConfigFiles }),
      ),
    );
    expect((await compose.text('volumes', '--format', '{{.Name}}')).split('\n').sort()).toEqual([
      'shop_db-data',
      'shop_queue-data',
    ]);
    expect(await compose.text('stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}}')).toMatch(
      /shop-worker-1 .*\/ 128MiB/,
    );
  });

  test('logs, with --tail, --timestamps and --follow', async () => {
    expect(await compose.text('logs', '--no-log-prefix', '--tail', '1', 'schema')).toBe('the schema is there');
    expect(await compose.text('logs', '--timestamps', 'worker')).toMatch(
      /^worker-1 +\| \d{4}-\d\d-\d\dT[\d:.]+Z waiting for orders$/m,
    );
    const follower = compose.spawn(['logs', '--follow', '--tail', '0', 'worker', 'api']);
    const text = printed(follower);
    await patiently('the follower sees an order', async () => {
      await order('coffee');
      return text().includes('order of coffee');
    });
    expect(text()).toMatch(/worker-1 +\| order of coffee/);
    follower.kill('SIGINT');
    await exitOf(follower);
  });

  test('exec, with standard input, user, environment and working folder', async () => {
    const query = 'select count(*) > 0 from orders';
    const psql = [
      'exec',
      '--no-TTY',
      '--env',
      'PGUSER=shop',
      'db',
      'psql',
      '-h',
      '/tmp',
      '--tuples-only',
      '--no-align',
      'shop',
    ];
    const { stdout } = await compose.run(psql, { input: `${query};\n` });
    expect(stdout).toBe('t\n');
    expect(
      await compose.text('exec', '-T', '--user', 'nobody', '--workdir', '/tmp', 'web', 'sh', '-c', 'id -un; pwd'),
    ).toBe('nobody\n/tmp');
    await compose.run(['exec', '-T', 'web', 'sh', '-c', 'exit 7'], { expect: 7 });
    const { stderr } = await compose.run(['exec', '-T', 'schema', 'true'], { expect: 'any' });
    expect(stderr).toContain('service "schema" is not running');
  });

  test('cp into and out of a service', async () => {
    writeFileSync(join(shop.project, 'note'), 'from outside\n');
    await compose.run(['cp', join(shop.project, 'note'), 'queue:/tmp/note']);
    expect(await compose.text('exec', '-T', 'queue', 'cat', '/tmp/note')).toBe('from outside');
    await compose.run(['cp', 'queue:/tmp/note', join(shop.project, 'copy')]);
    expect(readFileSync(join(shop.project, 'copy'), 'utf8')).toBe('from outside\n');
  });

  test('run --rm of a service in a profile leaves nothing', async () => {
    const { stdout } = await compose.run([
      'run',
      '--rm',
      '--no-TTY',
      '--no-deps',
      'report',
      'python3',
      'report.py',
      'daily',
    ]);
    expect(stdout).toMatch(/^\d+ orders daily\n$/);
    expect([...(await ids()).keys()].filter((name) => name.includes('report'))).toEqual([]);
    await compose.run(['--profile', 'tools', 'up', '--detach', 'report', '--no-deps']);
    // compose waits for what it finds running; the report may have ended by then.
    const waited = await compose.run(['--profile', 'tools', 'wait', 'report'], { expect: 'any' });
    if (waited.code !== 0) expect(waited.stderr).toBe('no containers for project "shop"\n');
    expect(await docker('wait', 'shop-report-1')).toBe('0');
    expect(await compose.text('--profile', 'tools', 'logs', '--no-log-prefix', 'report')).toMatch(/^\d+ orders$/);
    await compose.run(['--profile', 'tools', 'rm', '--force', '--stop', 'report']);
  });

  test('scale up and down, and all replicas work', async () => {
    await compose.run(['scale', 'worker=3']);
    expect([...(await compose.containers('worker')).keys()].sort()).toEqual([
      'shop-worker-1',
      'shop-worker-2',
      'shop-worker-3',
    ]);
    const addresses = await compose.text(
      'exec',
      '-T',
      'api',
      'python3',
      '-c',
      "import socket; print(len({a[4] for a in socket.getaddrinfo('worker', 1, proto=6)}))",
    );
    expect(addresses).toBe('3');
    const before = (await ordered()).length;
    for (let index = 0; index < 6; index++) await order(`bun ${index}`);
    await patiently('all orders were written', async () => (await ordered()).length === before + 6);
    await compose.run(['up', '--detach', '--no-recreate', '--scale', 'worker=1']);
    expect([...(await compose.containers('worker')).keys()]).toEqual(['shop-worker-1']);
  });

  test('stop, start, restart, pause, unpause and kill', async () => {
    const state = async (service: string): Promise<string> =>
      (await compose.containers(service)).get(`shop-${service}-1`)!.State;
    const started = (await inspect('shop-worker-1')).State.StartedAt;
    await compose.run(['restart', '--no-deps', 'worker']);
    expect((await inspect('shop-worker-1')).State.StartedAt > started).toBe(true);
    await compose.run(['pause', 'worker']);
    expect(await state('worker')).toBe('paused');
    await compose.run(['unpause', 'worker']);
    expect(await state('worker')).toBe('running');
    await compose.run(['stop', '--timeout', '5', 'worker']);
    expect(await state('worker')).toBe('exited');
    await compose.run(['start', 'worker']);
    expect(await state('worker')).toBe('running');
    await compose.run(['kill', '--signal', 'KILL', 'queue']);
    await patiently('the queue ended', async () => (await state('queue')) === 'exited');
    await compose.run(['up', '--detach', '--wait', 'queue']);
    expect(await state('queue')).toBe('running');
  });

  test('up again leaves what has not changed; what changed is made anew, and what asked to follow it restarts', async () => {
    const before = await ids();
    await compose.run(['up', '--detach', '--wait']);
    expect(await ids()).toEqual(before);
    writeFileSync(
      join(shop.project, 'compose.override.yaml'),
      'services: { api: { environment: { CHANGED: "1" }, labels: { shop.changed: "yes" } } }\n',
    );
    const started = (await inspect('shop-web-1')).State.StartedAt;
    await compose.run(['up', '--detach', '--wait']);
    const after = await ids();
    expect([...after].filter(([name, id]) => before.get(name) !== id).map(([name]) => name)).toEqual(['shop-api-1']);
    expect((await inspect('shop-web-1')).State.StartedAt > started).toBe(true);
    expect(await docker('ps', '--quiet', '--filter', 'label=shop.changed=yes', '--no-trunc')).toBe(
      (await inspect('shop-api-1')).Id,
    );
    await compose.run(['up', '--detach', '--force-recreate', '--no-deps', 'worker']);
    expect((await ids()).get('shop-worker-1')).not.toBe(after.get('shop-worker-1'));
    expect(await ordered()).toContain('tea');
  });

  test('up --build builds again what has changed, and makes only its containers anew', async () => {
    const before = await ids();
    const file = join(shop.project, 'Dockerfile');
    writeFileSync(file, readFileSync(file, 'utf8').replace('EXPOSE 80\n', 'EXPOSE 80\nLABEL shop.built=again\n'));
    await compose.run(['up', '--detach', '--wait', '--build']);
    const after = await ids();
    expect([...after].filter(([name, id]) => before.get(name) !== id).map(([name]) => name)).toEqual(['shop-web-1']);
    expect(await docker('ps', '--quiet', '--filter', 'label=shop.built=again', '--no-trunc')).toBe(
      (await inspect('shop-web-1')).Id,
    );
    expect(await web('/pages/')).toBe('The shop is open\n');
  });

  test('--remove-orphans removes the containers of services that are gone', async () => {
    const small = join(shop.project, 'small.yaml');
    writeFileSync(
      small,
      readFileSync(join(shop.project, 'compose.yaml'), 'utf8').replace(/ {2}worker:\n( {4}.*\n)*/, ''),
    );
    const { stderr } = await compose.run(['--file', small, 'up', '--detach', 'queue']);
    expect(stderr).toContain('Found orphan containers ([shop-worker-1])');
    await compose.run(['--file', small, 'up', '--detach', '--remove-orphans', 'queue']);
    expect((await ids()).has('shop-worker-1')).toBe(false);
  });

  test('down keeps the volumes, and up finds them as they were', async () => {
    await compose.run(['down', '--timeout', '5']);
    expect(await ids()).toEqual(new Map());
    expect(await docker('volume', 'ls', '--quiet', '--filter', 'label=com.docker.compose.project=shop')).toBe(
      'shop_db-data\nshop_queue-data',
    );
    await compose.run(['up', '--detach', '--wait']);
    expect(await ordered()).toContain('tea');
  });

  test('down -v leaves nothing', async () => {
    await compose.run(['down', '--volumes', '--remove-orphans', '--timeout', '5']);
    const own = ['--quiet', '--filter', 'label=com.docker.compose.project=shop'];
    expect(await docker('ps', '--all', ...own)).toBe('');
    expect(await docker('network', 'ls', ...own)).toBe('');
    expect(await docker('volume', 'ls', '--quiet')).toBe('');
  });
});
