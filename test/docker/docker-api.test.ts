import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';
import { RawConnection } from '../support/raw-connection.ts';

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');

describe('the Docker Engine API over a real engine', () => {
  const engine = withEngine({ face: 'docker' });
  const docker = (...args: string[]) => engine().docker(args);
  const start = async (id: string): Promise<void> => {
    expect(await engine().api('POST', `/containers/${id}/start`)).toEqual({ status: 204, body: undefined });
  };
  const create = async (config: object): Promise<string> => {
    const { status, body } = await engine().api<{ Id: string }>('POST', '/containers/create', {
      Image: busybox,
      ...config,
    });
    expect(status).toBe(201);
    return body.Id;
  };

  test.each(['1.24', '1.40', '1.45', '1.50'])('docker’s client at API %s', async (version) => {
    const env = { DOCKER_API_VERSION: version };
    const { stdout } = await engine().docker(['run', '--rm', busybox, 'echo', 'hello'], { env });
    expect(stdout).toBe('hello\n');
    await engine().docker(['ps', '-a'], { env });
    await engine().docker(['images'], { env });
  });

  test('docker’s client at an API that is too new', async () => {
    const { stderr } = await engine().docker(['ps'], { env: { DOCKER_API_VERSION: '1.99' }, expect: 1 });
    expect(stderr).toContain('client version 1.99 is too new. Maximum supported API version is 1.51');
  });

  test('version, info and events have what their formats ask for', async () => {
    const version = await docker(
      'version',
      '--format',
      '{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}',
    );
    expect(version.stdout.trim()).toBe('1.51 1.24 linux');
    const info = await docker('info', '--format', '{{.OSType}} {{.Swarm.LocalNodeState}} {{.DefaultRuntime}}');
    expect(info.stdout.trim()).toBe('linux inactive crun');
    await docker('run', '--rm', '--name', 'seen', busybox, 'true');
    const { stdout } = await docker(
      ...['events', '--since', '10m', '--until', String(Math.ceil(Date.now() / 1000)), '--format', '{{json .}}'],
      ...['--filter', 'container=seen'],
    );
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.map(({ Action }) => Action)).toEqual(
      expect.arrayContaining(['create', 'attach', 'start', 'die', 'destroy']),
    );
    for (const event of events) {
      expect(event).toMatchObject({ Type: 'container', scope: 'local', status: event.Action, from: busybox });
      expect(Math.floor(event.timeNano / 1e9)).toBe(event.time);
    }
  });

  test('input of many megabytes passes through run and exec, whole and to its end', async () => {
    const input = randomBytes(20_000_000);
    const run = await engine().docker(['run', '-i', '--name', 'piped', busybox, 'cat'], { input });
    expect(md5(run.bytes)).toBe(md5(input));
    expect(md5((await engine().docker(['logs', 'piped'])).bytes)).toBe(md5(input));
    await docker('rm', 'piped');
    await docker('run', '-d', '--name', 'pipe', busybox, 'sleep', '1000');
    const exec = await engine().docker(['exec', '-i', 'pipe', 'cat'], { input });
    expect(md5(exec.bytes)).toBe(md5(input));
    await docker('rm', '-f', 'pipe');
  });

  test.each([
    {
      how: 'with an Upgrade header',
      headers: 'Connection: Upgrade\r\nUpgrade: tcp\r\n',
      status: '101 UPGRADED',
      type: 'multiplexed',
    },
    { how: 'without one', headers: '', status: '200 OK', type: 'raw' },
  ])('a raw client attaches $how, and closes its input while output goes on', async ({ headers, status, type }) => {
    const id = await create({ Cmd: ['sh', '-c', 'cat; echo end'], OpenStdin: true, StdinOnce: true });
    const raw = new RawConnection(engine().socket);
    const query = 'stream=1&stdin=1&stdout=1&stderr=1';
    raw.socket.write(`POST /v1.51/containers/${id}/attach?${query} HTTP/1.1\r\nHost: docker\r\n${headers}\r\n`);
    await raw.has('\r\n\r\n');
    expect(raw.text).toContain(`HTTP/1.1 ${status}\r\n`);
    expect(raw.text).toContain(`application/vnd.docker.${type}-stream`);
    await start(id);
    raw.socket.write('to and fro\n');
    await raw.has('\x01\0\0\0\0\0\0\x0bto and fro\n');
    raw.socket.end();
    expect(await raw.end()).toMatch(/\x01\0\0\0\0\0\0\x04end\n$/);
    await engine().api('DELETE', `/containers/${id}`);
  });

  test('two streams keep their order and their names', async () => {
    const id = await create({ Cmd: ['sh', '-c', 'echo 1; sleep 0.2; echo 2 >&2; sleep 0.2; echo 3'] });
    await start(id);
    await engine().api('POST', `/containers/${id}/wait`);
    const raw = new RawConnection(engine().socket);
    raw.socket.write(`GET /containers/${id}/logs?stdout=1&stderr=1 HTTP/1.0\r\nHost: docker\r\n\r\n`);
    const text = await raw.end();
    expect(text).toContain('\x01\0\0\0\0\0\0\x021\n\x02\0\0\0\0\0\0\x022\n\x01\0\0\0\0\0\0\x023\n');
    await engine().api('DELETE', `/containers/${id}`);
  });

  test('wait answers its headers at once and its result later', async () => {
    const id = await create({ Cmd: ['sh', '-c', 'exit 9'] });
    const raw = new RawConnection(engine().socket);
    raw.socket.write(
      `POST /containers/${id}/wait?condition=next-exit HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n`,
    );
    await raw.has('HTTP/1.1 200 OK');
    expect(raw.text).not.toContain('StatusCode');
    await start(id);
    expect(await raw.end()).toContain('{"StatusCode":9}');
    expect((await engine().api('DELETE', `/containers/${id}`)).status).toBe(204);
  });

  test('what was asked for comes back from inspect', async () => {
    const id = await create({
      Cmd: ['sleep', '1000'],
      Labels: { a: 'b' },
      ExposedPorts: { '53/udp': {} },
      StopSignal: 'SIGKILL',
      HostConfig: {
        Memory: 64 * 1024 * 1024,
        PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] },
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
        Ulimits: [{ Name: 'nofile', Soft: 64, Hard: 64 }],
        Tmpfs: { '/scratch': 'size=1m' },
        Init: false,
      },
    });
    await start(id);
    const { body } = await engine().api<Record<string, never>>('GET', `/containers/${id}/json`);
    expect(body).toMatchObject({
      Id: id,
      Platform: 'linux',
      State: { Status: 'running', Running: true },
      Config: { Image: busybox, Labels: { a: 'b' }, StopSignal: 'SIGKILL', Cmd: ['sleep', '1000'] },
      HostConfig: {
        NetworkMode: 'bridge',
        Memory: 64 * 1024 * 1024,
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
        Ulimits: [{ Name: 'nofile', Soft: 64, Hard: 64 }],
        Tmpfs: { '/scratch': 'size=1m' },
        Init: false,
      },
      NetworkSettings: {
        Networks: { bridge: { IPPrefixLen: 16 } },
        Ports: { '53/udp': null, '80/tcp': [{ HostIp: '127.0.0.1', HostPort: expect.stringMatching(/^[0-9]+$/) }] },
      },
    });
    const list = await engine().api<{ Ports: object[]; Status: string }[]>(
      'GET',
      `/containers/json?filters=${encodeURIComponent(JSON.stringify({ id: [id] }))}`,
    );
    expect(list.body[0]?.Ports).toEqual(
      expect.arrayContaining([
        { PrivatePort: 53, Type: 'udp' },
        expect.objectContaining({ IP: '127.0.0.1', PrivatePort: 80, Type: 'tcp' }),
      ]),
    );
    const stats = await engine().api('GET', `/containers/${id}/stats?stream=0`);
    expect(stats.body).toMatchObject({
      id,
      memory_stats: { limit: 64 * 1024 * 1024 },
      cpu_stats: { online_cpus: expect.any(Number), system_cpu_usage: expect.any(Number) },
      precpu_stats: { system_cpu_usage: expect.any(Number) },
      networks: { eth0: expect.anything() },
    });
    expect((await engine().api('DELETE', `/containers/${id}`)).status).toBe(409);
    expect((await engine().api('POST', `/containers/${id}/start`)).status).toBe(304);
    expect((await engine().api('DELETE', `/containers/${id}?force=1&v=1`)).status).toBe(204);
    expect((await engine().api('GET', `/containers/${id}/json`)).status).toBe(404);
  });

  test.each([
    ['a missing image', ['run', 'no-such-image', 'true'], "Unable to find image 'no-such-image:latest' locally"],
    ['a missing network', ['run', '--network', 'nope', busybox, 'true'], 'network nope not found'],
    ['a name that is none', ['run', '--name', 'x', busybox, 'true'], 'Invalid container name (x)'],
    ['an unknown restart policy', ['run', '--restart', 'foo', busybox, 'true'], "unknown policy 'foo'"],
    ['a missing bind source', ['run', '--mount', 'type=bind,src=/nope,dst=/x', busybox, 'true'], '/nope'],
    ['a GPU', ['run', '--gpus', 'all', busybox, 'true'], 'could not select device driver'],
  ])('%s is refused with 125', async (_, args, message) => {
    const before = (await docker('ps', '-aq')).stdout;
    const { stderr } = await engine().docker([...args], { expect: 125 });
    expect(stderr).toContain(message);
    expect((await docker('ps', '-aq')).stdout).toBe(before);
  });

  test('a client that leaves ends what it followed', async () => {
    await docker('run', '-d', '--name', 'followed', busybox, 'sh', '-c', 'while true; do echo tick; sleep 0.05; done');
    for (const target of ['logs?follow=1&stdout=1', 'stats']) {
      const raw = new RawConnection(engine().socket);
      raw.socket.write(`GET /containers/followed/${target} HTTP/1.1\r\nHost: docker\r\n\r\n`);
      await raw.has(target === 'stats' ? 'cpu_stats' : 'tick');
      raw.socket.destroy();
    }
    const { stdout } = await docker('exec', 'followed', 'echo', 'still here');
    expect(stdout).toBe('still here\n');
    await docker('rm', '-f', 'followed');
  });
});
