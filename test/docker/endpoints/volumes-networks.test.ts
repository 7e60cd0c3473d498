import { describe, expect, test } from 'vitest';
import { type DockerEndpoint, shows } from '../../support/compatibility.ts';
import { busybox } from '../../support/engine.ts';
import { withEngine } from '../../support/faces.ts';
import { Caller } from './caller.ts';

const ofVolumes: readonly DockerEndpoint[] = [
  'GET /volumes',
  'POST /volumes/create',
  'GET /volumes/{name}',
  'PUT /volumes/{name}',
  'DELETE /volumes/{name}',
  'POST /volumes/prune',
];
const ofNetworks: readonly DockerEndpoint[] = [
  'GET /networks',
  'GET /networks/{id}',
  'DELETE /networks/{id}',
  'POST /networks/create',
  'POST /networks/{id}/connect',
  'POST /networks/{id}/disconnect',
  'POST /networks/prune',
];

interface Volume {
  Name: string;
  Mountpoint: string;
}

describe('volumes and networks, as the API describes them', () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);
  const container = async (name: string, host: object): Promise<string> => {
    const body = { Image: busybox, Cmd: ['sleep', '1000'], HostConfig: host };
    const { Id } = (await api.call<{ Id: string }>('POST /containers/create', { query: { name }, body })).body;
    await api.call('POST /containers/{id}/start', { of: Id });
    return Id;
  };
  const remove = (of: string) => api.call('DELETE /containers/{id}', { of, query: { force: 1, v: 1 } });

  test('volumes: made, listed by filter, in use, removed', shows({ endpoints: ofVolumes }), async () => {
    const body = { Name: 'data', Driver: 'local', DriverOpts: {}, Labels: { of: 'test' } };
    const made = await api.call<Volume>('POST /volumes/create', { body });
    expect(made.body).toMatchObject({ Name: 'data', Driver: 'local', Scope: 'local', Labels: { of: 'test' } });
    expect((await api.call<Volume>('POST /volumes/create', { body })).body.Mountpoint).toBe(made.body.Mountpoint);
    const anonymous = (await api.call<Volume>('POST /volumes/create', { body: {} })).body.Name;
    expect(anonymous).toMatch(/^[0-9a-f]{64}$/);
    const names = async (filters: object) =>
      (await api.call<{ Volumes: Volume[] }>('GET /volumes', { query: { filters } })).body.Volumes.map(
        ({ Name }) => Name,
      );
    expect(await names({ label: ['of=test'] })).toEqual(['data']);
    expect((await names({ dangling: ['true'], driver: ['local'] })).sort()).toEqual([anonymous, 'data'].sort());
    expect(await names({ name: ['dat'] })).toEqual(['data']);
    expect((await api.call('GET /volumes', { query: { filters: { size: ['1'] } }, expect: 400 })).message).toBe(
      "invalid filter 'size'",
    );
    expect((await api.call('GET /volumes/{name}', { of: 'data' })).body).toMatchObject({ Name: 'data' });
    expect((await api.call('GET /volumes/{name}', { of: 'nope', expect: 404 })).message).toBe(
      'get nope: no such volume',
    );
    const user = await container('user', { Binds: ['data:/data'], NetworkMode: 'none' });
    expect((await api.call('DELETE /volumes/{name}', { of: 'data', expect: 409 })).message).toBe(
      `remove data: volume is in use - [${user}]`,
    );
    await remove('user');
    await api.call('DELETE /volumes/{name}', { of: 'data', query: { force: 1 } });
    expect((await api.call('DELETE /volumes/{name}', { of: 'data', expect: 404 })).message).toBe(
      'get data: no such volume',
    );
    await api.call('DELETE /volumes/{name}', { of: 'data', query: { force: 1 } });
    const update = await api.call('PUT /volumes/{name}', { of: 'data', query: { version: 1 }, body: {}, expect: 503 });
    expect(update.message).toBe('volume update only valid for cluster volumes, but swarm is unavailable');
    expect((await api.call('POST /volumes/create', { body: { Name: 'a b' }, expect: 400 })).message).toMatch(
      /"a b" includes invalid characters for a local volume name/,
    );
    expect(
      (await api.call('POST /volumes/create', { body: { Name: 'x', Driver: 'nope' }, expect: 404 })).message,
    ).toMatch(/nope/);
  });

  test(
    'volumes: prune means those that nobody named, unless all are meant',
    shows({ endpoints: ofVolumes }),
    async () => {
      const make = async (body: object) => (await api.call<Volume>('POST /volumes/create', { body })).body.Name;
      await api.call('POST /volumes/prune', { query: { filters: { all: ['1'] } } });
      const anonymous = await make({});
      await make({ Name: 'named' });
      await make({ Name: 'kept', Labels: { keep: '' } });
      const pruned = async (filters: object, version?: string) =>
        (
          await api.call<{ VolumesDeleted: string[] }>('POST /volumes/prune', {
            query: { filters },
            ...(version && { version }),
          })
        ).body.VolumesDeleted;
      expect(await pruned({})).toEqual([anonymous]);
      expect(await pruned({ 'label!': ['keep'] }, '1.41')).toEqual(['named']);
      expect(await pruned({ all: ['true'] })).toEqual(['kept']);
      expect(
        (await api.call('POST /volumes/prune', { query: { filters: { name: ['x'] } }, expect: 400 })).message,
      ).toBe("invalid filter 'name'");
    },
  );

  test('volumes: nothing is left out', () => {
    // There is no cluster whose volume could be changed.
    const cluster = [200, 400, 404].map((status) => `PUT /volumes/{name} ${status}`);
    expect(api.leftOut(ofVolumes)).toEqual(cluster);
  });

  test('networks: made, shown, joined, left, removed', shows({ endpoints: ofNetworks }), async () => {
    const body = {
      Name: 'lab',
      Driver: 'bridge',
      IPAM: { Config: [{ Subnet: '10.123.0.0/24', Gateway: '10.123.0.1' }] },
      Labels: { of: 'test' },
      Options: { 'com.docker.network.driver.mtu': '1400' },
    };
    const { Id } = (await api.call<{ Id: string }>('POST /networks/create', { body })).body;
    const shown = await api.call('GET /networks/{id}', { of: Id.slice(0, 12), query: { scope: 'local', verbose: 0 } });
    expect(shown.body).toMatchObject({
      ...body,
      Id,
      Scope: 'local',
      EnableIPv4: true,
      EnableIPv6: false,
      Internal: false,
    });
    const listed = async (filters: object) =>
      (await api.call<{ Name: string }[]>('GET /networks', { query: { filters } })).body.map(({ Name }) => Name);
    expect(await listed({ label: ['of=test'] })).toEqual(['lab']);
    expect(await listed({ name: ['^lab$'], driver: ['bridge'], type: ['custom'], scope: ['local'] })).toEqual(['lab']);
    expect(await listed({ id: [Id.slice(0, 12)], dangling: ['true'] })).toEqual(['lab']);
    expect((await api.call('GET /networks', { query: { filters: { colour: ['x'] } }, expect: 400 })).message).toBe(
      "invalid filter 'colour'",
    );
    const wrong = await api.call('GET /networks/{id}', { of: 'lab', query: { verbose: 'much' }, expect: 400 });
    expect(wrong.message).toMatch(/^invalid value for verbose: much/);
    expect((await api.call('GET /networks/{id}', { of: 'nope', expect: 404 })).message).toBe('network nope not found');
    expect((await api.call('GET /networks/{id}', { of: 'lab', query: { scope: 'swarm' }, expect: 404 })).message).toBe(
      'network lab not found',
    );
    const member = await container('member', { NetworkMode: 'none' });
    const still = await api.call('POST /networks/{id}/connect', {
      of: 'lab',
      body: { Container: 'nope' },
      expect: 404,
    });
    expect(still.message).toBe('No such container: nope');
    const none = await api.call('POST /networks/{id}/connect', {
      of: 'nope',
      body: { Container: member },
      expect: 404,
    });
    expect(none.message).toBe('network nope not found');
    const host = await api.call('POST /networks/{id}/connect', {
      of: 'host',
      body: { Container: member },
      expect: 400,
    });
    expect(host.message).toBe('container cannot be disconnected from host network or connected to host network');
    await remove('member');

    await container('joined', { NetworkMode: 'bridge' });
    const join = (EndpointConfig: object, expected: number) =>
      api.call('POST /networks/{id}/connect', {
        of: 'lab',
        body: { Container: 'joined', EndpointConfig },
        expect: expected,
      });
    expect((await join({ IPAMConfig: { IPv4Address: 'x' } }, 400)).message).toMatch(
      /invalid (endpoint settings|IPv4 address)/,
    );
    await join(
      { IPAMConfig: { IPv4Address: '10.123.0.77' }, Aliases: ['other'], MacAddress: '02:00:00:00:00:77' },
      200,
    );
    expect((await join({}, 403)).message).toMatch(/endpoint with name joined already exists in network lab/);
    const joined = await api.call<{ Containers: object }>('GET /networks/{id}', { of: 'lab' });
    expect(Object.values(joined.body.Containers)).toMatchObject([
      { Name: 'joined', IPv4Address: '10.123.0.77/24', MacAddress: '02:00:00:00:00:77' },
    ]);
    const old = await api.call<{ Name: string; Containers: object }[]>('GET /networks', { version: '1.27' });
    expect(Object.keys(old.body.find(({ Name }) => Name === 'lab')!.Containers)).toHaveLength(1);
    const now = await api.call<{ Name: string; Containers: object }[]>('GET /networks');
    expect(now.body.find(({ Name }) => Name === 'lab')!.Containers).toEqual({});
    expect((await api.call('DELETE /networks/{id}', { of: 'lab', expect: 403 })).message).toBe(
      'error while removing network: network lab has active endpoints',
    );
    const leave = (body: object, expected: number, of = 'lab') =>
      api.call('POST /networks/{id}/disconnect', { of, body, expect: expected });
    await leave({ Container: 'joined', Force: true }, 200);
    expect((await leave({ Container: 'joined' }, 409)).message).toMatch(
      /container [0-9a-f]+ is not connected to (the )?network lab/,
    );
    expect((await leave({ Container: 'joined' }, 404, 'nope')).message).toBe('network nope not found');
    await remove('joined');
    await api.call('DELETE /networks/{id}', { of: 'lab' });
    expect((await api.call('DELETE /networks/{id}', { of: 'lab', expect: 404 })).message).toBe('network lab not found');
  });

  test('networks: what is refused', shows({ endpoints: ofNetworks }), async () => {
    const refused = (status: number, body: object) => api.call('POST /networks/create', { body, expect: status });
    const lab = { Name: 'lab', IPAM: { Config: [{ Subnet: '10.124.0.0/24' }] } };
    await api.call('POST /networks/create', { body: lab });
    expect((await refused(409, lab)).message).toBe('network with name lab already exists');
    expect((await refused(403, { ...lab, Name: 'overlap' })).message).toBe(
      'invalid pool request: Pool overlaps with other one on this address space (10.124.0.0/24)',
    );
    expect((await refused(404, { Name: 'x', Driver: 'nope' })).message).toMatch(/"nope"/);
    expect((await refused(400, { Name: '' })).message).toMatch(/name/);
    expect((await refused(400, { Name: 'x', IPAM: { Config: [{ Subnet: 'x' }] } })).message).toMatch(/x/);
    expect((await refused(403, { Name: 'host', Driver: 'host' })).message).toMatch(/host/);
    for (const name of ['bridge', 'host', 'none']) {
      expect((await api.call('DELETE /networks/{id}', { of: name, expect: 403 })).message).toBe(
        `${name} is a pre-defined network and cannot be removed`,
      );
    }
    await api.call('DELETE /networks/{id}', { of: 'lab' });
  });

  test('networks: prune', shows({ endpoints: ofNetworks }), async () => {
    await api.call('POST /networks/create', { body: { Name: 'gone' } });
    await api.call('POST /networks/create', { body: { Name: 'kept', Labels: { keep: '1' } } });
    const { body } = await api.call('POST /networks/prune', {
      query: { filters: { 'label!': ['keep=1'], until: ['0s'] } },
    });
    expect(body).toEqual({ NetworksDeleted: ['gone'] });
    await api.call('DELETE /networks/{id}', { of: 'kept' });
    expect((await api.call('POST /networks/prune', { query: { filters: { name: ['x'] } }, expect: 400 })).message).toBe(
      "invalid filter 'name'",
    );
  });

  test('networks: nothing is left out', () => {
    // Swarm's networks alone refuse it.
    expect(api.leftOut(ofNetworks)).toEqual(['POST /networks/{id}/disconnect 403']);
  });
});
