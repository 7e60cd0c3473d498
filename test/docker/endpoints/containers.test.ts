import { describe, expect, test } from 'vitest';
import { type DockerEndpoint, shows } from '../../support/compatibility.ts';
import { busybox } from '../../support/engine.ts';
import { eventually } from '../../support/execute.ts';
import { withEngine } from '../../support/faces.ts';
import { Caller } from './caller.ts';

const endpoints: readonly DockerEndpoint[] = [
  'GET /containers/json',
  'POST /containers/create',
  'GET /containers/{id}/json',
  'GET /containers/{id}/top',
  'GET /containers/{id}/changes',
  'GET /containers/{id}/export',
  'GET /containers/{id}/stats',
  'POST /containers/{id}/resize',
  'POST /containers/{id}/start',
  'POST /containers/{id}/stop',
  'POST /containers/{id}/restart',
  'POST /containers/{id}/kill',
  'POST /containers/{id}/update',
  'POST /containers/{id}/rename',
  'POST /containers/{id}/pause',
  'POST /containers/{id}/unpause',
  'POST /containers/{id}/wait',
  'DELETE /containers/{id}',
  'POST /containers/prune',
  'POST /commit',
];

interface Listed {
  Id: string;
  Names: string[];
  State: string;
  SizeRw?: number;
}

describe('containers, as the API describes them', shows({ endpoints }), () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);
  const create = async (name: string, config: object = {}, more: Record<string, string> = {}): Promise<string> => {
    const body = { Image: busybox, Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'none' }, ...config };
    return (await api.call<{ Id: string }>('POST /containers/create', { query: { name, ...more }, body })).body.Id;
  };
  const run = async (name: string, config: object = {}): Promise<string> => {
    const id = await create(name, config);
    await api.call('POST /containers/{id}/start', { of: id });
    return id;
  };
  const remove = (name: string) =>
    api.call('DELETE /containers/{id}', { of: name, query: { force: true, v: true, link: false } });
  const inspect = async (of: string) =>
    (
      await api.call<{ State: { Status: string }; HostConfig: Record<string, unknown>; Name: string }>(
        'GET /containers/{id}/json',
        { of },
      )
    ).body;

  test('the list: all, limit, size, filters', async () => {
    const running = await run('listed');
    await create('waiting');
    const names = async (query: object) =>
      (await api.call<Listed[]>('GET /containers/json', { query: query as Record<string, string> })).body.map(
        ({ Names }) => Names[0],
      );
    expect(await names({})).toEqual(['/listed']);
    expect(await names({ all: 1 })).toEqual(['/waiting', '/listed']);
    expect(await names({ limit: 1 })).toEqual(['/waiting']);
    expect(await names({ all: 1, filters: { name: ['^/?wait'] } })).toEqual(['/waiting']);
    expect(await names({ all: 1, filters: { status: { created: true } } })).toEqual(['/waiting']);
    const { body } = await api.call<Listed[]>('GET /containers/json', { query: { size: true } });
    expect(body[0]).toMatchObject({ Id: running, SizeRw: expect.any(Number), SizeRootFs: expect.any(Number) });
    const wrong = await api.call('GET /containers/json', { query: { filters: { colour: ['red'] } }, expect: 400 });
    expect(wrong.message).toBe("invalid filter 'colour'");
    const broken = await api.call('GET /containers/json', { query: { filters: '{' }, expect: 400 });
    expect(broken.message).toMatch(/^invalid filter/);
    const status = await api.call('GET /containers/json', { query: { filters: { status: ['up'] } }, expect: 400 });
    expect(status.message).toMatch(/^invalid filter 'status=up'/);
    await remove('listed');
    await remove('waiting');
  });

  test('what a create refuses', async () => {
    const refused = (status: number, body: object | undefined, query: Record<string, string> = {}) =>
      api.call('POST /containers/create', { query, ...(body && { body }), expect: status });
    expect((await refused(404, { Image: 'nope' })).message).toBe('No such image: nope:latest');
    expect((await refused(400, undefined)).message).toBe('invalid JSON: got EOF while reading request body');
    expect((await refused(400, { Image: busybox }, { name: 'a b' })).message).toBe(
      'Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed',
    );
    expect((await refused(400, { Image: busybox, Cmd: 3 })).message).toMatch(/json: cannot unmarshal number into Go/);
    const id = await create('taken', {}, { platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}` });
    expect((await refused(409, { Image: busybox }, { name: 'taken' })).message).toBe(
      `Conflict. The container name "/taken" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
    await remove('taken');
    const plain = await api.call('POST /containers/create', {
      query: { name: 'typeless' },
      body: Buffer.from(JSON.stringify({ Image: busybox })),
      expect: 400,
    });
    expect(plain.message).toBe("unsupported Content-Type header (application/x-tar): must be 'application/json'");
  });

  test('whatever is asked of a container that is not there is a 404', async () => {
    const missing: [DockerEndpoint, object?][] = [
      ['GET /containers/{id}/json'],
      ['GET /containers/{id}/top'],
      ['GET /containers/{id}/changes'],
      ['GET /containers/{id}/export'],
      ['GET /containers/{id}/stats', { query: { stream: false } }],
      ['POST /containers/{id}/resize', { query: { h: 1, w: 1 } }],
      ['POST /containers/{id}/start'],
      ['POST /containers/{id}/stop'],
      ['POST /containers/{id}/restart'],
      ['POST /containers/{id}/kill'],
      ['POST /containers/{id}/update', { body: {} }],
      ['POST /containers/{id}/rename', { query: { name: 'other' } }],
      ['POST /containers/{id}/pause'],
      ['POST /containers/{id}/unpause'],
      ['POST /containers/{id}/wait'],
      ['DELETE /containers/{id}'],
    ];
    for (const [endpoint, options] of missing) {
      const { message } = await api.call(endpoint, { of: 'nope', expect: 404, ...options });
      expect(message).toMatch(/No such container: nope$/);
    }
    const { message } = await api.call('POST /commit', { query: { container: 'nope' }, expect: 404 });
    expect(message).toBe('No such container: nope');
  });

  test('a life: start, pause, rename, stop, restart, kill, removal', async () => {
    const id = await create('living');
    const of = 'living';
    expect((await inspect(of)).State.Status).toBe('created');
    expect((await api.call('POST /containers/{id}/kill', { of, expect: 409 })).message).toBe(
      `cannot kill container: living: container ${id} is not running`,
    );
    expect((await api.call('POST /containers/{id}/pause', { of, expect: 409 })).message).toBe(
      `container ${id} is not running`,
    );
    const body = Buffer.from('{"Binds": ["/:/host"]}');
    expect((await api.call('POST /containers/{id}/start', { of, body, expect: 400 })).message).toBe(
      'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
    );
    await api.call('POST /containers/{id}/start', { of, query: { detachKeys: 'ctrl-a' } });
    await api.call('POST /containers/{id}/start', { of, expect: 304 });
    await api.call('POST /containers/{id}/pause', { of });
    expect((await inspect(of)).State.Status).toBe('paused');
    expect((await api.call('POST /containers/{id}/pause', { of, expect: 409 })).message).toBe(
      `container ${id} is already paused`,
    );
    await api.call('POST /containers/{id}/unpause', { of });
    expect((await api.call('POST /containers/{id}/unpause', { of, expect: 409 })).message).toBe(
      `Container ${id} is not paused`,
    );
    await create('other');
    expect(
      (await api.call('POST /containers/{id}/rename', { of, query: { name: 'other' }, expect: 409 })).message,
    ).toMatch(/^Conflict\. The container name "\/other" is already in use by container "[0-9a-f]{64}"/);
    expect((await api.call('POST /containers/{id}/rename', { of, expect: 400 })).message).toBe(
      'Neither old nor new names may be empty',
    );
    expect((await api.call('POST /containers/{id}/rename', { of, query: { name: of }, expect: 400 })).message).toBe(
      'Renaming a container with the same name as its current name',
    );
    await api.call('POST /containers/{id}/rename', { of, query: { name: 'renamed' } });
    expect((await inspect(id)).Name).toBe('/renamed');
    expect((await api.call('DELETE /containers/{id}', { of: 'renamed', expect: 409 })).message).toBe(
      'cannot remove container "/renamed": container is running: stop the container before removing or force remove',
    );
    expect(
      (await api.call('POST /containers/{id}/kill', { of: id, query: { signal: 'WHAT' }, expect: 400 })).message,
    ).toBe('Invalid signal: WHAT');
    await api.call('POST /containers/{id}/restart', { of: id, query: { t: 0, signal: 'SIGKILL' } });
    await api.call('POST /containers/{id}/stop', { of: id, query: { t: 0, signal: 'SIGKILL' } });
    await api.call('POST /containers/{id}/stop', { of: id, expect: 304 });
    expect(
      (await api.call('POST /containers/{id}/stop', { of: id, query: { t: 'soon' }, expect: 400 })).message,
    ).toMatch(/strconv\.Atoi: parsing "soon": invalid syntax/);
    await api.call('POST /containers/{id}/start', { of: id });
    await api.call('POST /containers/{id}/kill', { of: id, query: { signal: 'KILL' } });
    const waited = await api.call<{ StatusCode: number }>('POST /containers/{id}/wait', {
      of: id,
      query: { condition: 'not-running' },
    });
    expect(waited.body.StatusCode).toBe(137);
    expect(
      (await api.call('POST /containers/{id}/wait', { of: id, query: { condition: 'tired' }, expect: 400 })).message,
    ).toBe('invalid condition: "tired"');
    await remove('renamed');
    await remove('other');
    const same = await api.call('DELETE /containers/{id}', { of: 'renamed', expect: 404, query: { force: 1 } });
    expect(same.message).toBe('No such container: renamed');
  });

  test('removal refuses links that are none', async () => {
    await create('unlinked');
    await api.call('DELETE /containers/{id}', { of: 'unlinked', query: { link: 1 }, expect: 400 });
    await remove('unlinked');
  });

  test('processes, changes, statistics, size of the terminal', async () => {
    const id = await run('busy', { Tty: true, Cmd: ['sh', '-c', 'echo new > /new; rm /etc/group; exec sleep 1000'] });
    await eventually('the file is written and the other is gone', async () => {
      const { body } = await api.call<object[]>('GET /containers/{id}/changes', { of: id });
      return (
        JSON.stringify(body) ===
        JSON.stringify([
          { Path: '/etc', Kind: 0 },
          { Path: '/etc/group', Kind: 2 },
          { Path: '/new', Kind: 1 },
        ])
      );
    });
    const top = await api.call<{ Titles: string[]; Processes: string[][] }>('GET /containers/{id}/top', {
      of: id,
      query: { ps_args: '-o pid,args' },
    });
    expect(top.body.Titles).toEqual(['PID', 'COMMAND']);
    expect(top.body.Processes.length).toBe(1);
    const once = await api.call<{ id: string; name: string }>('GET /containers/{id}/stats', {
      of: id,
      query: { stream: false, 'one-shot': true },
    });
    expect(once.body).toMatchObject({ id, name: '/busy', memory_stats: { usage: expect.any(Number) } });
    const both = await api.call('GET /containers/{id}/stats', {
      of: id,
      query: { stream: 1, 'one-shot': 1 },
      expect: 400,
    });
    expect(both.message).toBe('cannot have stream=true and one-shot=true');
    await api.call('POST /containers/{id}/resize', { of: id, query: { h: 33, w: 77 } });
    expect((await engine().docker(['exec', 'busy', 'stty', '-F', '/proc/1/fd/0', 'size'])).stdout).toBe('33 77\n');
    expect(
      (await api.call('POST /containers/{id}/resize', { of: id, query: { h: 'x', w: 1 }, expect: 400 })).message,
    ).toMatch(/invalid syntax/);
    await api.call('POST /containers/{id}/stop', { of: id, query: { t: 0 } });
    expect(
      (await api.call('POST /containers/{id}/resize', { of: id, query: { h: 1, w: 1 }, expect: 409 })).message,
    ).toBe(`container ${id} is not running`);
    expect((await api.call('GET /containers/{id}/top', { of: id, expect: 409 })).message).toBe(
      `container ${id} is not running`,
    );
    await remove(id);
  });

  test('an update changes what it names', async () => {
    const id = await run('updated');
    const { body } = await api.call('POST /containers/{id}/update', {
      of: id,
      body: {
        Memory: 64 << 20,
        MemorySwap: 64 << 20,
        PidsLimit: 50,
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 4 },
      },
    });
    expect(body).toEqual({ Warnings: [] });
    expect((await inspect(id)).HostConfig).toMatchObject({
      Memory: 64 << 20,
      PidsLimit: 50,
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 4 },
    });
    const wrong = { RestartPolicy: { Name: 'often' } };
    expect((await api.call('POST /containers/{id}/update', { of: id, body: wrong, expect: 400 })).message).toMatch(
      /invalid restart policy: unknown policy 'often'/,
    );
    await remove(id);
  });

  test('an export is a tar of the root', async () => {
    const id = await create('exported');
    const { bytes, headers } = await api.call('GET /containers/{id}/export', { of: id });
    expect(headers['content-type']).toBe('application/octet-stream');
    expect(bytes.includes('Hello from Tare')).toBe(true);
    await remove(id);
  });

  test('sizes are shown when they are asked for', async () => {
    const id = await create('sized');
    const { body } = await api.call('GET /containers/{id}/json', { of: id, query: { size: 1 } });
    expect(body).toMatchObject({ SizeRw: expect.any(Number), SizeRootFs: expect.any(Number) });
    const { body: plain } = await api.call<object>('GET /containers/{id}/json', { of: id, query: { size: 0 } });
    expect(plain).not.toHaveProperty('SizeRw');
    await remove(id);
  });

  test('commit takes name, author, comment and changes', async () => {
    const id = await run('committed');
    const query = {
      container: id,
      repo: 'made',
      tag: 'v1',
      author: 'me',
      comment: 'why',
      pause: 1,
      changes: ['ENV A=b', 'CMD ["x"]'],
    };
    const { body } = await api.call<{ Id: string }>('POST /commit', { query, body: { Labels: { from: 'body' } } });
    const image = await api.call('GET /images/{name}/json', { of: 'made:v1' });
    expect(image.body).toMatchObject({
      Id: body.Id,
      Author: 'me',
      Comment: 'why',
      Config: { Cmd: ['x'], Env: expect.arrayContaining(['A=b']), Labels: { from: 'body' } },
    });
    await api.call('DELETE /images/{name}', { of: 'made:v1' });
    await remove(id);
  });

  test('prune removes what has stopped and fits', async () => {
    const kept = await create('kept', { Labels: { keep: 'yes' } });
    const gone = await create('gone');
    const { body } = await api.call('POST /containers/prune', { query: { filters: { 'label!': ['keep'] } } });
    expect(body).toMatchObject({ ContainersDeleted: [gone], SpaceReclaimed: expect.any(Number) });
    expect(
      (await api.call('POST /containers/prune', { query: { filters: { name: ['x'] } }, expect: 400 })).message,
    ).toBe("invalid filter 'name'");
    await remove(kept);
  });

  test('nothing of these endpoints is left out', () => {
    expect(api.leftOut(endpoints)).toEqual([]);
  });
});
