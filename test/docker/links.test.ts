import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

describe('links', () => {
  const engine = withEngine({ face: 'docker' });
  const docker = (...args: string[]) => engine().docker(args);
  const refused = async (args: string[], code = 125) => (await engine().docker(args, { expect: code })).stderr;
  const addressOf = async (name: string) =>
    (await docker('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', name)).stdout.trim();

  test('on the default network they are variables and lines of the hosts file, shown as docker shows them', async () => {
    const child = ['--name', 'store', '--expose', '5432', '--expose', '5433', '--expose', '53/udp', '-e', 'SECRET=x y'];
    await docker('run', '-d', ...child, busybox, 'sleep', '600');
    const address = await addressOf('store');
    const show =
      'env | grep -E "^(DATA_BASE|S)_" | sort; cat /etc/hosts; if grep -q data-base /etc/hosts; then ping -c 1 data-base > /dev/null && echo reached; fi';
    await docker(
      'create',
      '--name',
      'app',
      '--link',
      'store:data-base',
      '--link',
      'store:s',
      '-e',
      'S_NAME=mine',
      busybox,
      'sh',
      '-c',
      show,
    );
    const { stdout } = await docker('start', '-a', 'app');
    const lines = stdout.split('\n');
    for (const line of [
      `DATA_BASE_PORT=udp://${address}:53`,
      `DATA_BASE_PORT_5432_TCP=tcp://${address}:5432`,
      `DATA_BASE_PORT_5432_TCP_ADDR=${address}`,
      'DATA_BASE_PORT_5432_TCP_PORT=5432',
      'DATA_BASE_PORT_5432_TCP_PROTO=tcp',
      `DATA_BASE_PORT_5432_TCP_START=tcp://${address}:5432`,
      `DATA_BASE_PORT_5432_TCP_END=tcp://${address}:5433`,
      'DATA_BASE_PORT_5432_TCP_PORT_END=5433',
      'DATA_BASE_NAME=/app/data-base',
      'DATA_BASE_ENV_SECRET=x y',
      'S_NAME=mine',
      'reached',
    ]) {
      expect(lines).toContain(line);
    }
    expect(stdout).not.toMatch(/_ENV_(PATH|HOME)=/);
    const id = (await docker('inspect', '-f', '{{.Id}}', 'store')).stdout.slice(0, 12);
    expect(lines).toContain(`${address}\tdata-base ${id} store`);
    expect(JSON.parse((await docker('inspect', '-f', '{{json .HostConfig.Links}}', 'app')).stdout)).toEqual([
      '/store:/app/data-base',
      '/store:/app/s',
    ]);
    const { stdout: names } = await docker('ps', '--no-trunc', '--format', '{{.Names}}', '--filter', 'name=store');
    expect(names.trim().split(',').sort()).toEqual(['app/data-base', 'app/s', 'store']);
    await docker('rename', 'store', 'depot');
    await docker('rm', '--link', '/app/s');
    expect((await docker('inspect', '-f', '{{json .HostConfig.Links}}', 'app')).stdout.trim()).toBe(
      '["/depot:/app/data-base"]',
    );
    expect(await refused(['rm', '--link', '/app/s'], 1)).toContain('No such link');
    await docker('rm', '-f', 'depot');
    expect((await docker('inspect', '-f', '{{json .HostConfig.Links}}', 'app')).stdout.trim()).toBe('null');
    // The link went with the container.
    expect((await docker('start', '-a', 'app')).stdout).not.toContain('data-base');
    await docker('rm', 'app');
  });

  test('one that comes back with another address is found there', async () => {
    await docker('run', '-d', '--name', 'mover', busybox, 'sleep', '600');
    await docker('run', '-d', '--name', 'finder', '--link', 'mover:there', busybox, 'sleep', '600');
    const before = await addressOf('mover');
    await docker('stop', '-t', '0', 'mover');
    await docker('run', '-d', '--name', 'squatter', '--network', 'name=bridge', busybox, 'sleep', '600');
    await docker('start', 'mover');
    const after = await addressOf('mover');
    await eventually('the new address is in the hosts file', async () =>
      (await docker('exec', 'finder', 'cat', '/etc/hosts')).stdout.includes(`${after}\tthere `),
    );
    if (before !== after)
      expect((await docker('exec', 'finder', 'cat', '/etc/hosts')).stdout).not.toContain(`${before}\t`);
    expect((await docker('exec', 'finder', 'ping', '-c', '1', 'there')).stdout).toContain(`(${after})`);
    await docker('rm', '-f', 'mover', 'finder', 'squatter');
  });

  test('what cannot be linked is refused', async () => {
    await docker('create', '--name', 'asleep', busybox, 'sleep', '600');
    await docker('network', 'create', 'own');
    await docker('run', '-d', '--name', 'elsewhere', '--network', 'own', busybox, 'sleep', '600');
    await docker('run', '-d', '--name', 'hosted', '--network', 'host', busybox, 'sleep', '600');
    const run = (...links: string[]) => ['run', '--rm', '--name', 'app', ...links, busybox, 'true'];
    expect(await refused(run('--link', 'asleep:a'))).toContain(
      'cannot link to a non running container: /asleep AS /app/a',
    );
    expect(await refused(run('--link', 'elsewhere:e'))).toContain(
      'cannot link to /elsewhere, as it does not belong to the default network',
    );
    expect(await refused(run('--link', 'hosted:h'))).toContain("host type networking can't be used with links");
    expect(await refused(run('--link', 'nobody:n'))).toContain('could not get container for nobody');
    expect(await refused(run('--link', 'elsewhere:x', '--link', 'elsewhere:x'))).toContain('/app/x');
    const create = (link: string) =>
      engine().api<{ message: string }>('POST', '/containers/create', {
        Image: busybox,
        HostConfig: { Links: [link] },
      });
    for (const bad of ['asleep:a b', 'asleep:a\nb', 'asleep:a:b', ':a']) {
      expect(await create(bad), bad).toMatchObject({
        status: 400,
        body: { message: expect.stringContaining('bad format') },
      });
    }
    // On networks that users make they are names.
    const { stdout } = await docker(
      'run',
      '--rm',
      '--network',
      'own',
      '--link',
      'elsewhere:near',
      busybox,
      'ping',
      '-c',
      '1',
      'near',
    );
    expect(stdout).toContain('1 packets received');
    await docker('rm', '-f', 'asleep', 'elsewhere', 'hosted');
    await docker('network', 'rm', 'own');
  });
});

describe('links between containers that are kept apart', () => {
  const engine = withEngine({ face: 'docker', serve: ['--icc=false'] });

  test('open what the linked container exposes until they are removed', async () => {
    const docker = async (...args: string[]) => (await engine().docker(args)).stdout.trim();
    const serve = 'nc -ll -p 80 -e echo spoken & nc -ll -p 81 -e echo spoken & wait';
    await docker('run', '-d', '--init', '--name', 'store', '--expose', '80', busybox, 'sh', '-c', serve);
    await docker('run', '-d', '--init', '--name', 'app', '--link', 'store:data', busybox, 'sleep', '600');
    const ask = (port: number) => docker('exec', 'app', 'sh', '-c', `nc -w 1 data ${port} < /dev/null || echo closed`);
    await eventually('the open port answers', async () => (await ask(80)) === 'spoken');
    expect(await ask(81)).toBe('closed');
    expect(await docker('exec', 'store', 'sh', '-c', 'nc 127.0.0.1 81 < /dev/null')).toBe('spoken');
    await docker('restart', '--time', '0', 'store');
    await eventually('it answers where it is now', async () => (await ask(80)) === 'spoken');
    await docker('rm', '--link', '/app/data');
    expect(await ask(80)).toBe('closed');
    await docker('rm', '-f', 'app', 'store');
  });
});
