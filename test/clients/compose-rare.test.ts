import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { Compose } from '../support/compose.ts';
import { withEngine } from '../support/faces.ts';

// One project; the tests look at what came of it, and the last ones do it again without its file and take it down.
describe('what a project asks for more seldom, with docker compose', {
  ...shows({ client: 'docker compose' }),
  timeout: 240_000,
}, () => {
  const engine = withEngine();
  let compose: Compose;
  const docker = async (...args: string[]): Promise<string> => (await engine().docker(args)).stdout.trim();
  const inside = (service: string, command: string): Promise<string> =>
    compose.text('exec', '-T', service, 'sh', '-c', command);
  const inspect = async (service: string): Promise<object> =>
    JSON.parse(await docker('inspect', '--format', '{{json .}}', `rare-${service}-1`));

  beforeAll(async () => {
    const folder = join(engine().root, 'rare');
    cpSync(join(import.meta.dirname, 'features'), folder, { recursive: true });
    const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
    const environment = { ARCHITECTURE: architecture, COMPOSE_FILE: join(folder, 'rare.yaml') };
    compose = new Compose(engine(), folder, environment);
    await compose.run(['create']);
    await compose.run(['up', '--detach', '--wait']);
  });

  test('gateway priorities, names and sysctls of interfaces, IPv6 and link-local addresses', async () => {
    expect(await inside('networked', 'ip route show default')).toMatch(/ dev wan0/);
    expect(await inside('networked', 'cat /proc/sys/net/ipv4/conf/lan0/log_martians')).toBe('1');
    const addresses = await inside('networked', 'ip -o address show dev wan0');
    expect(addresses).toContain('fd00:79::20/64');
    expect(addresses).toContain('169.254.7.9');
  });

  test('namespaces of the host, no network, a private cgroup namespace, privilege', async () => {
    expect(await inside('host', 'readlink /proc/self/ns/net')).toBe(
      (await engine().run(['readlink', '/proc/self/ns/net'])).stdout.trim(),
    );
    expect(await inside('none', 'ls /sys/class/net')).toBe('lo');
    expect(await inspect('none')).toMatchObject({ HostConfig: { Privileged: true, CgroupnsMode: 'private' } });
    expect(await inspect('host')).toMatchObject({
      HostConfig: { NetworkMode: 'host', UTSMode: 'host', PidMode: 'host', CgroupnsMode: 'host', UsernsMode: 'host' },
    });
  });

  test('devices, their rules, quotas and restart policies of deploy', async () => {
    expect(await inspect('devices')).toMatchObject({
      HostConfig: {
        Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/nothing', CgroupPermissions: 'r' }],
        DeviceCgroupRules: ['c 1:5 r'],
        Memory: 67_108_864,
        MemorySwap: 134_217_728,
        CpuQuota: 50_000,
        CpuPeriod: 100_000,
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 4 },
      },
    });
    expect(await inside('devices', 'stat -c %F /dev/nothing')).toBe('character special file');
  });

  test('a part of a volume, an image as a volume, and a dependency that is not required', async () => {
    expect(await inside('mounted', 'ls /part; cat /image/www/index.html; touch /one.env 2>&1 || true')).toMatch(
      /^deep\nHello from Tare\n.*Read-only file system/,
    );
  });

  test('replicas share a range of ports; runtime, platform and pull policy', async () => {
    const ports = [];
    for (const index of ['1', '2', '3']) ports.push(await compose.text('port', '--index', index, 'many', '80'));
    expect(ports.sort()).toEqual(['0.0.0.0:18200', '0.0.0.0:18201', '0.0.0.0:18202']);
    expect(await inspect('many')).toMatchObject({ HostConfig: { Runtime: 'crun' } });
  });

  test('run with a name, ports, an entrypoint, in the background; removed by its name', async () => {
    await compose.run([
      'run',
      '--detach',
      '--name',
      'mine',
      '--publish',
      '127.0.0.1:18300:80',
      '--entrypoint',
      'sleep',
      '--label',
      'own=yes',
      '--no-deps',
      'many',
      '1000',
    ]);
    expect(await docker('ps', '--filter', 'name=^mine$', '--format', '{{.Names}} {{.Command}}', '--no-trunc')).toBe(
      'mine "sleep 1000"',
    );
    expect(await docker('port', 'mine')).toBe('80/tcp -> 127.0.0.1:18300');
    expect(await docker('ps', '--quiet', '--filter', 'label=com.docker.compose.oneoff=True')).not.toBe('');
    await docker('rm', '--force', 'mine');
  });

  test('commit and export of a service', async () => {
    await inside('none', 'echo kept > /root/kept');
    await compose.run(['commit', '--message', 'as it is', 'none', 'committed:one']);
    expect(await docker('run', '--rm', 'committed:one', 'cat', '/root/kept')).toBe('kept');
    const archive = join(compose.folder, 'none.tar');
    await compose.run(['export', '--output', archive, 'none']);
    expect((await engine().run(['tar', '-tf', archive])).stdout).toContain('root/kept');
    await docker('rmi', 'committed:one');
  });

  test('a project is found by its labels, without its file: ps, stop, start, logs, down', async () => {
    const away = { cwd: '/' };
    const bare = (...args: string[]) =>
      engine().docker(['compose', '--project-name', 'rare', ...args], { ...away, timeoutMs: 120_000 });
    expect((await bare('ps', '--all', '--services')).stdout.trim().split('\n').sort()).toEqual([
      ...['devices', 'host', 'many', 'mounted', 'networked', 'none', 'prepares'],
    ]);
    await bare('stop', 'none');
    await bare('start', 'none');
    await bare('restart', 'host');
    await bare('logs', '--tail', '1');
    await bare('down', '--volumes', '--timeout', '1');
    expect(await docker('ps', '--all', '--quiet')).toBe('');
    expect(await docker('volume', 'ls', '--quiet')).toBe('');
    expect(await docker('network', 'ls', '--quiet', '--filter', 'type=custom')).toBe('');
  });
});
