import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { restartMachine } from '../support/machine-restart.ts';

describe('containers that come up with the daemon or the machine', () => {
  const engine = withEngine({ face: 'docker' });
  const docker = (...args: string[]) => engine().docker(args);
  const up = (name: string, ...options: string[]) =>
    docker('run', '-d', '--name', name, ...options, busybox, 'sleep', '600');
  const state = async (name: string) => (await docker('inspect', '-f', '{{.State.Status}}', name)).stdout.trim();
  const compose = (service: string, dependsOn = '') => [
    ...['--label', 'com.docker.compose.project=shop', '--label', `com.docker.compose.service=${service}`],
    ...['--label', `com.docker.compose.depends_on=${dependsOn}`],
  ];
  const always = ['--restart', 'always'];
  const running = (...names: string[]) =>
    eventually(
      `${names.join(', ')} run`,
      async () => {
        const states = await Promise.all(names.map(state));
        return states.every((one) => one === 'running');
      },
      30_000,
    );
  const clear = async () => {
    const all = (await docker('ps', '-aq')).stdout.split('\n').filter(Boolean);
    if (all.length > 0) await docker('rm', '-f', ...all);
  };
  /** `NAME ACTION` of what happened to containers since then. */
  const told = async (since: string): Promise<string[]> => {
    const { stdout } = await docker(
      ...['events', '--since', since, '--until', now(), '--filter', 'type=container'],
      ...['--format', '{{index .Actor.Attributes "name"}} {{.Action}}'],
    );
    return stdout.split('\n').filter(Boolean);
  };
  const now = () => (Date.now() / 1000).toFixed(3);

  test('after a machine’s restart: each after what it needs, healthy where its label says so', async () => {
    // Made in the wrong order, so that none is right by chance.
    await up(
      'web',
      '--restart',
      'unless-stopped',
      ...compose('web', 'db:service_healthy:false,job:service_completed_successfully:false'),
    );
    await up('side', ...always, '--network', 'container:web');
    await up('reader', ...always, '--volumes-from', 'web', '--pid', 'container:side');
    await docker('network', 'create', 'shopnet');
    await docker(
      ...['run', '-d', '--name', 'db', ...always, '--network', 'shopnet', ...compose('db')],
      ...['--health-cmd', 'test -e /tmp/ready', '--health-interval', '200ms', '--health-retries', '500'],
      ...[busybox, 'sh', '-c', 'rm -f /tmp/ready; sleep 1; touch /tmp/ready; sleep 600'],
    );
    await docker('run', '--name', 'job', ...compose('job'), busybox, 'true');
    await up('plain');
    await up('left', '--restart', 'unless-stopped');
    await docker('stop', '-t', '0', 'left');
    await up('tried', '--restart', 'on-failure:3');
    const since = now();
    await restartMachine(engine());
    await engine().serve();
    await running('web', 'side', 'reader', 'db', 'tried');
    const order = ['db start', 'db health_status: healthy', 'web start', 'side start', 'reader start'];
    const events = await told(since);
    expect(events.filter((event) => order.includes(event))).toEqual(order);
    // What has no policy rests, as what its user had stopped does; the end of both is known.
    expect(await state('plain')).toBe('exited');
    expect(await state('left')).toBe('exited');
    expect(events).toContain('plain die');
    const { stdout } = await docker('inspect', '-f', '{{.State.ExitCode}} {{.State.Pid}} {{.State.Running}}', 'plain');
    expect(stdout.trim()).toBe('255 0 false');
    expect((await docker('inspect', '-f', '{{.RestartCount}}', 'db')).stdout.trim()).toBe('0');
    await docker('start', 'plain');
    expect((await docker('exec', 'side', 'ip', 'addr')).stdout).toContain('eth0');
    await clear();
  });

  test('what waits for each other goes by age, and what cannot come is told', async () => {
    await up('older', ...always, ...compose('older', 'younger:service_started:false'));
    await up('younger', ...always, ...compose('younger', 'older:service_started:false'));
    await up('host');
    await up('guest', ...always, '--network', 'container:host');
    const since = now();
    await restartMachine(engine());
    await engine().serve();
    await running('older', 'younger');
    const events = await told(since);
    expect(events.filter((event) => / start$/.test(event) && !event.startsWith('guest'))).toEqual([
      ...['older start', 'younger start'],
    ]);
    await eventually('the guest gave up', async () => (await state('guest')) === 'exited');
    const { stdout } = await docker('inspect', '-f', '{{.State.Error}}', 'guest');
    expect(stdout.trim()).toBe('cannot join network namespace of a non running container: container host is exited');
    await clear();
  });

  test('when the daemon alone starts, "always" holds even for what was stopped, and nothing that runs is touched', async () => {
    await up('steady');
    await up('again', ...always);
    await up('rests', '--restart', 'unless-stopped');
    await docker('create', '--name', 'new', ...always, busybox, 'true');
    await docker('stop', '-t', '0', 'again', 'rests');
    const pid = (await docker('inspect', '-f', '{{.State.Pid}}', 'steady')).stdout;
    await engine().stopDaemon();
    await engine().serve();
    await running('again');
    expect(await state('rests')).toBe('exited');
    expect(await state('new')).toBe('created');
    expect((await docker('inspect', '-f', '{{.State.Pid}}', 'steady')).stdout).toBe(pid);
    await clear();
  });
});
