import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type DockerEndpoint, shows } from '../../support/compatibility.ts';
import { busybox } from '../../support/engine.ts';
import { eventually } from '../../support/execute.ts';
import { withEngine } from '../../support/faces.ts';
import { RawConnection } from '../../support/raw-connection.ts';
import { Caller } from './caller.ts';

const endpoints: readonly DockerEndpoint[] = [
  'GET /containers/{id}/logs',
  'POST /containers/{id}/attach',
  'GET /containers/{id}/attach/ws',
  'POST /containers/{id}/exec',
  'POST /exec/{id}/start',
  'POST /exec/{id}/resize',
  'GET /exec/{id}/json',
];

const upgrade = { connection: 'Upgrade', upgrade: 'tcp' };
/** A frame of docker's multiplexed stream. */
const frame = (stream: 1 | 2, text: string) =>
  `${String.fromCharCode(stream)}\0\0\0\0\0\0${String.fromCharCode(text.length)}${text}`;

describe('streams of containers and execs', shows({ endpoints }), () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);
  const create = async (name: string, config: object = {}): Promise<string> => {
    const body = { Image: busybox, Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'none' }, ...config };
    return (await api.call<{ Id: string }>('POST /containers/create', { query: { name }, body })).body.Id;
  };
  const run = async (name: string, config: object = {}): Promise<string> => {
    const id = await create(name, config);
    await api.call('POST /containers/{id}/start', { of: id });
    return id;
  };
  const remove = (name: string) => api.call('DELETE /containers/{id}', { of: name, query: { force: true } });
  const exec = async (of: string, config: object): Promise<string> =>
    (await api.call<{ Id: string }>('POST /containers/{id}/exec', { of, body: config })).body.Id;
  /** A request by hand, on a connection that stays open. */
  const raw = (request: string, headers: Record<string, string> = {}, body = ''): RawConnection => {
    const connection = new RawConnection(engine().socket);
    const all = {
      host: 'docker',
      ...(body && { 'content-type': 'application/json', 'content-length': body.length }),
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    connection.socket.write(`${request} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    return connection;
  };
  const webSocket = (path: string) => new WebSocket(`ws+unix:${engine().socket}:${path}`);
  /** What a WebSocket gets until it is closed: bytes, and whether they came as text. */
  const received = async (socket: WebSocket) => {
    const messages: { text: string; isBinary: boolean }[] = [];
    socket.on('message', (data: Buffer, isBinary: boolean) =>
      messages.push({ text: data.toString('latin1'), isBinary }),
    );
    await once(socket, 'close');
    return {
      text: messages.map(({ text }) => text).join(''),
      kinds: new Set(messages.map(({ isBinary }) => isBinary)),
    };
  };

  test('logs: streams, times, tail, since, until, follow', async () => {
    const id = await run('wordy', { Cmd: ['sh', '-c', 'echo one; echo two >&2; sleep 1.1; echo three'] });
    await api.call('POST /containers/{id}/wait', { of: id });
    const logs = async (query: Record<string, string | number>, version?: string) =>
      await api.call('GET /containers/{id}/logs', { of: id, query, ...(version && { version }) });
    const both = await logs({ stdout: 1, stderr: 1 });
    expect(both.headers['content-type']).toBe('application/vnd.docker.multiplexed-stream');
    expect(both.bytes.toString('latin1')).toContain(frame(1, 'one\n'));
    expect(both.bytes.toString('latin1')).toContain(frame(2, 'two\n'));
    expect((await logs({ stdout: 1 }, '1.41')).headers['content-type']).toBe('application/vnd.docker.raw-stream');
    expect((await logs({ stdout: 0, stderr: 1 })).bytes.toString('latin1')).toBe(frame(2, 'two\n'));
    expect((await logs({ stdout: 1, stderr: 1, tail: 1 })).bytes.toString('latin1')).toBe(frame(1, 'three\n'));
    expect((await logs({ stdout: 1, tail: 'all', follow: 1 })).bytes.toString('latin1')).toBe(
      frame(1, 'one\n') + frame(1, 'three\n'),
    );
    const timed = (await logs({ stdout: 1, timestamps: 1 })).bytes.toString('latin1').slice(8);
    const time = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) one\n/.exec(timed)?.[1];
    expect(time).toBeDefined();
    const after = Date.parse(time!) / 1000 + 0.6;
    expect((await logs({ stdout: 1, since: after })).bytes.toString('latin1')).toBe(frame(1, 'three\n'));
    expect((await logs({ stdout: 1, until: after })).bytes.toString('latin1')).toBe(frame(1, 'one\n'));
    const none = await api.call('GET /containers/{id}/logs', { of: id, expect: 400 });
    expect(none.message).toBe('Bad parameters: you must choose at least one stream');
    const missing = await api.call('GET /containers/{id}/logs', { of: 'nope', query: { stdout: 1 }, expect: 404 });
    expect(missing.message).toBe('No such container: nope');
    await remove(id);
  });

  test('attach: what is said before the connection is taken over', async () => {
    const id = await run('attached');
    const query = { stream: 1, stdin: 1, stdout: 1, stderr: 1, logs: 1, detachKeys: 'ctrl-' };
    expect((await api.call('POST /containers/{id}/attach', { of: id, query, expect: 400 })).message).toMatch(/ctrl-/);
    expect((await api.call('POST /containers/{id}/attach', { of: 'nope', expect: 404 })).message).toBe(
      'No such container: nope',
    );
    await api.call('POST /containers/{id}/pause', { of: id });
    expect((await api.call('POST /containers/{id}/attach', { of: id, expect: 409 })).message).toBe(
      `container ${id} is paused, unpause the container before attach`,
    );
    await remove(id);
  });

  test.each([
    { version: '1.51', headers: upgrade, status: '101 UPGRADED', type: 'multiplexed' },
    { version: '1.41', headers: upgrade, status: '101 UPGRADED', type: 'raw' },
    { version: '1.51', headers: {}, status: '200 OK', type: 'raw' },
  ])('attach, API $version, $status: past and present output in frames', async ({ version, headers, status, type }) => {
    const id = await run('spoken', { Cmd: ['sh', '-c', 'echo past; read word; echo "$word" >&2'], OpenStdin: true });
    await eventually('the past is logged', async () => {
      const { bytes } = await api.send('GET /containers/{id}/logs', { of: id, query: { stdout: 1 } });
      return bytes.includes('past');
    });
    const query = 'stream=1&stdin=1&stdout=1&stderr=1&logs=1';
    const connection = raw(`POST /v${version}/containers/${id}/attach?${query}`, headers);
    await connection.has(frame(1, 'past\n'));
    expect(connection.text).toMatch(new RegExp(`^HTTP/1.1 ${status}\r\n`));
    expect(connection.text.toLowerCase()).toContain(`content-type: application/vnd.docker.${type}-stream\r\n`);
    expect(connection.text.toLowerCase().includes('upgrade: tcp\r\n')).toBe(status.startsWith('101'));
    connection.socket.write('present\n');
    expect(await connection.end()).toMatch(/\x02\0\0\0\0\0\0\x08present\n$/);
    await remove(id);
  });

  test.each([
    { version: '1.51', isBinary: true },
    { version: '1.27', isBinary: false },
  ])('attach over a WebSocket, API $version', async ({ version, isBinary }) => {
    const id = await create('socket', {
      Cmd: ['sh', '-c', 'read a; echo "$a ä"; echo err >&2'],
      OpenStdin: true,
      StdinOnce: true,
    });
    const query = 'stream=1&stdin=1&stdout=1&stderr=1&logs=0&detachKeys=';
    const socket = webSocket(`/v${version}/containers/${id}/attach/ws?${query}`);
    const all = received(socket);
    await once(socket, 'open');
    await api.call('POST /containers/{id}/start', { of: id });
    socket.send('words\n');
    const { text, kinds } = await all;
    expect(Buffer.from(text, 'latin1').toString()).toBe('words ä\nerr\n');
    expect([...kinds]).toEqual([isBinary]);
    await remove(id);
  });

  test('over a WebSocket only the streams that were asked for come, since API 1.42', async () => {
    const id = await create('quiet', { Cmd: ['sh', '-c', 'echo out; echo err >&2'] });
    const socket = webSocket(`/containers/${id}/attach/ws?stream=1&stderr=1`);
    const all = received(socket);
    await once(socket, 'open');
    await api.call('POST /containers/{id}/start', { of: id });
    expect((await all).text).toBe('err\n');
    const past = webSocket(`/containers/${id}/attach/ws?logs=1&stdout=1`);
    expect((await received(past)).text).toBe('out\n');
    await remove(id);
  });

  test('a WebSocket that closes ends the input that was open once', async () => {
    const id = await run('closed', { Cmd: ['cat'], OpenStdin: true, StdinOnce: true });
    const socket = webSocket(`/containers/${id}/attach/ws?stream=1&stdin=1&stdout=1`);
    await once(socket, 'open');
    socket.send('last words');
    await once(socket, 'message');
    socket.close();
    const { body } = await api.call<{ StatusCode: number }>('POST /containers/{id}/wait', { of: id });
    expect(body.StatusCode).toBe(0);
    await remove(id);
  });

  test('what is no WebSocket, or of no container', async () => {
    const id = await create('plain');
    const of = id;
    expect((await api.call('GET /containers/{id}/attach/ws', { of, expect: 400 })).message).toMatch(
      /no WebSocket handshake/,
    );
    const query = { stream: 1, stdin: 1, stdout: 1, stderr: 1, logs: 1, detachKeys: 'ctrl-' };
    const headers = {
      ...{ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
      'sec-websocket-key': Buffer.alloc(16).toString('base64'),
    };
    expect((await api.call('GET /containers/{id}/attach/ws', { of, query, headers, expect: 400 })).message).toMatch(
      /ctrl-/,
    );
    expect((await api.call('GET /containers/{id}/attach/ws', { of: 'nope', headers, expect: 404 })).message).toBe(
      'No such container: nope',
    );
    await remove(id);
  });

  test('exec: what is refused', async () => {
    const id = await create('still');
    const Cmd = ['true'];
    expect((await api.call('POST /containers/{id}/exec', { of: id, body: { Cmd }, expect: 409 })).message).toBe(
      `container ${id} is not running`,
    );
    expect((await api.call('POST /containers/{id}/exec', { of: 'nope', body: { Cmd }, expect: 404 })).message).toBe(
      'No such container: nope',
    );
    expect((await api.call('POST /containers/{id}/exec', { of: id, body: {}, expect: 400 })).message).toBe(
      'No exec command specified',
    );
    for (const endpoint of ['GET /exec/{id}/json', 'POST /exec/{id}/start'] as const) {
      const body = endpoint.startsWith('POST') ? { body: {} } : {};
      expect((await api.call(endpoint, { of: 'nope', expect: 404, ...body })).message).toBe(
        'No such exec instance: nope',
      );
    }
    const query = { h: 1, w: 1 };
    expect((await api.call('POST /exec/{id}/resize', { of: 'nope', query, expect: 404 })).message).toBe(
      'No such exec instance: nope',
    );
    await remove(id);
  });

  test('exec: detached, once, and what became of it', async () => {
    const of = await run('working');
    const id = await exec(of, { Cmd: ['sh', '-c', 'exit 7'], AttachStdout: true });
    expect((await api.call('GET /exec/{id}/json', { of: id })).body).toMatchObject({
      ID: id,
      Running: false,
      ExitCode: null,
    });
    await api.call('POST /exec/{id}/start', { of: id, body: { Detach: true } });
    await eventually('it has ended', async () => {
      const { body } = await api.call<{ Running: boolean; ExitCode: number }>('GET /exec/{id}/json', { of: id });
      return !body.Running && body.ExitCode === 7;
    });
    expect((await api.call('POST /exec/{id}/start', { of: id, body: {}, expect: 409 })).message).toMatch(
      /has already run/,
    );
    const late = await exec(of, { Cmd: ['true'] });
    await api.call('POST /containers/{id}/pause', { of });
    expect((await api.call('POST /exec/{id}/start', { of: late, body: {}, expect: 409 })).message).toMatch(
      /is paused, unpause the container before exec$/,
    );
    await remove(of);
  });

  test.each([
    { how: 'a terminal', config: { Tty: true }, start: { Tty: true }, type: 'raw', out: 'HI\r\n' },
    { how: 'no terminal', config: {}, start: {}, type: 'multiplexed', out: frame(1, 'HI\n') },
    // As docker-py does: the start's word decides about frames.
    {
      how: 'a terminal that the start is silent about',
      config: { Tty: true },
      start: {},
      type: 'multiplexed',
      out: frame(1, 'HI\r\n'),
    },
  ])('exec over a connection that is taken over, $how', async ({ config, start, type, out }) => {
    const of = await run('talking');
    const attach = { AttachStdin: true, AttachStdout: true, AttachStderr: true };
    const id = await exec(of, { Cmd: ['sh', '-c', 'stty -echo 2>/dev/null; read a; echo "$a"'], ...attach, ...config });
    const connection = raw(`POST /exec/${id}/start`, upgrade, JSON.stringify(start));
    await connection.has('\r\n\r\n');
    expect(connection.text).toContain('HTTP/1.1 101 UPGRADED\r\n');
    expect(connection.text).toContain(`application/vnd.docker.${type}-stream`);
    connection.socket.write('HI\n');
    expect((await connection.end()).endsWith(out)).toBe(true);
    await remove(of);
  });

  test('exec: standard input ends, output goes on', async () => {
    const of = await run('halved');
    const id = await exec(of, {
      Cmd: ['sh', '-c', 'wc -c; echo over >&2'],
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const connection = raw(`POST /exec/${id}/start`, {}, '{}');
    await connection.has('HTTP/1.1 200 OK\r\n');
    connection.socket.end('12345');
    const text = await connection.end();
    expect(text).toContain(frame(1, '5\n'));
    expect(text).toContain(frame(2, 'over\n'));
    await remove(of);
  });

  test('exec: the size of its terminal, at once and later', async () => {
    const of = await run('sized');
    const attach = { AttachStdin: true, AttachStdout: true, Tty: true };
    // crun sets the size when the program runs already; before, stty says nothing, and that all is well.
    const command =
      'until size=$(stty size 2>/dev/null); [ "$size" ]; do :; done; echo "$size"; while read line; do stty size; done';
    const id = await exec(of, { Cmd: ['sh', '-c', command], ConsoleSize: [10, 20], ...attach });
    const connection = raw(`POST /exec/${id}/start`, upgrade, JSON.stringify({ Tty: true, ConsoleSize: [11, 22] }));
    await connection.has('11 22\r\n');
    await api.call('POST /exec/{id}/resize', { of: id, query: { h: 33, w: 44 } });
    connection.socket.write('\n');
    await connection.has('33 44\r\n');
    expect(
      (await api.call('POST /exec/{id}/resize', { of: id, query: { h: '', w: 'x' }, expect: 400 })).message,
    ).toMatch(/invalid/);
    const inspected = await api.call('GET /exec/{id}/json', { of: id });
    expect(inspected.body).toMatchObject({
      ...{ Running: true, ExitCode: null, ContainerID: of, OpenStdin: true, OpenStdout: true, OpenStderr: false },
      ProcessConfig: { tty: true, entrypoint: 'sh', arguments: ['-c', command], privileged: false },
      Pid: expect.any(Number),
    });
    await remove(of);
  });

  test('exec: user, folder, environment', async () => {
    const of = await run('elsewhere');
    const Cmd = ['sh', '-c', 'id -u; pwd; echo $WORD'];
    const id = await exec(of, { Cmd, AttachStdout: true, User: 'app', WorkingDir: '/tmp', Env: ['WORD=said'] });
    const connection = raw(`POST /exec/${id}/start`, {}, '{"Tty": true}');
    expect((await connection.end()).endsWith('1000\n/tmp\nsaid\n')).toBe(true);
    await remove(of);
  });

  test('nothing of these endpoints is left out', () => {
    expect(api.leftOut(endpoints)).toEqual([
      // Taken over: tested above by hand.
      'POST /containers/{id}/attach 101',
      'POST /containers/{id}/attach 200',
      'GET /containers/{id}/attach/ws 101',
      // A WebSocket has no bare 200.
      'GET /containers/{id}/attach/ws 200',
    ]);
  });
});
