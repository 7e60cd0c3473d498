import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { Compose, patiently } from '../support/compose.ts';
import { withEngine } from '../support/faces.ts';

interface Inspected {
  Id: string;
  NetworkSettings: { Networks: object };
  Mounts: { Destination: string; Name: string }[];
}

// One project; the tests look at what came of it, and the last one takes it down.
describe('what a project can ask for, with docker compose', {
  ...shows({ client: 'docker compose' }),
  timeout: 240_000,
}, () => {
  const engine = withEngine();
  let compose: Compose;
  const docker = async (...args: string[]): Promise<string> => (await engine().docker(args)).stdout.trim();
  /** Runs a shell command in a service. */
  const inside = (service: string, command: string): Promise<string> =>
    compose.text('exec', '-T', service, 'sh', '-c', command);
  const inspect = async (service: string): Promise<Inspected> =>
    JSON.parse(await docker('inspect', '--format', '{{json .}}', `features-${service}-1`));

  beforeAll(async () => {
    const folder = join(engine().root, 'features');
    cpSync(join(import.meta.dirname, 'features'), folder, { recursive: true });
    compose = new Compose(engine(), folder, { FROM_SHELL: 'somebody', SPOKEN: 'friend' });
    await docker('network', 'create', 'outside-net');
    await docker('volume', 'create', 'outside-data');
    await compose.run(['up', '--detach', '--wait']);
  });

  test('include, and restart policies', async () => {
    expect(await inspect('included')).toMatchObject({
      State: { Running: true },
      HostConfig: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } },
    });
  });

  test('hostname, domain, fixed address, alias and MAC on a network with an own subnet', async () => {
    expect(
      await inside(
        'anchor',
        'hostname; hostname -f; ip -o -4 address show eth0 | tr -s " " | cut -d" " -f4; cat /sys/class/net/eth0/address',
      ),
    ).toBe('harbour\nharbour.example.test\n10.78.0.20/24\n02:42:0a:4e:00:14');
    expect(await inside('mounts', 'getent hosts port || nslookup port')).toContain('10.78.0.20');
    expect(JSON.parse(await docker('network', 'inspect', 'features_default'))[0]).toMatchObject({
      Labels: { kind: 'made', 'com.docker.compose.network': 'default' },
      Options: { 'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1' },
      IPAM: { Config: [{ Subnet: '10.78.0.0/24', IPRange: '10.78.0.128/25', Gateway: '10.78.0.1' }] },
    });
  });

  test('network_mode, pid and ipc of another service, and volumes_from', async () => {
    const id = (await inspect('anchor')).Id;
    expect(await inspect('shares')).toMatchObject({
      HostConfig: { NetworkMode: `container:${id}`, PidMode: `container:${id}`, IpcMode: `container:${id}` },
    });
    for (const kind of ['net', 'pid', 'ipc']) {
      expect(await inside('shares', `readlink /proc/self/ns/${kind}`)).toBe(
        await inside('anchor', `readlink /proc/self/ns/${kind}`),
      );
    }
    await inside('anchor', 'echo shared > /data/note');
    expect(await inside('shares', 'cat /data/note')).toBe('shared');
  });

  test('links, extra_hosts and dns', async () => {
    const hosts = await inside('hosts', 'cat /etc/hosts');
    expect(hosts).toMatch(/^192\.0\.2\.7\s+far\.example$/m);
    expect(hosts).toMatch(/^[\d.]+\s+outside$/m);
    expect(await inside('hosts', 'nslookup mooring.')).toContain('10.78.0.20');
    expect(await inside('hosts', 'cat /etc/resolv.conf')).toMatch(/search example\.test\n(?:.*\n)*options .*timeout:1/);
    expect(await inspect('hosts')).toMatchObject({ HostConfig: { Dns: ['192.0.2.53'] } });
  });

  test('limits: cpus, memory, processes, ulimits, sysctls, sizes of tmpfs and shm', async () => {
    expect(await inspect('limits')).toMatchObject({
      HostConfig: {
        NanoCpus: 250_000_000,
        Memory: 33_554_432,
        MemoryReservation: 16_777_216,
        PidsLimit: 50,
        CpuShares: 512,
        CpusetCpus: '0',
        OomScoreAdj: 100,
        ShmSize: 8_388_608,
        Sysctls: { 'net.core.somaxconn': '321' },
        LogConfig: { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '2' } },
      },
    });
    expect(
      await inside('limits', 'ulimit -Sn; ulimit -Hn; cat /proc/sys/net/core/somaxconn; cat /proc/1/oom_score_adj'),
    ).toBe('100\n200\n321\n100');
    expect(await inside('limits', "df -k /run /dev/shm | awk 'NR>1 {print $2}'")).toBe('64\n8192');
    expect(await inside('limits', "grep Cpus_allowed_list /proc/self/status | tr -d '[:space:]'")).toBe(
      'Cpus_allowed_list:0',
    );
  });

  test('a read-only root, capabilities, no new privileges, user, groups and working folder', async () => {
    expect(await inside('limits', 'id -u; id -g; id -G; pwd')).toBe('1000\n1000\n1000 44\n/tmp');
    expect(await inside('limits', 'grep -E "NoNewPrivs|CapBnd" /proc/self/status | tr -d "\\t"')).toBe(
      'CapBnd:0000000000000400\nNoNewPrivs:1',
    );
    expect(await inside('limits', 'touch /x 2>&1 || true')).toContain('Read-only file system');
  });

  test('env_file, environment, labels, annotations, stop_signal and entrypoint', async () => {
    expect(await inside('words', 'echo "$FIRST $SECOND $QUOTED $FROM_SHELL"')).toBe(
      'one overridden with space somebody',
    );
    expect(await inspect('words')).toMatchObject({
      Config: {
        Labels: { 'org.example.kind': 'words', 'org.example.quoted': 'a "b" $c' },
        StopSignal: 'SIGKILL',
        Entrypoint: ['sh', '-c'],
      },
      HostConfig: { Annotations: { 'org.example.note': 'kept' } },
    });
  });

  test('secrets of the environment and configs with a content are written into the created container', async () => {
    expect(await inside('words', 'cat /run/secrets/word; echo; cat /etc/written')).toBe('friend\nwritten for somebody');
  });

  test('post_start hooks run as their user, with their environment', async () => {
    await patiently('the hook ran', async () =>
      (await compose.text('logs', '--no-log-prefix', 'hooks')).includes('seen'),
    );
    expect(await inside('hooks', 'cat /tmp/after; stat -c %U /tmp/after')).toBe('glad\napp');
  });

  test('external networks and volumes, binds, tmpfs, anonymous and read-only volumes', async () => {
    expect(Object.keys((await inspect('mounts')).NetworkSettings.Networks).sort()).toEqual([
      'features_default',
      'outside-net',
    ]);
    expect(existsSync(join(compose.folder, 'made/by/compose'))).toBe(true);
    const mounts = (await inspect('mounts')).Mounts.sort((one, other) =>
      one.Destination < other.Destination ? -1 : 1,
    );
    expect(mounts).toEqual([
      expect.objectContaining({ Type: 'volume', Destination: '/anonymous', RW: true }),
      expect.objectContaining({
        Type: 'bind',
        Destination: '/made',
        Propagation: 'rprivate',
        Source: join(compose.folder, 'made/by/compose'),
      }),
      expect.objectContaining({ Type: 'volume', Name: 'outside-data', Destination: '/outside', RW: true }),
      expect.objectContaining({ Type: 'volume', Name: 'features_anchor-data', Destination: '/part', RW: false }),
    ]);
    expect(await inside('anchor', "df -k /scratch | awk 'NR>1 {print $2}'; stat -c %a /scratch")).toBe('1024\n700');
  });

  test('anonymous volumes live through a recreation, unless they are to be renewed', async () => {
    const volume = async (): Promise<string> =>
      (await inspect('mounts')).Mounts.find(({ Destination }) => Destination === '/anonymous')!.Name;
    const first = await volume();
    await compose.run(['up', '--detach', '--no-deps', '--force-recreate', 'mounts']);
    expect(await volume()).toBe(first);
    await compose.run(['up', '--detach', '--no-deps', '--force-recreate', '--renew-anon-volumes', 'mounts']);
    expect(await volume()).not.toBe(first);
  });

  test('what a project still needs is not removed, and what is external stays', async () => {
    const { stderr } = await engine().docker(['network', 'rm', 'features_default'], { expect: 1 });
    expect(stderr).toMatch(/error while removing network: network features_default has active endpoints/);
    const volume = await engine().docker(['volume', 'rm', 'features_hooks-data'], { expect: 1 });
    expect(volume.stderr).toMatch(/remove features_hooks-data: volume is in use - \[[0-9a-f]{64}\]/);
    const taken = await engine().docker(['run', '--name', 'features-anchor-1', 'busybox:test', 'true'], {
      expect: 125,
    });
    expect(taken.stderr).toMatch(
      /Conflict\. The container name "\/features-anchor-1" is already in use by container "[0-9a-f]{64}"\. You have to remove \(or rename\) that container to be able to reuse that name\./,
    );
  });

  test('pre_stop hooks run, and down leaves what is external', async () => {
    await compose.run(['stop', 'hooks']);
    expect(
      await docker('run', '--rm', '--volume', 'features_hooks-data:/data', 'busybox:test', 'cat', '/data/farewell'),
    ).toBe('farewell');
    await compose.run(['down', '--volumes']);
    expect(await docker('ps', '--all', '--quiet')).toBe('');
    // What --renew-anon-volumes replaced belongs to nobody.
    await docker('volume', 'prune', '--force');
    expect(await docker('volume', 'ls', '--quiet')).toBe('outside-data');
    expect(await docker('network', 'ls', '--format', '{{.Name}}', '--filter', 'type=custom')).toBe('outside-net');
  });
});
