import { readFileSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';
import { hierarchies } from './support/namespaces.ts';

/** What the container's cgroup says: v1 in the controller's own tree, v2 in the one tree. */
function limit(pid: number, v1: [controller: string, file: string], v2: string): string {
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(':'));
  const own = groups.find(([, controllers]) => controllers!.split(',').includes(v1[0]));
  const tree = hierarchies().find((path) => path.endsWith(`/${v1[0]}`));
  if (own !== undefined && tree !== undefined) return readFileSync(`${tree}${own[2]}/${v1[1]}`, 'utf8').trim();
  const unified = groups.find(([id]) => id === '0')![2];
  return readFileSync(`/sys/fs/cgroup${unified}/${v2}`, 'utf8').trim();
}

throughEveryFace('limits and isolation', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);

  test('cgroup limits are what was asked', async () => {
    const flags = [
      '--memory',
      '64m',
      '--memory-swap',
      '64m',
      '--cpus',
      '0.5',
      '--pids-limit',
      '50',
      '--cpuset-cpus',
      '0',
      '--cpu-shares',
      '512',
    ];
    await cli('run', '-d', '--name', 'bound', ...flags, busybox, 'sleep', '600');
    const pid = Number((await cli('inspect', '-f', '{{.State.Pid}}', 'bound')).stdout);
    expect(limit(pid, ['memory', 'memory.limit_in_bytes'], 'memory.max')).toBe(String(64 * 1024 * 1024));
    expect(limit(pid, ['cpu', 'cpu.cfs_quota_us'], 'cpu.max')).toMatch(/^50000\b/);
    expect(limit(pid, ['pids', 'pids.max'], 'pids.max')).toBe('50');
    expect(limit(pid, ['cpuset', 'cpuset.cpus'], 'cpuset.cpus')).toBe('0');
    await cli('rm', '-f', 'bound');
  });

  test('a program that takes more memory than its limit is killed, and that is said', async () => {
    const eat = ['sh', '-c', 'x=a; while :; do x=$x$x; done'];
    const flags = ['--name', 'greedy', '--memory', '16m', '--memory-swap', '16m'];
    await engine().cli(['run', ...flags, busybox, ...eat], { expect: 137 });
    expect((await cli('inspect', '-f', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'greedy')).stdout.trim()).toBe(
      'true 137',
    );
    await cli('rm', 'greedy');
  });

  test('no more processes than the limit', async () => {
    const fork = 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done';
    const { stderr } = await engine().cli(['run', '--rm', '--pids-limit', '5', busybox, 'sh', '-c', fork], {
      expect: 2,
    });
    expect(stderr).toContain("can't fork");
  });

  test("capabilities are docker's default set, and can be changed", async () => {
    const of = async (...flags: string[]) =>
      (await cli('run', '--rm', ...flags, busybox, 'sh', '-c', 'grep CapEff /proc/self/status')).stdout.split(/\s+/)[1];
    expect(await of()).toBe('00000000a80425fb');
    expect(await of('--cap-drop', 'ALL')).toBe('0000000000000000');
    expect(await of('--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN')).toBe('0000000000001000');
    expect(await of('--user', 'app')).toBe('0000000000000000');
  });

  test('a seccomp filter and masked paths stand unless taken away', async () => {
    const seccomp = async (...flags: string[]) =>
      (await cli('run', '--rm', ...flags, busybox, 'grep', '-w', 'Seccomp:', '/proc/self/status')).stdout.split(
        /\s+/,
      )[1];
    expect(await seccomp()).toBe('2');
    expect(await seccomp('--security-opt', 'seccomp=unconfined')).toBe('0');
    const masked = 'wc -c < /proc/timer_list; echo x > /proc/sys/kernel/hostname';
    const { stdout, stderr } = await engine().cli(['run', '--rm', busybox, 'sh', '-c', masked], { expect: 1 });
    expect(stdout).toBe('0\n');
    expect(stderr).toContain('Read-only');
    expect(
      (
        await cli(
          'run',
          '--rm',
          '--security-opt',
          'no-new-privileges',
          busybox,
          'grep',
          'NoNewPrivs',
          '/proc/self/status',
        )
      ).stdout,
    ).toMatch(/1$/m);
  });

  test.each([
    { user: 'app', want: 'uid=1000(app) gid=1000(app) groups=29(audio),44(video),1000(app)' },
    { user: 'app:video', want: 'uid=1000(app) gid=44(video) groups=44(video)' },
    { user: '1000', want: 'uid=1000(app) gid=1000(app) groups=29(audio),44(video),1000(app)' },
    { user: '4711:4712', want: 'uid=4711 gid=4712 groups=4712' },
  ])("the user $user is looked up in the image's own files", async ({ user, want }) => {
    const sorted = (text: string) => text.trim().split(/[ ,=]/).sort().join(' ');
    expect(sorted((await cli('run', '--rm', '--user', user, busybox, 'id')).stdout)).toBe(sorted(want));
  });

  test('binds, volumes with copy-up, tmpfs, read-only root', async () => {
    const { root } = engine();
    await engine().run(['sh', '-c', 'mkdir -p shared && echo theirs > shared/file']);
    expect(
      (
        await cli(
          'run',
          '--rm',
          '-v',
          `${root}/shared:/mnt:ro`,
          busybox,
          'sh',
          '-c',
          'cat /mnt/file; touch /mnt/x 2>&1 || :',
        )
      ).stdout,
    ).toMatch(/^theirs\n.*[Rr]ead-only/);
    await cli('volume', 'create', 'kept');
    expect(
      (
        await cli(
          'run',
          '--rm',
          '-v',
          'kept:/data',
          busybox,
          'sh',
          '-c',
          "cat /data/kept; stat -c '%u %a' /data; echo more > /data/new",
        )
      ).stdout,
    ).toBe('from the image\n1000 750\n');
    expect((await cli('run', '--rm', '--mount', 'type=volume,src=kept,dst=/v', busybox, 'ls', '/v')).stdout).toBe(
      'kept\nnew\n',
    );
    expect(
      (await cli('run', '--rm', '--tmpfs', '/t:size=1m', busybox, 'sh', '-c', 'df -k /t | tail -1')).stdout,
    ).toMatch(/1024/);
    expect((await cli('run', '--rm', '--read-only', busybox, 'sh', '-c', 'touch /x 2>&1 || :')).stdout).toMatch(
      /Read-only/,
    );
    await cli('volume', 'rm', 'kept');
    await cli('run', '--rm', '-v', '/anonymous', busybox, 'touch', '/anonymous/x');
    expect((await cli('volume', 'ls', '-q')).stdout).toBe('');
  });

  test('environment, folder, hostname, entrypoint, devices, sysctls, ulimits, init', async () => {
    const run = async (...args: string[]) => (await cli('run', '--rm', ...args)).stdout;
    expect(
      await run('-e', 'A=1', '-w', '/tmp', '--hostname', 'box', busybox, 'sh', '-c', 'echo $A $(pwd) $(hostname)'),
    ).toBe('1 /tmp box\n');
    expect(await run('--entrypoint', 'echo', busybox, 'a', 'b')).toBe('a b\n');
    expect(await run('--device', '/dev/null:/dev/zilch', busybox, 'sh', '-c', 'test -c /dev/zilch && echo there')).toBe(
      'there\n',
    );
    expect(
      await run('--sysctl', 'net.ipv4.ip_default_ttl=99', busybox, 'cat', '/proc/sys/net/ipv4/ip_default_ttl'),
    ).toBe('99\n');
    expect(await run('--ulimit', 'nofile=512:1024', busybox, 'sh', '-c', 'ulimit -n')).toBe('512\n');
    expect(await run('--shm-size', '8m', busybox, 'sh', '-c', "df -k /dev/shm | awk 'END { print $2 }'")).toBe(
      '8192\n',
    );
    expect(await run('--init', busybox, 'sh', '-c', 'cat /proc/1/comm')).not.toBe('sh\n');
  });

  test("a container's user is not given the host's /dev/null", async () => {
    const owner = () => {
      const { uid, gid, mode } = statSync('/dev/null');
      return { uid, gid, mode };
    };
    const before = owner();
    const script = 'cat; ls -l /proc/self/fd/0; chmod 600 /proc/self/fd/0; sleep 600';
    await cli('run', '-d', '--name', 'user', '--user', '1234:1234', busybox, 'sh', '-c', script);
    await eventually('its input has ended', async () => (await cli('logs', 'user')).stdout.includes('/proc/self/fd/0'));
    expect((await cli('exec', '--user', '4321', 'user', 'sh', '-c', 'cat; id -u')).stdout.trim()).toBe('4321');
    await cli('exec', '-d', '--user', '4321', 'user', 'sh', '-c', 'cat; sleep 1');
    expect(owner()).toEqual(before);
    await cli('rm', '-f', 'user');
  });

  test('the runtime can be chosen by name', async () => {
    const flags = ['--runtime', 'runc', '--name', 'other'];
    expect((await cli('run', ...flags, busybox, 'echo', 'hello')).stdout).toBe('hello\n');
    expect((await cli('inspect', '-f', '{{.HostConfig.Runtime}}', 'other')).stdout.trim()).toBe('runc');
    await cli('rm', 'other');
    const { stderr } = await engine().cli(['run', '--rm', '--runtime', 'nothing', busybox, 'true'], { expect: 125 });
    expect(stderr).toContain('nothing');
  });
});
