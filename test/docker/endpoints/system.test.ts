import { describe, expect, test } from 'vitest';
import { type DockerEndpoint, shows } from '../../support/compatibility.ts';
import { busybox } from '../../support/engine.ts';
import { withEngine } from '../../support/faces.ts';
import { Caller } from './caller.ts';

const endpoints: readonly DockerEndpoint[] = [
  'GET /info',
  'GET /version',
  'GET /_ping',
  'HEAD /_ping',
  'GET /system/df',
];

describe('the engine itself, as the API describes it', shows({ endpoints }), () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);

  test.each(['GET /_ping', 'HEAD /_ping'] as const)('%s', async (endpoint) => {
    const { bytes, headers } = await api.call(endpoint);
    expect(bytes.toString()).toBe(endpoint.startsWith('HEAD') ? '' : 'OK');
    expect(headers).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-cache, no-store, must-revalidate',
      pragma: 'no-cache',
      swarm: 'inactive',
      'builder-version': expect.stringMatching(/^[12]$/),
    });
  });

  test('GET /version', async () => {
    const { body } = await api.call('GET /version');
    expect(body).toMatchObject({
      ...{
        ApiVersion: '1.51',
        MinAPIVersion: '1.24',
        Os: 'linux',
        Arch: process.arch === 'x64' ? 'amd64' : process.arch,
      },
      Platform: { Name: expect.any(String) },
      Components: expect.arrayContaining([expect.objectContaining({ Name: 'Engine', Version: expect.any(String) })]),
    });
  });

  test('GET /info', async () => {
    const { body } = await api.call('GET /info');
    expect(body).toMatchObject({
      ...{ OSType: 'linux', Images: 1, Containers: 0, NCPU: expect.any(Number), MemTotal: expect.any(Number) },
      ...{
        IndexServerAddress: 'https://index.docker.io/v1/',
        Driver: 'overlay',
        DefaultRuntime: 'crun',
        CDISpecDirs: expect.any(Array),
      },
      ...{ Swarm: { LocalNodeState: 'inactive' }, Plugins: { Volume: ['local'] } },
      Runtimes: { crun: { path: expect.any(String) } },
      SecurityOptions: expect.arrayContaining(['name=cgroupns']),
    });
  });

  test.each([
    { version: '1.43', has: ['BridgeNfIptables'], hasNot: ['CDISpecDirs', 'FirewallBackend', 'DiscoveredDevices'] },
    { version: '1.48', has: ['BridgeNfIptables', 'CDISpecDirs'], hasNot: ['FirewallBackend', 'DiscoveredDevices'] },
    { version: '1.49', has: ['BridgeNfIptables', 'FirewallBackend'], hasNot: ['DiscoveredDevices'] },
    { version: '1.51', has: ['FirewallBackend'], hasNot: ['BridgeNfIptables', 'BridgeNfIp6tables'] },
  ])('GET /info of $version', async ({ version, has, hasNot }) => {
    const { body } = await api.call<Record<string, Record<string, unknown>>>('GET /info', { version });
    for (const field of has) expect(body).toHaveProperty(field);
    for (const field of hasNot) expect(body).not.toHaveProperty(field);
    const isOld = Number(version.slice(2)) < 49;
    expect('Expected' in body['RuncCommit']!).toBe(isOld);
    expect('AllowNondistributableArtifactsCIDRs' in body['RegistryConfig']!).toBe(isOld);
  });

  test('GET /system/df: all, or one kind', async () => {
    const body = { Image: busybox, HostConfig: { Binds: ['used:/data'] } };
    await api.call('POST /containers/create', { query: { name: 'user' }, body });
    const all = await api.call('GET /system/df');
    expect(all.body).toMatchObject({
      LayersSize: expect.any(Number),
      Images: [{ RepoTags: [busybox], Containers: 1, SharedSize: 0 }],
      Containers: [{ Names: ['/user'], SizeRw: expect.any(Number) }],
      Volumes: [{ Name: 'used', UsageData: { RefCount: 1, Size: expect.any(Number) } }],
      BuildCache: [],
    });
    const fields = async (type: string[], version?: string) =>
      Object.keys(
        (await api.call<object>('GET /system/df', { query: { type }, ...(version && { version }) })).body,
      ).sort();
    expect(await fields(['volume'])).toEqual(['Volumes']);
    expect(await fields(['container', 'build-cache'])).toEqual(['BuildCache', 'Containers']);
    expect(await fields(['image'])).toEqual(['Images', 'LayersSize']);
    expect(await fields(['volume'], '1.41')).toContain('Images');
    const wrong = await api.call('GET /system/df', { query: { type: ['plugin'] }, expect: 400 });
    expect(wrong.message).toBe('unknown object type: plugin');
    await api.call('DELETE /containers/{id}', { of: 'user', query: { v: 1 } });
  });

  test.each([
    [
      '1.23',
      'client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
    ],
    ['1.52', 'client version 1.52 is too new. Maximum supported API version is 1.51'],
    ['2.0', 'client version 2.0 is too new. Maximum supported API version is 1.51'],
  ])('API %s is refused', async (version, message) => {
    expect(await api.send('GET /info', { version })).toMatchObject({ status: 400, message });
  });

  test('every version between is served', async () => {
    for (let minor = 24; minor <= 51; minor++) {
      expect(await api.send('GET /containers/json', { version: `1.${minor}` })).toMatchObject({
        status: 200,
        body: [],
      });
    }
  });

  test('nothing of these endpoints is left out', () => {
    expect(api.leftOut(endpoints)).toEqual([]);
  });
});
