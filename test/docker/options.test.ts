import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { busybox, TestEngine } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';

interface Inspected {
  Id: string;
  State: { Pid: number; Running: boolean };
  Config: Record<string, unknown>;
  HostConfig: Record<string, unknown>;
}

describe('options of run and create', () => {
  const engine = withEngine({ face: 'docker' });
  const docker = (...args: string[]) => engine().docker(args);
  const inspect = async (name: string) => JSON.parse((await docker('inspect', name)).stdout)[0] as Inspected;
  const file = (name: string, content: string) => {
    const path = join(engine().root, name);
    writeFileSync(path, content);
    return path;
  };

  /** Flags; what the container says; what inspect shows of its HostConfig or Config. */
  test.each<[flags: string, command: string, said: string | RegExp, shown: Record<string, unknown>]>([
    ['--userns host', 'cat /proc/self/uid_map', / 0 +0 +\d+/, { UsernsMode: 'host' }],
    ['--group-add video --group-add 12', 'id -G', /^0 (12 44|44 12)$/m, { GroupAdd: ['video', '12'] }],
    ['--cgroupns private', 'grep -v ":/$" /proc/self/cgroup; true', '', { CgroupnsMode: 'private' }],
    ['--cgroupns host', 'grep -cv ":/$" /proc/self/cgroup', /^\d+\n$/, { CgroupnsMode: 'host' }],
    [
      '--security-opt writable-cgroups=true --cgroupns private',
      'cd $(ls -d /sys/fs/cgroup/pids 2>/dev/null || echo /sys/fs/cgroup); mkdir own && rmdir own && echo made',
      'made\n',
      { SecurityOpt: ['writable-cgroups=true'] },
    ],
    [
      '--cgroupns private',
      'mkdir $(ls -d /sys/fs/cgroup/pids 2>/dev/null || echo /sys/fs/cgroup)/own 2>&1; true',
      /Read-only/,
      { SecurityOpt: null },
    ],
    [
      '--security-opt no-new-privileges',
      'grep NoNewPrivs /proc/self/status',
      /\t1$/m,
      { SecurityOpt: ['no-new-privileges'] },
    ],
    ['--security-opt seccomp=unconfined', 'grep -w Seccomp: /proc/self/status', /\t0$/m, {}],
    ['--security-opt seccomp=builtin', 'grep -w Seccomp: /proc/self/status', /\t2$/m, {}],
    [
      '--security-opt systempaths=unconfined',
      'wc -c < /proc/timer_list',
      /^[1-9]/,
      { MaskedPaths: [], ReadonlyPaths: [] },
    ],
    ['--security-opt label=disable --security-opt apparmor=unconfined', 'echo ran', 'ran\n', {}],
    ['--privileged', 'grep CapEff /proc/self/status', /[1-9a-f]/, { Privileged: true, SecurityOpt: ['label=disable'] }],
    [
      '--read-only --tmpfs /run',
      'touch /x 2>&1; touch /run/x && echo tmpfs',
      /Read-only.*\ntmpfs\n/,
      { ReadonlyRootfs: true },
    ],
    ['--shm-size 5m', 'df -k /dev/shm | tail -1', /^shm +5120 /, { ShmSize: 5 * 1024 * 1024 }],
    ['--ipc none', 'ls -d /dev/shm 2>&1; true', /No such file/, { IpcMode: 'none' }],
    ['--uts host', 'hostname', /\w/, { UTSMode: 'host' }],
    ['--pid host', 'test $$ -gt 1 && echo many', 'many\n', { PidMode: 'host', SecurityOpt: ['label=disable'] }],
    [
      '--sysctl net.ipv4.ip_forward=0',
      'cat /proc/sys/net/ipv4/ip_forward',
      '0\n',
      { Sysctls: { 'net.ipv4.ip_forward': '0' } },
    ],
    ['--sysctl kernel.msgmax=4096', 'cat /proc/sys/kernel/msgmax', '4096\n', {}],
    ['--annotation a.b/c=d', 'echo ran', 'ran\n', { Annotations: { 'a.b/c': 'd' } }],
    [
      '--ulimit nofile=100:200',
      'ulimit -Sn; ulimit -Hn',
      '100\n200\n',
      { Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }] },
    ],
    ['--oom-score-adj 500', 'cat /proc/self/oom_score_adj', '500\n', { OomScoreAdj: 500 }],
    ['--pids-limit 77', 'echo ran', 'ran\n', { PidsLimit: 77 }],
    [
      '--memory 64m --memory-reservation 32m',
      'echo ran',
      'ran\n',
      { Memory: 67108864, MemorySwap: 134217728, MemoryReservation: 33554432 },
    ],
    ['--cpus 0.5', 'echo ran', 'ran\n', { NanoCpus: 500_000_000 }],
    ['--init', 'cat /proc/1/comm', /init|tini|catatonit/, { Init: true }],
    ['--runtime runc', 'echo ran', 'ran\n', { Runtime: 'runc' }],
    ['--isolation default', 'echo ran', 'ran\n', { Isolation: 'default' }],
    ['--platform linux/amd64', 'uname -m', 'x86_64\n', {}],
    [
      '--device /dev/zero:/dev/nought:r',
      'head -c 3 /dev/nought | wc -c; echo x > /dev/nought',
      /^3\n/,
      { Devices: [{ PathOnHost: '/dev/zero', PathInContainer: '/dev/nought', CgroupPermissions: 'r' }] },
    ],
    ['--device-cgroup-rule "c 10:200 rwm"', 'echo ran', 'ran\n', { DeviceCgroupRules: ['c 10:200 rwm'] }],
    [
      '--tmpfs /t:size=1m,exec,mode=0700',
      'grep " /t " /proc/self/mountinfo',
      / \/t rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=1024k,mode=700/,
      { Tmpfs: { '/t': 'size=1m,exec,mode=0700' } },
    ],
    [
      '--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1700',
      'stat -c %a /t; df -k /t | tail -1',
      /^1700\ntmpfs +1024 /,
      {},
    ],
    [
      '--hostname named --domainname example.org',
      'hostname; cat /proc/sys/kernel/domainname',
      'named\nexample.org\n',
      {},
    ],
    ['--add-host far:192.0.2.7', 'grep far /etc/hosts', '192.0.2.7\tfar\n', { ExtraHosts: ['far:192.0.2.7'] }],
    [
      '--dns 192.0.2.53 --dns-search x.test --dns-option ndots:3',
      'cat /etc/resolv.conf',
      /nameserver 192\.0\.2\.53\nsearch x\.test\noptions ndots:3/,
      { Dns: ['192.0.2.53'], DnsSearch: ['x.test'], DnsOptions: ['ndots:3'] },
    ],
    ['-w /made/here -u app', 'pwd; id -un', '/made/here\napp\n', {}],
    ['--stop-signal SIGUSR1 --stop-timeout 7', 'echo ran', 'ran\n', { StopSignal: 'SIGUSR1', StopTimeout: 7 }],
    [
      '--health-cmd true --health-interval 9s --health-timeout 8s --health-retries 4 --health-start-period 7s --health-start-interval 2s',
      'echo ran',
      'ran\n',
      {
        Healthcheck: {
          Test: ['CMD-SHELL', 'true'],
          Interval: 9e9,
          Timeout: 8e9,
          Retries: 4,
          StartPeriod: 7e9,
          StartInterval: 2e9,
        },
      },
    ],
    ['--restart on-failure:3', 'echo ran', 'ran\n', { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } }],
    [
      '--expose 80 --expose 90-91/udp',
      'echo ran',
      'ran\n',
      { ExposedPorts: { '80/tcp': {}, '90/udp': {}, '91/udp': {} } },
    ],
  ])('%s', async (flags, command, said, shown) => {
    const words = [...flags.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
    const { stdout, stderr } = await engine().docker(['run', '--name', 'one', ...words, busybox, 'sh', '-c', command], {
      expect: 'any',
    });
    try {
      if (typeof said === 'string') expect(stdout, stderr).toBe(said);
      else expect(stdout, stderr).toMatch(said);
      const { HostConfig, Config } = await inspect('one');
      expect({ ...Config, ...HostConfig }).toMatchObject(shown);
    } finally {
      await docker('rm', '-f', 'one');
    }
  });

  test('files of variables and labels, and a file of the id', async () => {
    const env = file('env', '# comment\nA=1\nB=with space\nFROM_HERE\n');
    const labels = file('labels', 'x=y\nz=\n');
    const cid = join(engine().root, 'cid');
    const flags = ['--env-file', env, '-e', 'A=2', '--label-file', labels, '--label', 'x=own', '--cidfile', cid];
    const { stdout } = await engine().docker(
      ['run', '--name', 'one', ...flags, busybox, 'sh', '-c', 'echo "$A|$B|$FROM_HERE"'],
      { env: { FROM_HERE: 'here' } },
    );
    expect(stdout).toBe('2|with space|here\n');
    const { Config, Id, HostConfig } = await inspect('one');
    expect(Config['Labels']).toEqual({ x: 'own', z: '' });
    expect(HostConfig['ContainerIDFile']).toBe(cid);
    expect((await engine().run(['cat', cid])).stdout).toBe(Id);
    await docker('rm', 'one');
  });

  test('namespaces of another container', async () => {
    await docker('run', '-d', '--name', 'first', '--ipc', 'shareable', busybox, 'sleep', '600');
    await docker('exec', 'first', 'sh', '-c', 'echo shared > /dev/shm/x');
    const join_ = ['--ipc', 'container:first', '--pid', 'container:first', '--network', 'container:first'];
    const look = 'cat /dev/shm/x; cat /proc/1/cmdline | tr "\\0" " "; hostname';
    const { stdout } = await docker('run', '--rm', ...join_, busybox, 'sh', '-c', look);
    const { Id } = await inspect('first');
    expect(stdout).toBe(`shared\nsleep 600 ${Id.slice(0, 12)}\n`);
    await docker('run', '-d', '--name', 'private', busybox, 'sleep', '600');
    const { stderr } = await engine().docker(['run', '--rm', '--ipc', 'container:private', busybox, 'true'], {
      expect: 125,
    });
    expect(stderr).toContain('non-shareable IPC');
    await docker('rm', '-f', 'first', 'private');
  });

  test('binds: modes, propagation, recursion and what lies below', async () => {
    const source = join(engine().root, 'tree');
    mkdirSync(join(source, 'below'), { recursive: true });
    await engine().run([
      'sh',
      '-c',
      `mount --bind ${source} ${source} && mount --make-shared ${source} && mount -t tmpfs tmpfs ${source}/below`,
    ]);
    const run = (flags: string[], command: string) => docker('run', '--rm', ...flags, busybox, 'sh', '-c', command);
    const write = 'touch /b/x 2>/dev/null && echo top; touch /b/below/x 2>/dev/null && echo below; true';
    const mount = (more: string) => ['--mount', `type=bind,src=${source},dst=/b${more}`];
    const said = async (flags: string[]) => (await run(flags, write)).stdout;
    expect(await said(['-v', `${source}:/b`])).toBe('top\nbelow\n');
    expect(await said(['-v', `${source}:/b:ro`])).toBe('');
    expect(await said(['-v', `${source}:/b:ro,z`])).toBe('');
    expect(await said(mount(''))).toBe('top\nbelow\n');
    expect(await said(mount(',readonly'))).toBe('');
    expect(await said(mount(',readonly,bind-recursive=writable'))).toBe('below\n');
    expect(await said(mount(',readonly,bind-recursive=readonly,bind-propagation=rprivate'))).toBe('');
    const alone = (await run(mount(',bind-recursive=disabled'), 'cut -d " " -f 5 /proc/self/mountinfo | grep -c "^/b"'))
      .stdout;
    expect(alone).toBe('1\n');
    // What is mounted by the host later is seen where it propagates.
    for (const [mode, count] of [
      ['rslave', '1'],
      ['rshared', '1'],
      ['rprivate', '0'],
    ] as const) {
      await docker('run', '-d', '--name', 'seer', '-v', `${source}:/b:${mode}`, busybox, 'sleep', '600');
      await engine().run(['sh', '-c', `mkdir -p ${source}/later && mount -t tmpfs tmpfs ${source}/later`]);
      const seen = await docker('exec', 'seer', 'sh', '-c', 'grep -c " /b/later " /proc/self/mountinfo; true');
      expect(seen.stdout.trim(), mode).toBe(count);
      const [point] = JSON.parse((await docker('inspect', '-f', '{{json .Mounts}}', 'seer')).stdout);
      expect(point).toMatchObject({
        Type: 'bind',
        Source: source,
        Destination: '/b',
        Mode: mode,
        RW: true,
        Propagation: mode,
      });
      await engine().run(['umount', `${source}/later`]);
      await docker('rm', '-f', 'seer');
    }
    // Docker's client has no word for it yet.
    const create = `type=bind,src=${source}/made,dst=/m,bind-create-src=true`;
    const made = await engine().tare(['run', '--rm', '--mount', create, busybox, 'ls', '/m']);
    expect(made.stdout).toBe('');
    await engine().run(['sh', '-c', `umount ${source}/below && umount ${source}`]);
  });

  test('what the mount below a source forbids is forbidden in the container, whichever runtime', async () => {
    const source = join(engine().root, 'bare');
    mkdirSync(source);
    await engine().run([
      'sh',
      '-c',
      `mount -t tmpfs -o nosuid,nodev,noexec tmpfs ${source} && mount -o remount,bind,ro,nosuid,nodev,noexec ${source}`,
    ]);
    for (const runtime of ['crun', 'runc']) {
      const { stdout } = await docker(
        'run',
        '--rm',
        '--runtime',
        runtime,
        '-v',
        `${source}:/b`,
        busybox,
        'grep',
        ' /b ',
        '/proc/self/mountinfo',
      );
      expect(stdout, runtime).toMatch(/ \/b ro,nosuid,nodev,noexec/);
    }
    await engine().run(['umount', source]);
  });

  test('mounts of another container, all or read-only', async () => {
    const source = join(engine().root, 'given');
    mkdirSync(source);
    const flags = ['-v', 'shelf:/v', '-v', `${source}:/b:ro`, '--mount', 'type=tmpfs,dst=/t,tmpfs-size=1m'];
    await docker('create', '--name', 'giver', ...flags, busybox, 'true');
    const look = 'for d in v b t; do touch /$d/x 2>/dev/null && echo $d; done; df -k /t | tail -1';
    const run = (mode: string) => docker('run', '--rm', '--volumes-from', `giver${mode}`, busybox, 'sh', '-c', look);
    expect((await run('')).stdout).toMatch(/^v\nt\ntmpfs +1024 /);
    expect((await run(':rw,z')).stdout).toMatch(/^v\nt\n/);
    expect((await run(':ro')).stdout).toMatch(/^tmpfs +1024 /);
    const own = ['run', '--rm', '--volumes-from', 'giver', '-v', 'other:/v', busybox, 'ls', '/v'];
    expect((await engine().docker(own)).stdout).toBe('');
    const { stderr } = await engine().docker(['run', '--volumes-from', 'giver:rslave', busybox, 'true'], {
      expect: 125,
    });
    expect(stderr).toContain('invalid mode: rslave');
    await docker('rm', 'giver');
    await docker('volume', 'rm', 'shelf', 'other');
  });

  test.each<[what: string, body: object, status: number, message: string]>([
    ['an unknown user namespace', { UsernsMode: 'remap' }, 400, 'invalid user namespace mode: remap'],
    [
      'a size of the root',
      { StorageOpt: { size: '1g' } },
      501,
      "--storage-opt is supported only for overlay over xfs with 'pquota'",
    ],
    ['an unknown storage option', { StorageOpt: { speed: '1' } }, 400, 'unknown option speed'],
    ['a security option', { SecurityOpt: ['foo=bar'] }, 400, 'invalid --security-opt 2: "foo=bar"'],
    [
      'writable cgroups of the host',
      { SecurityOpt: ['writable-cgroups'], CgroupnsMode: 'host' },
      400,
      'writable-cgroups needs a cgroup namespace',
    ],
    [
      'an option of tmpfs',
      { Mounts: [{ Type: 'tmpfs', Target: '/t', TmpfsOptions: { Options: [['foo']] } }] },
      400,
      'invalid tmpfs option "foo"',
    ],
    [
      'a missing source',
      { Mounts: [{ Type: 'bind', Source: '/not/there', Target: '/t' }] },
      400,
      'invalid mount config for type "bind": bind source path does not exist: /not/there',
    ],
    [
      'a type of mounts',
      { Mounts: [{ Type: 'npipe', Source: 'x', Target: '/t' }] },
      400,
      'mount type unknown: "npipe"',
    ],
    [
      'a place taken twice',
      { Binds: ['a1:/t'], Mounts: [{ Type: 'volume', Source: 'b1', Target: '/t' }] },
      400,
      'Duplicate mount point: /t',
    ],
    [
      'an image that is not there',
      { Mounts: [{ Type: 'image', Source: 'nobody/has:it', Target: '/t' }] },
      400,
      'No such image: nobody/has:it',
    ],
    ['isolation', { Isolation: 'hyperv' }, 400, 'invalid isolation'],
    ['limits of Windows', { CpuCount: 2 }, 501, 'CpuCount is a limit of Windows containers'],
    ['a volume driver', { VolumeDriver: 'sshfs', Binds: ['c1:/t'] }, 400, 'plugin "sshfs" not found'],
    ['a container of --volumes-from', { VolumesFrom: ['nobody'] }, 400, 'No such container: nobody'],
  ])('%s is refused, and nothing is made', async (_, host, status, message) => {
    const answer = await engine().api<{ message: string }>('POST', '/containers/create', {
      Image: busybox,
      HostConfig: host,
    });
    expect(answer.body.message).toContain(message);
    expect(answer.status).toBe(status);
    expect((await docker('ps', '-aq')).stdout).toBe('');
    expect((await docker('volume', 'ls', '-q')).stdout).toBe('');
  });

  test('a platform that the image has not is refused', async () => {
    const answer = await engine().api('POST', '/containers/create?platform=linux/s390x', { Image: busybox });
    // Docker's client then asks a registry for it.
    expect(answer.status).toBe(404);
    const { stderr } = await engine().docker(['run', '--pull', 'never', '--platform', 'linux/s390x', busybox, 'true'], {
      expect: 125,
    });
    expect(stderr).toContain(
      `image with reference ${busybox} was found but does not provide the specified platform (linux/s390x)`,
    );
  });

  test('a container with a whole init: privileged, tmpfs on /run, an anonymous /var, cgroups of its own', async () => {
    const inittab = file(
      'inittab',
      '::sysinit:/bin/mkdir -p /run/state /var/lib\n::respawn:/bin/sleep 1000\n::ctrlaltdel:/bin/true\n::shutdown:/bin/touch /var/lib/shut\n',
    );
    const flags = [
      '--privileged',
      '--tmpfs',
      '/run',
      '--tmpfs',
      '/tmp',
      '-v',
      '/var',
      '--cgroupns=private',
      '--stop-signal',
      'SIGUSR2',
    ];
    await docker('run', '-d', '--name', 'machine', ...flags, '-v', `${inittab}:/etc/inittab:ro`, busybox, '/bin/init');
    const look =
      'cat /proc/1/comm; ls -d /run/state; mount -t tmpfs | grep -c " /run "; group=$(ls -d /sys/fs/cgroup/pids 2>/dev/null || echo /sys/fs/cgroup); mkdir $group/service && echo $$ > $group/service/cgroup.procs && grep -c "/service$" /proc/self/cgroup; pidof sleep > /dev/null && echo respawned';
    const deadline = Date.now() + 60_000;
    for (;;) {
      const { stdout } = await engine().docker(['exec', 'machine', 'sh', '-c', look], { expect: 'any' });
      if (/^init\n\/run\/state\n1\n1\nrespawned\n$/.test(stdout)) break;
      expect(Date.now(), stdout).toBeLessThan(deadline);
      await docker(
        'exec',
        'machine',
        'sh',
        '-c',
        'rmdir /sys/fs/cgroup/pids/service /sys/fs/cgroup/service 2>/dev/null; true',
      );
    }
    const [volume] = JSON.parse((await docker('inspect', '-f', '{{json .Mounts}}', 'machine')).stdout).filter(
      ({ Type }: { Type: string }) => Type === 'volume',
    );
    expect(volume).toMatchObject({ Destination: '/var', RW: true });
    await docker('stop', '-t', '20', 'machine');
    expect((await docker('run', '--rm', '--volumes-from', 'machine', busybox, 'ls', '/var/lib')).stdout).toBe('shut\n');
    await docker('rm', '-v', 'machine');
    expect((await docker('volume', 'ls', '-q')).stdout).toBe('');
  });
});

test('--use-api-socket gives the engine’s socket', async () => {
  await using engine = await TestEngine.start({ face: 'docker' });
  await engine.run(['sh', '-c', `mount -t tmpfs tmpfs /run && ln -s ${engine.socket} /run/docker.sock`]);
  const { stdout } = await engine.docker([
    'run',
    '--rm',
    '--use-api-socket',
    busybox,
    'sh',
    '-c',
    'test -S /var/run/docker.sock && echo socket',
  ]);
  expect(stdout).toBe('socket\n');
});
