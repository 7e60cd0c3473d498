import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { Compose, exitOf, patiently, printed } from '../support/compose.ts';
import { withEngine } from '../support/faces.ts';

describe('what docker compose follows', { ...shows({ client: 'docker compose' }), timeout: 240_000 }, () => {
  const engine = withEngine();
  const project = (name: string, services: object): Compose => {
    const folder = join(engine().root, name);
    mkdirSync(folder, { recursive: true });
    // YAML takes JSON as it is.
    writeFileSync(join(folder, 'compose.yaml'), JSON.stringify({ name, services }));
    return new Compose(engine(), folder);
  };
  const service = (command: string, more: object = {}): object => ({
    image: 'busybox:test',
    command: ['sh', '-c', command],
    init: true,
    stop_grace_period: '2s',
    ...more,
  });

  test('attached up shows both outputs, sees restarts, and stops all on an interrupt', async () => {
    const compose = project('attached', {
      steady: service('echo from steady; echo a warning >&2; exec sleep 1000'),
      fickle: service('echo try; sleep 0.5; exit 3', { restart: 'on-failure:2' }),
    });
    const up = compose.spawn(['up']);
    const text = printed(up);
    await patiently(
      'all is shown',
      () => /steady-1 +\| from steady/.test(text()) && /steady-1 +\| a warning/.test(text()),
    );
    await patiently('the restarts are followed', () => text().match(/fickle-1 +\| try/g)?.length === 3);
    await patiently('its last end is told', () => /fickle-1 exited with code 3/.test(text()));
    up.kill('SIGINT');
    await exitOf(up);
    expect(text().match(/fickle-1 +\| try/g)).toHaveLength(3);
    expect(text()).toContain('Gracefully');
    expect(Object.fromEntries([...(await compose.containers())].map(([name, { State }]) => [name, State]))).toEqual({
      'attached-fickle-1': 'exited',
      'attached-steady-1': 'exited',
    });
    await compose.run(['down']);
  });

  test('--exit-code-from gives the code of a service and stops the others', async () => {
    const compose = project('tested', {
      server: service('exec sleep 1000'),
      tests: service('echo the tests ran; exit 42', { depends_on: ['server'] }),
    });
    const { stdout } = await compose.run(['up', '--exit-code-from', 'tests'], { expect: 42 });
    expect(stdout).toMatch(/tests-1 +\| the tests ran/);
    expect((await compose.containers('server')).get('tested-server-1')?.State).toBe('exited');
    await compose.run(['down']);
  });

  test('events name what happens to the services, health among it', async () => {
    const compose = project('told', {
      one: service('exec sleep 1000', {
        healthcheck: { test: 'true', interval: '200ms', start_interval: '100ms', start_period: '10s' },
      }),
    });
    const follower = compose.spawn(['events', '--json']);
    const text = printed(follower);
    // It has begun to listen when it saw this.
    await patiently('it listens', async () => {
      await compose.run(['create', '--force-recreate']);
      return text().includes('"action":"create"');
    });
    await compose.run(['up', '--detach', '--wait']);
    await compose.run(['exec', '-T', 'one', 'true']);
    await compose.run(['kill']);
    await patiently('the end is told', () => text().includes('"action":"die"'));
    const events = text()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { action: string; service: string; attributes: object });
    const actions = events.map(({ action }) => action.trimEnd());
    for (const action of [
      'create',
      'start',
      'health_status: healthy',
      'exec_create: true',
      'exec_start: true',
      'kill',
      'die',
    ]) {
      expect(actions).toContain(action);
    }
    expect(events.every((event) => event.service === 'one')).toBe(true);
    expect(events.at(-1)?.attributes).toMatchObject({ image: 'busybox:test', name: 'told-one-1' });
    follower.kill('SIGINT');
    await exitOf(follower);
    await compose.run(['down']);
  });

  test('an unhealthy dependency, or one that failed, stops up with compose’s own words', async () => {
    const sick = project('sick', {
      ill: service('exec sleep 1000', { healthcheck: { test: 'false', interval: '100ms', retries: 2 } }),
      needs: service('exec sleep 1000', { depends_on: { ill: { condition: 'service_healthy' } } }),
    });
    const unhealthy = await sick.run(['up', '--detach'], { expect: 1 });
    expect(unhealthy.stderr).toContain('dependency failed to start: container sick-ill-1 is unhealthy');
    await sick.run(['down']);
    const failing = project('failing', {
      first: service('exit 5'),
      needs: service('exec sleep 1000', { depends_on: { first: { condition: 'service_completed_successfully' } } }),
    });
    const failed = await failing.run(['up', '--detach'], { expect: 1 });
    expect(failed.stderr).toContain('service "first" didn\'t complete successfully: exit 5');
    await failing.run(['down']);
  });

  test('attach and a command with a terminal of its own', async () => {
    const compose = project('talks', { cat: service('exec cat', { stdin_open: true }) });
    await compose.run(['up', '--detach']);
    const attached = compose.spawn(['attach', '--no-stdin', 'cat']);
    const text = printed(attached);
    const run = await compose.run(['run', '--rm', '-T', 'cat', 'sh', '-c', 'read line; echo "read $line"'], {
      input: 'hello\n',
    });
    expect(run.stdout).toBe('read hello\n');
    await compose.run(['stop', '--timeout', '1']);
    await exitOf(attached);
    expect(text()).not.toContain('panic');
    await compose.run(['down']);
  });

  test('port ranges, two projects that want one port, and pools that overlap', async () => {
    const first = project('ports-one', {
      web: service('exec sleep 1000', { ports: ['127.0.0.1:18080:80', '18100-18102:90-92'] }),
    });
    await first.run(['up', '--detach']);
    expect(await first.text('port', 'web', '91')).toBe('0.0.0.0:18101');
    const second = project('ports-two', { web: service('exec sleep 1000', { ports: ['127.0.0.1:18080:80'] }) });
    const { stderr } = await second.run(['up', '--detach'], { expect: 1 });
    expect(stderr).toContain('Bind for 127.0.0.1:18080 failed: port is already allocated');
    await first.run(['down']);
    await second.run(['up', '--detach']);
    await second.run(['down']);
    await engine().docker(['network', 'create', '--subnet', '10.90.0.0/24', 'pool']);
    const overlap = await engine().docker(['network', 'create', '--subnet', '10.90.0.128/25', 'other'], { expect: 1 });
    expect(overlap.stderr).toContain('invalid pool request: Pool overlaps with other one on this address space');
    await engine().docker(['network', 'rm', 'pool']);
  });
});
