import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';

const occurrences = (text: string, part: string): number => text.split(part).length - 1;

throughEveryFace('what the keeper does', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);
  const state = async (name: string, template: string) => (await cli('inspect', '-f', template, name)).stdout.trim();

  test('on-failure starts again so many times, then gives up', async () => {
    await cli('run', '-d', '--name', 'failing', '--restart', 'on-failure:2', busybox, 'sh', '-c', 'echo try; exit 3');
    await eventually(
      'it gave up',
      async () => (await state('failing', '{{.State.Status}} {{.RestartCount}}')) === 'exited 2',
    );
    expect(await state('failing', '{{.State.ExitCode}}')).toBe('3');
    expect((await cli('logs', 'failing')).stdout).toBe('try\ntry\ntry\n');
    await cli('rm', 'failing');
  });

  test('on-failure leaves a program alone that ended well', async () => {
    await cli('run', '-d', '--name', 'fine', '--restart', 'on-failure', busybox, 'true');
    await cli('wait', 'fine');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await state('fine', '{{.State.Status}} {{.RestartCount}}')).toBe('exited 0');
    await cli('rm', 'fine');
  });

  test('always starts again what was killed from outside, and not what a user stopped', async () => {
    await cli('run', '-d', '--name', 'steady', '--restart', 'always', busybox, 'sleep', '600');
    const pid = Number(await state('steady', '{{.State.Pid}}'));
    process.kill(pid, 'SIGKILL');
    await eventually('it runs again', async () => {
      const [now, status] = (await state('steady', '{{.State.Pid}} {{.State.Status}}')).split(' ');
      return status === 'running' && Number(now) !== pid && Number(now) > 0;
    });
    await cli('stop', '-t', '0', 'steady');
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(await state('steady', '{{.State.Status}}')).toBe('exited');
    await cli('rm', 'steady');
  });

  test('a healthcheck turns healthy, then unhealthy, with its output', async () => {
    const check = ['--health-cmd', 'cat /tmp/ok', '--health-interval', '200ms', '--health-retries', '2'];
    const start = ['--health-start-period', '60s', '--health-start-interval', '100ms'];
    await cli('run', '-d', '--name', 'checked', ...check, ...start, busybox, 'sleep', '600');
    expect(await state('checked', '{{.State.Health.Status}}')).toBe('starting');
    await cli('exec', 'checked', 'touch', '/tmp/ok');
    await eventually('healthy', async () => (await state('checked', '{{.State.Health.Status}}')) === 'healthy');
    expect((await cli('ps', '--format', '{{.Status}}')).stdout).toContain('(healthy)');
    await cli('exec', 'checked', 'rm', '/tmp/ok');
    await eventually('unhealthy', async () => (await state('checked', '{{.State.Health.Status}}')) === 'unhealthy');
    expect(await state('checked', '{{json .State.Health.Log}}')).toContain("can't open '/tmp/ok'");
    expect((await cli('ps', '-q', '--filter', 'health=unhealthy')).stdout.trim()).not.toBe('');
    await cli('rm', '-f', 'checked');
  });

  test('a probe that takes too long is killed', async () => {
    const check = ['--health-cmd', 'exec sleep 555', '--health-interval', '100ms', '--health-timeout', '300ms'];
    await cli('run', '-d', '--name', 'slow', ...check, '--health-retries', '1', busybox, 'sleep', '600');
    await eventually('unhealthy', async () => (await state('slow', '{{.State.Health.Status}}')) === 'unhealthy');
    expect(await state('slow', '{{json .State.Health.Log}}')).toContain('Health check exceeded timeout (0.3s)');
    expect(occurrences((await cli('top', 'slow')).stdout, 'sleep 555')).toBeLessThan(2);
    await cli('rm', '-f', 'slow');
  });

  test('the probe of a keeper that was killed ends when the next one begins', async () => {
    const check = ['--health-cmd', 'echo one >> /probes; exec sleep 556', '--health-interval', '100ms'];
    await cli('run', '-d', '--name', 'orphaned', ...check, busybox, 'sleep', '600');
    const probes = async () =>
      occurrences((await cli('exec', 'orphaned', 'sh', '-c', 'cat /probes || true')).stdout, 'one');
    await eventually('it is probed', async () => (await probes()) === 1);
    const keeper = engine()
      .processes()
      .find(({ command }) => /tare\.cjs .*\bkeeper\b/.test(command));
    process.kill(keeper!.pid, 'SIGKILL');
    await eventually('it is probed again', async () => (await probes()) === 2);
    const running = async () => occurrences((await cli('top', 'orphaned')).stdout, 'sleep 556');
    await eventually('one is left', async () => (await running()) === 1);
    await cli('rm', '-f', 'orphaned');
  });

  test('logs are rotated by size and read across the files', async () => {
    const limits = ['--log-opt', 'max-size=64k', '--log-opt', 'max-file=3'];
    const script =
      'i=0; while [ $i -lt 4000 ]; do echo "line $i ........................"; i=$((i+1)); done; sleep 600';
    await cli('run', '-d', '--name', 'wordy', ...limits, busybox, 'sh', '-c', script);
    await eventually('the last line came', async () =>
      (await cli('logs', '--tail', '1', 'wordy')).stdout.startsWith('line 3999'),
    );
    const folder = join(engine().dataRoot, 'containers', await state('wordy', '{{.Id}}'));
    await eventually('the files are small', () => {
      const sizes = readdirSync(folder)
        .filter((name) => name.includes('.log'))
        .map((name) => statSync(join(folder, name)).size);
      return sizes.length <= 3 && sizes.reduce((a, b) => a + b) < 3 * 90_000;
    });
    const lines = (await cli('logs', 'wordy')).stdout.trim().split('\n');
    expect(lines.at(-1)).toMatch(/^line 3999/);
    const numbers = lines.map((line) => Number(/^line (\d+) /.exec(line)?.[1]));
    expect(numbers).toEqual(Array.from(numbers, (_, i) => numbers[0]! + i));
    await cli('rm', '-f', 'wordy');
  });

  test('a keeper that was killed is replaced', async () => {
    await cli('run', '-d', '--name', 'kept', '--restart', 'always', busybox, 'sleep', '600');
    const keeper = () =>
      engine()
        .processes()
        .find(({ command }) => /\bkeeper\b/.test(command))?.pid;
    await eventually('a keeper lives', () => keeper() !== undefined);
    const first = keeper()!;
    process.kill(first, 'SIGKILL');
    // Without a daemon the next command does it.
    if (engine().face === 'in-process') await cli('ps');
    await eventually('another keeper lives', () => keeper() !== undefined && keeper() !== first);
    process.kill(Number(await state('kept', '{{.State.Pid}}')), 'SIGKILL');
    await eventually('it was started again', async () => (await state('kept', '{{.RestartCount}}')) === '1');
    await cli('rm', '-f', 'kept');
  });

  test('a published port stays taken while its container runs', async () => {
    await cli('run', '-d', '--name', 'holder', '-p', '18300:80', busybox, 'sleep', '600');
    const other = await engine().run(['busybox', 'nc', '-l', '-p', '18300'], { expect: 1, timeoutMs: 5000 });
    expect(other.stderr).toContain('in use');
    await cli('rm', '-f', 'holder');
  });

  test('it ends with the last container', async () => {
    await eventually(
      'no keeper is left',
      () =>
        !engine()
          .processes()
          .some(({ command }) => /\bkeeper\b/.test(command)),
      20_000,
    );
  });
});
