import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { RawConnection } from '../support/raw-connection.ts';

interface Message {
  message: string;
}

describe('answers that clients match on', () => {
  const engine = withEngine({ face: 'docker' });
  const post = <T = Message>(path: string, body?: unknown) => engine().api<T>('POST', path, body);
  const remove = (path: string) => engine().api<Message>('DELETE', path);
  const create = async (name: string, config: object = {}): Promise<string> => {
    const asked = { Image: busybox, Cmd: ['sleep', '600'], ...config };
    const { status, body } = await post<{ Id: string }>(`/containers/create?name=${name}`, asked);
    expect(status).toBe(201);
    return body.Id;
  };
  /** A wait that has begun: its headers are here. Resolves to how to get its answer. */
  const begun = async (name: string, condition: string): Promise<() => Promise<unknown>> => {
    const path = `/containers/${name}/wait?condition=${condition}`;
    const asking = request({ socketPath: engine().socket, method: 'POST', path }).end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    return () => json(response);
  };
  const filters = (wanted: object) => encodeURIComponent(JSON.stringify(wanted));

  test.each([
    ['start', 'No such container: nope'],
    ['stop', 'No such container: nope'],
    ['restart', 'No such container: nope'],
    ['kill', 'cannot kill container: nope: No such container: nope'],
    ['pause', 'No such container: nope'],
    ['unpause', 'No such container: nope'],
    ['wait', 'No such container: nope'],
    ['rename?name=other', 'No such container: nope'],
    ['resize?h=1&w=1', 'No such container: nope'],
  ])('%s of a container that is not there', async (verb, message) => {
    expect(await post(`/containers/nope/${verb}`)).toEqual({ status: 404, body: { message } });
  });

  test('what a container’s state allows', async () => {
    const id = await create('states');
    const message = async (path: string, body?: unknown) => {
      const answer = await post(`/containers/states/${path}`, body);
      return `${answer.status} ${answer.body?.message ?? ''}`.trimEnd().replaceAll(id, 'ID');
    };
    expect(await message('stop')).toBe('304');
    expect(await message('kill')).toBe('409 cannot kill container: states: container ID is not running');
    expect(await message('pause')).toMatch(/^409 [cC]ontainer ID is not running$/);
    expect(await message('exec', { Cmd: ['true'] })).toBe('409 container ID is not running');
    expect(await message('start')).toBe('204');
    expect(await message('start')).toBe('304');
    expect(await message('kill?signal=FOO')).toBe('400 Invalid signal: FOO');
    expect((await remove('/containers/states')).body.message).toBe(
      'cannot remove container "/states": container is running: stop the container before removing or force remove',
    );
    expect(await message('pause')).toBe('204');
    expect(await message('pause')).toMatch(/^409 [cC]ontainer ID is already paused$/);
    expect(await message('start')).toBe('409 cannot start a paused container, try unpause instead');
    expect(await message('exec', { Cmd: ['true'] })).toMatch(
      /^409 Container ID is paused, unpause the container before exec/,
    );
    expect(await message('unpause')).toBe('204');
    expect(await message('stop?t=0')).toBe('204');
    expect(await message('stop')).toBe('304');
    expect(await message('restart?t=0')).toBe('204');
    expect((await remove('/containers/states?force=1')).status).toBe(204);
  });

  test('names that are taken, the same, or none', async () => {
    const id = await create('first');
    await create('second');
    const taken = `Conflict. The container name "/first" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`;
    expect(await post('/containers/second/rename?name=first')).toEqual({ status: 409, body: { message: taken } });
    expect(await post('/containers/create?name=first', { Image: busybox })).toEqual({
      status: 409,
      body: { message: taken },
    });
    expect((await post('/containers/first/rename?name=first')).body.message).toBe(
      'Renaming a container with the same name as its current name',
    );
    expect((await post('/containers/first/rename?name=')).body.message).toBe('Neither old nor new names may be empty');
    await remove('/containers/first');
    await remove('/containers/second');
  });

  test('a second removal hears that the first is under way', async () => {
    await create('twice');
    await post('/containers/twice/start');
    // Asked while the daemon stands still: it then finds them all at once, however busy the machine is.
    process.kill(engine().daemonPid, 'SIGSTOP');
    const connections = Array.from({ length: 4 }, () => new RawConnection(engine().socket));
    await Promise.all(
      connections.map(async ({ socket }) => {
        const { promise, resolve } = Promise.withResolvers<unknown>();
        socket.write('DELETE /containers/twice?force=1&v=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', resolve);
        await promise;
      }),
    ).finally(() => process.kill(engine().daemonPid, 'SIGCONT'));
    const answers = (await Promise.all(connections.map((connection) => connection.end()))).map((text) => {
      const [head, body] = text.split('\r\n\r\n');
      return `${head!.split(' ')[1]} ${/"message":"([^"]*)"/.exec(body ?? '')?.[1] ?? ''}`;
    });
    const under = '409 removal of container twice is already in progress';
    expect(answers.filter((answer) => answer === '204 ')).toHaveLength(1);
    expect(answers).toContain(under);
    // Who is read last may find it gone.
    for (const answer of answers) expect(['204 ', under, '404 No such container: twice']).toContain(answer);
  });

  test('wait: its conditions, its errors, and the clients of before them', async () => {
    const wait = (name: string, condition: string, prefix = '') =>
      post<{ StatusCode: number }>(`${prefix}/containers/${name}/wait?condition=${condition}`);
    await create('seven', { Cmd: ['sh', '-c', 'sleep 0.4; exit 7'] });
    // One that never ran does not run.
    expect((await wait('seven', 'not-running')).body).toEqual({ StatusCode: 0 });
    expect(await wait('seven', 'sometime')).toEqual({
      status: 400,
      body: { message: 'invalid condition: "sometime"' },
    });
    const next = await begun('seven', 'next-exit');
    const gone = await begun('seven', 'removed');
    await post('/containers/seven/start');
    expect((await wait('seven', '')).body).toEqual({ StatusCode: 7 });
    expect(await next()).toEqual({ StatusCode: 7 });
    // It has ended: only next-exit would wait for more. Before API 1.30 no condition was known.
    expect((await wait('seven', 'not-running')).body).toEqual({ StatusCode: 7 });
    expect((await wait('seven', 'next-exit', '/v1.24')).body).toEqual({ StatusCode: 7 });
    expect((await wait('seven', 'next-exit', '/v1.29')).body).toEqual({ StatusCode: 7 });
    await remove('/containers/seven');
    expect(await gone()).toEqual({ StatusCode: 7 });

    await create('self', { Cmd: ['sh', '-c', 'exit 9'], HostConfig: { AutoRemove: true } });
    const removed = await begun('self', 'removed');
    await post('/containers/self/start');
    expect(await removed()).toEqual({ StatusCode: 9 });
  });

  test('an exec can be looked at before, while and after it runs', async () => {
    await create('execs');
    await post('/containers/execs/start');
    const { Id } = (await post<{ Id: string }>('/containers/execs/exec', { Cmd: ['sleep', '600'], AttachStdout: true }))
      .body;
    const look = async () => (await engine().api<Record<string, unknown>>('GET', `/exec/${Id}/json`)).body;
    const ids = async () =>
      (await engine().api<{ ExecIDs: string[] | null }>('GET', '/containers/execs/json')).body.ExecIDs;
    expect(await look()).toMatchObject({ Running: false, ExitCode: null, Pid: 0 });
    await post(`/exec/${Id}/start`, { Detach: true });
    const running = await look();
    expect(running).toMatchObject({ Running: true, ExitCode: null, CanRemove: false, ContainerID: expect.any(String) });
    expect(await ids()).toEqual([Id]);
    expect((await post(`/exec/${Id}/start`, { Detach: true })).status).toBe(409);
    process.kill(running['Pid'] as number, 'SIGKILL');
    await eventually('it has ended', async () => (await look())['Running'] === false);
    expect(await look()).toMatchObject({ ExitCode: 137 });
    expect(await ids()).toBeNull();
    expect((await post(`/exec/${Id}/resize?h=1&w=1`)).status).toBe(404);
    await remove('/containers/execs?force=1');
  });

  test('every filter of the list', async () => {
    const ports = { ExposedPorts: { '80/tcp': {}, '53/udp': {} } };
    await create('one', { Labels: { a: '1' }, ...ports });
    await create('two', {
      Labels: { a: '2', b: '' },
      HostConfig: { PortBindings: { '81/tcp': [{ HostPort: '18081' }] }, Binds: ['kept:/data', '/tmp:/host'] },
    });
    await create('three', { Cmd: ['sh', '-c', 'exit 3'], HostConfig: { NetworkMode: 'none' } });
    await post('/containers/one/start');
    await post('/containers/two/start');
    await post('/containers/three/start');
    await eventually('it has ended', async () => (await names({ exited: ['3'] }, '&all=1')) === 'three');
    async function names(wanted: object, more = ''): Promise<string> {
      const path = `/containers/json?filters=${filters(wanted)}${more}`;
      const { status, body } = await engine().api<{ Names: string[] }[] & Message>('GET', path);
      if (status !== 200) return `${status} ${body.message}`;
      return body
        .map(({ Names }) => Names[0]!.slice(1))
        .sort()
        .join(' ');
    }
    const { Id } = (await engine().api<{ Id: string }>('GET', '/containers/two/json')).body;
    const table: [object, string, string?][] = [
      [{}, 'one two'],
      [{}, 'one three two', '&all=1'],
      [{ status: ['exited'] }, 'three'],
      [{ status: ['exited', 'running'] }, 'one three two'],
      [{ status: ['gone'] }, "400 invalid filter 'status=gone'"],
      [{ exited: ['3'] }, ''],
      [{ exited: ['0'] }, '', '&all=1'],
      [{ health: ['none'] }, 'one two'],
      [{ label: ['a'] }, 'one two'],
      [{ label: ['a=1'] }, 'one'],
      [{ label: ['a', 'b'] }, 'two'],
      [{ label: ['b='] }, 'two'],
      [{ name: ['^/one$'] }, 'one'],
      [{ name: ['^t'] }, 'three two', '&all=1'],
      [{ name: ['^one$', 'wo'] }, 'one two'],
      [{ name: ['/o'] }, 'one'],
      [{ name: { one: true } }, 'one'],
      [{ id: [Id.slice(0, 12)] }, 'two'],
      [{ id: [Id.slice(1, 12)] }, ''],
      [{ network: ['bridge'] }, 'one two'],
      [{ network: ['none'] }, 'three', '&all=1'],
      [{ volume: ['kept'] }, 'two'],
      [{ volume: ['/data'] }, 'two'],
      [{ volume: ['/tmp'] }, 'two'],
      [{ volume: ['/dat'] }, ''],
      [{ expose: ['80'] }, 'one'],
      [{ expose: ['53/udp'] }, 'one'],
      [{ expose: ['50-82/tcp'] }, 'one two'],
      [{ publish: ['18081'] }, 'two'],
      [{ publish: ['18000-18100/tcp'] }, 'two'],
      [{ publish: ['80'] }, ''],
      [{ ancestor: [busybox] }, 'one two'],
      [{ ancestor: ['nothing'] }, ''],
      [{ before: ['two'] }, 'one'],
      [{ since: ['one'] }, 'three two', '&all=1'],
      [{ since: ['nobody'] }, '404 No such container: nobody'],
      [{ 'is-task': ['true'] }, ''],
      [{ 'is-task': ['false'] }, 'one two'],
      [{ isolation: ['process'] }, 'one two'],
      [{ colour: ['red'] }, "400 invalid filter 'colour'"],
      [{ label: ['a'], name: ['two'] }, 'two'],
    ];
    for (const [wanted, found, more] of table) {
      expect(`${JSON.stringify(wanted)}: ${await names(wanted, more)}`).toBe(`${JSON.stringify(wanted)}: ${found}`);
    }
    expect(await names({}, '&limit=1')).toBe('three');
    for (const name of ['one', 'two', 'three']) await remove(`/containers/${name}?force=1`);
  });

  test('prunes choose by age and label', async () => {
    await create('old', { Labels: { keep: 'yes' } });
    await create('young');
    const prune = async (wanted: object) => {
      const { status, body } = await post<{ ContainersDeleted: string[] | null } & Message>(
        `/containers/prune?filters=${filters(wanted)}`,
      );
      return status === 200 ? (body.ContainersDeleted ?? []).length : `${status} ${body.message}`;
    };
    expect(await prune({ until: ['1h'] })).toBe(0);
    expect(await prune({ label: ['absent'] })).toBe(0);
    expect(await prune({ until: ['1h', '2h'] })).toBe('400 more than one until filter specified');
    expect(await prune({ until: ['soon'] })).toMatch(/^400 .*"soon"/);
    expect(await prune({ colour: ['red'] })).toBe("400 invalid filter 'colour'");
    expect(await prune({ 'label!': ['keep'] })).toBe(1);
    expect(await prune({ label: ['keep=yes'], until: ['0s'] })).toBe(1);
  });
});
