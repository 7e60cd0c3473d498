import { expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';

interface Inspected {
  Id: string;
  Name: string;
  State: { Status: string; Running: boolean; Paused: boolean; ExitCode: number; Pid: number; OOMKilled: boolean };
  RestartCount: number;
  Config: { Hostname: string; Env: string[]; Labels: Record<string, string> };
  HostConfig: { Memory: number; NanoCpus: number; RestartPolicy: { Name: string; MaximumRetryCount: number } };
}

throughEveryFace('life of a container', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);
  const inspect = async (name: string): Promise<Inspected> =>
    (JSON.parse((await cli('inspect', name)).stdout) as Inspected[])[0]!;

  test('run prints what the program prints, on the stream it chose', async () => {
    const { stdout, stderr } = await cli('run', '--rm', busybox, 'sh', '-c', 'echo out; echo err >&2');
    expect(stdout).toBe('out\n');
    expect(stderr).toBe('err\n');
  });

  test.each([
    { ends: 'with 0', command: ['true'], code: 0 },
    { ends: 'with its own code', command: ['sh', '-c', 'exit 42'], code: 42 },
    { ends: 'by a signal', command: ['--init', 'sh', '-c', 'kill -TERM $$'], code: 143 },
    { ends: 'as not found', command: ['no-such-program'], code: 127 },
    { ends: 'as not found at a path', command: ['/no/such/program'], code: 127 },
    { ends: 'as not executable', command: ['/etc/passwd'], code: 126 },
    { ends: 'as a folder', command: ['/etc'], code: 126 },
  ])('the exit code of a program that ends $ends', async ({ command, code }) => {
    const flags = command.filter((word) => word === '--init');
    await engine().cli(['run', '--rm', ...flags, busybox, ...command.slice(flags.length)], { expect: code });
  });

  test('the exit code for a flag or an image that is not known is 125', async () => {
    await engine().cli(['run', '--no-such-flag', busybox, 'true'], { expect: 125 });
    const { stderr } = await engine().cli(['run', '--pull', 'never', 'no-such-image', 'true'], { expect: 125 });
    expect(stderr).toContain('no-such-image');
  });

  test('a container goes from created to exited, and can be started again', async () => {
    const id = (
      await cli('create', '--name', 'steps', busybox, 'sh', '-c', 'echo turn; sleep 0.2; exit 3')
    ).stdout.trim();
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect((await inspect('steps')).State.Status).toBe('created');
    expect((await cli('start', 'steps')).stdout.trim()).toBe('steps');
    expect((await cli('wait', 'steps')).stdout.trim()).toBe('3');
    expect((await inspect('steps')).State).toMatchObject({ Status: 'exited', Running: false, ExitCode: 3, Pid: 0 });
    const attached = await engine().cli(['start', '--attach', 'steps'], { expect: 3 });
    expect(attached.stdout).toBe('turn\n');
    expect((await cli('logs', 'steps')).stdout).toBe('turn\nturn\n');
    expect((await cli('rm', 'steps')).stdout.trim()).toBe('steps');
    await engine().cli(['inspect', 'steps'], { expect: 1 });
  });

  test('stop asks with SIGTERM, then kills', async () => {
    const polite = ['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 0.05; done'];
    const stubborn = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'];
    await cli('run', '-d', '--name', 'polite', busybox, ...polite);
    await cli('run', '-d', '--name', 'stubborn', busybox, ...stubborn);
    await eventually('both trap the signal', async () => (await cli('top', 'stubborn')).stdout.includes('trap'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await cli('stop', 'polite');
    expect((await inspect('polite')).State.ExitCode).toBe(7);
    const { ms } = await cli('stop', '--time', '1', 'stubborn');
    expect(ms).toBeGreaterThan(900);
    expect((await inspect('stubborn')).State.ExitCode).toBe(137);
    await cli('rm', 'polite', 'stubborn');
  });

  test('kill sends the signal that was named', async () => {
    await cli(
      'run',
      '-d',
      '--name',
      'target',
      busybox,
      'sh',
      '-c',
      'trap "echo got usr1" USR1; while :; do sleep 0.05; done',
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    await cli('kill', '--signal', 'USR1', 'target');
    await eventually('the trap ran', async () => (await cli('logs', 'target')).stdout.includes('got usr1'));
    await cli('kill', 'target');
    expect((await cli('wait', 'target')).stdout.trim()).toBe('137');
    const { stderr } = await engine().cli(['kill', 'target'], { expect: 1 });
    expect(stderr).toContain('is not running');
    await cli('rm', 'target');
  });

  test('restart, pause, unpause, rename', async () => {
    await cli('run', '-d', '--name', 'before', busybox, 'sleep', '600');
    const first = (await inspect('before')).State.Pid;
    await cli('restart', '--time', '0', 'before');
    const second = (await inspect('before')).State.Pid;
    expect(second).not.toBe(first);
    await cli('pause', 'before');
    expect((await inspect('before')).State).toMatchObject({ Status: 'paused', Paused: true });
    const { stderr } = await engine().cli(['exec', 'before', 'true'], { expect: 1 });
    expect(stderr).toContain('paused');
    await cli('unpause', 'before');
    expect((await inspect('before')).State.Status).toBe('running');
    await cli('rename', 'before', 'after');
    expect((await inspect('after')).Name).toBe('/after');
    await engine().cli(['rm', 'after'], { expect: 1 });
    await cli('rm', '--force', 'after');
  });

  test('exec runs beside the program, with its own exit code, input, user, folder and environment', async () => {
    await cli('run', '-d', '--name', 'host', busybox, 'sleep', '600');
    expect((await cli('exec', 'host', 'echo', 'hi')).stdout).toBe('hi\n');
    await engine().cli(['exec', 'host', 'sh', '-c', 'exit 9'], { expect: 9 });
    await engine().cli(['exec', 'host', 'no-such-program'], { expect: 127 });
    await engine().cli(['exec', 'host', '/etc/passwd'], { expect: 126 });
    const nobody = await engine().cli(['exec', '-u', 'stranger', 'host', 'id'], { expect: 126 });
    expect(nobody.stdout + nobody.stderr).toContain('unable to find user stranger');
    const fed = await engine().cli(['exec', '-i', 'host', 'wc', '-c'], { input: 'x'.repeat(100_000) });
    expect(fed.stdout.trim()).toBe('100000');
    const script = 'id -u; id -G; pwd; echo $COLOUR';
    const asApp = ['exec', '-u', 'app', '-w', '/home/app', '-e', 'COLOUR=green', 'host', 'sh', '-c', script];
    expect((await cli(...asApp)).stdout).toBe('1000\n1000 29 44\n/home/app\ngreen\n');
    await cli('exec', '-d', 'host', 'touch', '/tmp/detached');
    await eventually('the detached one ran', async () =>
      (await cli('exec', 'host', 'ls', '/tmp')).stdout.includes('detached'),
    );
    await cli('rm', '-f', 'host');
  });

  test('ps lists, filters and formats', async () => {
    await cli('run', '-d', '--name', 'up', '--label', 'part=one', busybox, 'sleep', '600');
    await engine().cli(['run', '--name', 'down', '--label', 'part=two', busybox, 'sh', '-c', 'exit 5'], { expect: 5 });
    const names = async (...args: string[]) =>
      (await cli('ps', '--format', '{{.Names}}', ...args)).stdout.split('\n').filter(Boolean).sort();
    expect(await names()).toEqual(['up']);
    expect(await names('-a')).toEqual(['down', 'up']);
    expect(await names('-a', '--filter', 'status=exited')).toEqual(['down']);
    expect(await names('-a', '--filter', 'exited=5')).toEqual(['down']);
    expect(await names('-a', '--filter', 'label=part=one')).toEqual(['up']);
    expect(await names('-a', '--filter', 'name=dow')).toEqual(['down']);
    expect(await names('-a', '--filter', `ancestor=${busybox}`)).toEqual(['down', 'up']);
    expect(await names('-a', '--filter', 'network=bridge')).toEqual(['down', 'up']);
    expect(await names('-n', '1')).toEqual(['down']);
    expect((await cli('ps', '-aq')).stdout.trim().split('\n')).toHaveLength(2);
    expect((await cli('ps', '-a')).stdout).toMatch(
      /^CONTAINER ID\s+IMAGE\s+COMMAND\s+CREATED\s+STATUS\s+PORTS\s+NAMES\n/,
    );
    expect((await cli('ps', '-a', '--format', '{{.Status}}', '--filter', 'name=down')).stdout).toMatch(
      /^Exited \(5\) /,
    );
    await cli('rm', '-f', 'up', 'down');
  });

  test('top, stats, diff and update', async () => {
    await cli(
      'run',
      '-d',
      '--name',
      'busy',
      '--memory',
      '64m',
      busybox,
      'sh',
      '-c',
      'touch /new; rm /etc/group; sleep 600',
    );
    await eventually('the files changed', async () => (await cli('diff', 'busy')).stdout.includes('D /etc/group'));
    expect((await cli('diff', 'busy')).stdout.split('\n')).toEqual(
      expect.arrayContaining(['A /new', 'C /etc', 'D /etc/group']),
    );
    expect((await cli('top', 'busy')).stdout).toMatch(/PID.*\n(.*\n)*.*sleep 600/);
    expect((await cli('stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}}', 'busy')).stdout).toMatch(
      /^busy [\d.]+\w*iB \/ 64MiB\n$/,
    );
    await cli(
      'update',
      '--memory',
      '96m',
      '--memory-swap',
      '96m',
      '--cpus',
      '0.5',
      '--restart',
      'on-failure:3',
      'busy',
    );
    expect((await inspect('busy')).HostConfig).toMatchObject({
      Memory: 96 * 1024 * 1024,
      NanoCpus: 5e8,
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
    });
    await cli('rm', '-f', 'busy');
  });

  test('logs: tail, since, timestamps, follow', async () => {
    await cli(
      'run',
      '-d',
      '--name',
      'talker',
      busybox,
      'sh',
      '-c',
      'for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done',
    );
    const followed = await cli('logs', '--follow', 'talker');
    expect(followed.stdout).toBe('line 1\nline 2\nline 3\nline 4\nline 5\n');
    expect((await cli('logs', '--tail', '2', 'talker')).stdout).toBe('line 4\nline 5\n');
    const stamped = (await cli('logs', '--timestamps', 'talker')).stdout.split('\n').filter(Boolean);
    expect(stamped).toHaveLength(5);
    for (const line of stamped) expect(line).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z line \d$/);
    const third = stamped[2]!.split(' ')[0]!;
    expect((await cli('logs', '--since', third, 'talker')).stdout).toBe('line 3\nline 4\nline 5\n');
    await cli('rm', 'talker');
  });

  test('cp goes both ways', async () => {
    await cli('create', '--name', 'files', busybox, 'true');
    await engine().run([
      'sh',
      '-c',
      'mkdir -p tree/sub && echo one > tree/a && echo two > tree/sub/b && ln -sf a tree/link',
    ]);
    await cli('cp', `${engine().root}/tree`, 'files:/tmp');
    await cli('cp', 'files:/tmp/tree', `${engine().root}/back`);
    const { stdout } = await engine().run(['sh', '-c', 'cat back/a back/sub/b; readlink back/link; rm -r tree back']);
    expect(stdout).toBe('one\ntwo\na\n');
    expect((await cli('cp', 'files:/data/kept', '-')).stdout).toContain('from the image');
    await engine().cli(['cp', 'files:/no/such', engine().root], { expect: 1 });
    await cli('rm', 'files');
  });

  test('names and prefixes: in use, unknown, ambiguous', async () => {
    await cli('create', '--name', 'taken', busybox);
    const { stderr } = await engine().cli(['create', '--name', 'taken', busybox], { expect: 'any' });
    expect(stderr).toContain('taken');
    const id = (await inspect('taken')).Id;
    expect((await inspect(id.slice(0, 12))).Id).toBe(id);
    await engine().cli(['start', 'nobody'], { expect: 1 });
    await cli('rm', 'taken');
  });

  test('prune removes what has ended, and only that', async () => {
    await cli('run', '-d', '--name', 'alive', busybox, 'sleep', '600');
    await cli('run', '--name', 'ended', busybox, 'true');
    await cli('container', 'prune', '--force');
    expect((await cli('ps', '-a', '--format', '{{.Names}}')).stdout.trim()).toBe('alive');
    await cli('rm', '-f', 'alive');
  });

  test('nothing is left once all are removed', async () => {
    expect((await cli('ps', '-aq')).stdout).toBe('');
    await eventually(
      'the monitors ended',
      () =>
        !engine()
          .processes()
          .some(({ command }) => command.includes('conmon')),
    );
    const { stdout } = await engine().run(['sh', '-c', `grep -c ${engine().dataRoot} /proc/self/mountinfo || :`]);
    expect(stdout.trim()).toBe('0');
  });
});
