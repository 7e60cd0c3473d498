import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DockerEndpoint, shows } from '../../support/compatibility.ts';
import { busybox } from '../../support/engine.ts';
import { withEngine } from '../../support/faces.ts';
import { busyboxEntries, dockerArchive } from '../../support/image.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { tunnel } from '../../support/registry-tunnel.ts';
import { tar } from '../../support/tar.ts';
import { Caller } from './caller.ts';

const ofImages: readonly DockerEndpoint[] = [
  'GET /images/json',
  'POST /images/create',
  'GET /images/{name}/json',
  'GET /images/{name}/history',
  'POST /images/{name}/tag',
  'DELETE /images/{name}',
  'POST /images/prune',
  'GET /images/{name}/get',
  'GET /images/get',
  'POST /images/load',
];
const ofRegistries: readonly DockerEndpoint[] = [
  'POST /images/{name}/push',
  'GET /images/search',
  'POST /auth',
  'GET /distribution/{name}/json',
];

const base = tar(busyboxEntries());
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const platform = { os: 'linux', architecture };

interface Summary {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
  Containers: number;
}

describe('images, as the API describes them', () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);
  let registry: TestRegistry;
  const open: AsyncDisposable[] = [];
  const credentials = { username: 'ann', password: 'secret' };
  const auth = (of: object = credentials) => ({
    'x-registry-auth': Buffer.from(JSON.stringify(of)).toString('base64url'),
  });

  beforeAll(async () => {
    registry = await startRegistry({ auth: credentials });
    open.push(registry, await tunnel(engine(), registry.port));
  });
  afterAll(async () => {
    for (const one of open.reverse()) await one[Symbol.asyncDispose]();
  });

  /** A web server that the engine reaches and that has one answer. */
  const served = async (answer: string | Uint8Array): Promise<AsyncDisposable & { address: string }> => {
    const server = createServer((_request, response) =>
      response.setHeader('content-type', 'application/json').end(answer),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const shown = await tunnel(engine(), port);
    return {
      address: `127.0.0.1:${port}`,
      [Symbol.asyncDispose]: async () => {
        await shown[Symbol.asyncDispose]();
        server.close();
        server.closeAllConnections();
      },
    };
  };
  const load = async (name: string, labels: Record<string, string> = {}) => {
    const body = dockerArchive({ name, layers: [base], config: { Labels: labels, Cmd: [name] } });
    return (await api.call('POST /images/load', { body, query: { quiet: 1, platform: `linux/${architecture}` } }))
      .lines;
  };
  const list = async (query: Record<string, string | number | object>, version?: string) =>
    (await api.call<Summary[]>('GET /images/json', { query, ...(version && { version }) })).body;

  test('load, list, filters', shows({ endpoints: ofImages }), async () => {
    expect(await load('one:1', { of: 'test' })).toEqual([{ stream: 'Loaded image: one:1\n' }]);
    const names = async (query: Record<string, string | number | object>) =>
      (await list(query)).flatMap(({ RepoTags }) => RepoTags).sort();
    expect(await names({ all: 1, digests: 1, 'shared-size': 1 })).toEqual([busybox, 'one:1']);
    expect(await names({ filters: { label: ['of=test'] } })).toEqual(['one:1']);
    expect(await names({ filters: { reference: ['one'], dangling: ['false'] } })).toEqual(['one:1']);
    expect((await list({ manifests: 1 }))[0]).toMatchObject({ Manifests: [{ Kind: 'image', Available: true }] });
    expect((await api.call('GET /images/json', { query: { filters: { size: ['1'] } }, expect: 400 })).message).toBe(
      "invalid filter 'size'",
    );
    const broken = await api.call('POST /images/load', { body: Buffer.from('no archive'), expect: 400 });
    expect(broken.message).toMatch(/archive|tar/);
  });

  test('each version has its own fields', shows({ endpoints: ofImages }), async () => {
    const inspect = async (version: string) =>
      (await api.call<Record<string, Record<string, unknown>>>('GET /images/{name}/json', { of: busybox, version }))
        .body;
    const [newest, older] = [await list({ filters: { reference: [busybox] } }), await list({}, '1.50')];
    expect(newest[0]?.Containers).toBe(0);
    expect(older[0]?.Containers).toBe(-1);
    expect((await list({}, '1.43'))[0]).toHaveProperty('VirtualSize');
    expect(newest[0]).not.toHaveProperty('VirtualSize');
    expect((await list({}, '1.47'))[0]).not.toHaveProperty('Descriptor');
    expect((await list({ filter: 'one' }, '1.40')).map(({ RepoTags }) => RepoTags)).toEqual([['one:1']]);
    expect(await list({ filter: 'one' }, '1.41')).toHaveLength(2);
    const [at43, at44, at49, at51] = [
      await inspect('1.43'),
      await inspect('1.44'),
      await inspect('1.49'),
      await inspect('1.51'),
    ];
    expect(at43).toMatchObject({ VirtualSize: at43['Size'], Container: '', ContainerConfig: expect.any(Object) });
    expect(at44).toHaveProperty('ContainerConfig');
    expect(at49['Config']).toMatchObject({ Hostname: '', Tty: false, Image: '', OnBuild: null });
    expect(at51).not.toHaveProperty('ContainerConfig');
    expect(at51['Config']).not.toHaveProperty('Hostname');
    expect(at51['Config']).toMatchObject({ OnBuild: null, User: '', WorkingDir: '' });
  });

  test('inspect and history', shows({ endpoints: ofImages }), async () => {
    const of = 'one:1';
    expect((await api.call('GET /images/{name}/json', { of, query: { manifests: 1 } })).body).toMatchObject({
      ...{ RepoTags: ['one:1'], Os: 'linux', Architecture: architecture, Manifests: [{}] },
      Config: { Cmd: ['one:1'], Labels: { of: 'test' } },
    });
    await api.call('GET /images/{name}/json', { of, query: { platform } });
    const both = await api.call('GET /images/{name}/json', { of, query: { platform, manifests: 1 }, expect: 400 });
    expect(both.message).toBe('conflicting options: manifests and platform options cannot both be set');
    const wrong = await api.call('GET /images/{name}/json', { of, query: { platform: '{' }, expect: 400 });
    expect(wrong.message).toBe('failed to parse platform: {');
    expect((await api.call('GET /images/{name}/json', { of: 'a/b:c', expect: 404 })).message).toBe(
      'No such image: a/b:c',
    );
    const { body } = await api.call<object[]>('GET /images/{name}/history', { of, query: { platform } });
    expect(body).toHaveLength(1);
    expect((await api.call('GET /images/{name}/history', { of: 'nope', expect: 404 })).message).toBe(
      'No such image: nope:latest',
    );
  });

  test('tag and delete', shows({ endpoints: ofImages }), async () => {
    const tag = (of: string, repo: string, name: string, expected: number) =>
      api.call('POST /images/{name}/tag', { of, query: { repo, tag: name }, expect: expected });
    await tag('one:1', 'other.example/two', 'x', 201);
    expect((await tag('nope', 'two', '2', 404)).message).toBe('No such image: nope:latest');
    expect((await tag('one:1', 'UPPER', '2', 400)).message).toMatch(/repository name .*must be lowercase/);
    expect((await tag('one:1', 'sha256', '2', 400)).message).toMatch(
      /refusing to create an ambiguous tag using digest algorithm as name/,
    );
    const { Id } = (await list({ filters: { reference: ['one'] } }))[0]!;
    const several = await api.call('DELETE /images/{name}', { of: Id, expect: 409 });
    expect(several.message).toBe(
      `conflict: unable to delete ${Id.slice(7, 19)} (must be forced) - image is referenced in multiple repositories`,
    );
    const gone = await api.call('DELETE /images/{name}', { of: 'other.example/two:x', query: { noprune: 1 } });
    expect(gone.body).toEqual([{ Untagged: 'other.example/two:x' }]);
    expect((await api.call('DELETE /images/{name}', { of: 'nope', expect: 404 })).message).toBe(
      'No such image: nope:latest',
    );
    const last = await api.call('DELETE /images/{name}', {
      of: 'one:1',
      query: { force: 1, platforms: [JSON.stringify(platform)] },
    });
    expect(JSON.stringify(last.body)).toContain('Deleted');
  });

  test('save: one, several, of a platform', shows({ endpoints: ofImages }), async () => {
    const one = await api.call('GET /images/{name}/get', { of: busybox, query: { platform } });
    expect(one.headers['content-type']).toBe('application/x-tar');
    const several = await api.call('GET /images/get', { query: { names: [busybox], platform } });
    expect(several.bytes.includes('index.json')).toBe(true);
    expect((await api.call('GET /images/get', { query: { names: ['nope'] }, expect: 404 })).message).toBe(
      'No such image: nope:latest',
    );
    const loaded = await api.call('POST /images/load', { body: one.bytes });
    expect(loaded.lines.at(-1)).toEqual({ stream: `Loaded image: ${busybox}\n` });
  });

  test('import: from the request and from an address', shows({ endpoints: ofImages }), async () => {
    const query = { fromSrc: '-', repo: 'imported', tag: 'v1', message: 'brought', changes: ['CMD ["sh"]', 'ENV A=b'] };
    const { lines } = await api.call('POST /images/create', {
      query: { ...query, platform: `linux/${architecture}` },
      body: base,
    });
    expect(lines.at(-1)).toEqual({ status: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });
    expect((await api.call('GET /images/{name}/json', { of: 'imported:v1' })).body).toMatchObject({
      Comment: 'brought',
      Config: { Cmd: ['sh'], Env: ['A=b'] },
    });
    {
      await using there = await served(base);
      const fromSrc = `http://${there.address}/root.tar`;
      const from = await api.call('POST /images/create', { query: { fromSrc, repo: 'fetched' } });
      expect(from.lines[0]).toMatchObject({ status: `Downloading from ${fromSrc}` });
    }
    await api.call('GET /images/{name}/json', { of: 'fetched:latest' });
  });

  test('pull: with credentials, without, and of nothing', shows({ endpoints: ofImages }), async () => {
    await registry.seed('team/app', 'v1', { layers: [base] });
    const fromImage = `${registry.address}/team/app`;
    const { lines } = await api.call('POST /images/create', {
      query: { fromImage, tag: 'v1', platform: `linux/${architecture}` },
      headers: auth(),
    });
    expect(lines[0]).toMatchObject({ status: 'Pulling from team/app', id: 'v1' });
    expect(lines.at(-1)).toEqual({ status: `Status: Downloaded newer image for ${fromImage}:v1` });
    const denied = await api.send('POST /images/create', { query: { fromImage, tag: 'v1' } });
    expect(denied.status).toBe(404);
    expect(denied.message).toMatch(/pull access denied/);
    const none = await api.call('POST /images/create', {
      query: { fromImage, tag: 'v9' },
      headers: auth(),
      expect: 404,
    });
    expect(none.message).toMatch(/not found|manifest unknown/);
    expect((await api.send('POST /images/create', { query: { fromImage: 'scratch' } })).message).toBe(
      "'scratch' is a reserved name",
    );
  });

  test('push: to one tag, and refused', shows({ endpoints: ofRegistries }), async () => {
    const of = `${registry.address}/team/app`;
    const { lines } = await api.call('POST /images/{name}/push', {
      of,
      query: { tag: 'v1', platform },
      headers: auth(),
    });
    expect(lines[0]).toMatchObject({ status: `The push refers to repository [${of}]` });
    expect(lines.at(-1)).toMatchObject({ aux: { Tag: 'v1', Digest: expect.stringMatching(/^sha256:/) } });
    const none = await api.call('POST /images/{name}/push', { of, query: { tag: 'v7' }, headers: auth(), expect: 404 });
    expect(none.message).toMatch(/tag does not exist: |does not exist locally/);
  });

  test('auth, distribution and search', shows({ endpoints: ofRegistries }), async () => {
    const serveraddress = registry.address;
    const login = await api.call('POST /auth', { body: { ...credentials, serveraddress } });
    expect(login.body).toEqual({ Status: 'Login Succeeded', IdentityToken: '' });
    const wrong = await api.call('POST /auth', { body: { ...credentials, password: 'x', serveraddress }, expect: 401 });
    expect(wrong.message).toMatch(/login/);
    const of = `${registry.address}/team/app:v1`;
    const { body } = await api.call('GET /distribution/{name}/json', { of, headers: auth() });
    expect(body).toMatchObject({ Descriptor: { digest: expect.any(String) }, Platforms: [platform] });
    expect((await api.call('GET /distribution/{name}/json', { of, expect: 401 })).message).toMatch(
      /authentication|unauthorized|login/,
    );
  });

  test('search, in a registry that has it', shows({ endpoints: ofRegistries }), async () => {
    const results = [{ name: 'team/app', description: 'ours', star_count: 3, is_official: false }];
    await using there = await served(JSON.stringify({ results }));
    const search = (query: Record<string, string | number | object>, expected: number) =>
      api.call<object[]>('GET /images/search', { query: { term: `${there.address}/app`, ...query }, expect: expected });
    const found = { name: 'team/app', description: 'ours', star_count: 3, is_official: false };
    expect((await search({ limit: 5 }, 200)).body).toEqual([{ ...found, is_automated: false }]);
    expect((await search({ filters: { stars: ['9'] } }, 200)).body).toEqual([]);
    expect((await search({ limit: 'many' }, 400)).message).toMatch(/invalid syntax/);
    expect((await search({ filters: { size: ['1'] } }, 400)).message).toBe("invalid filter 'size'");
  });

  test('prune', shows({ endpoints: ofImages }), async () => {
    await load('gone:1');
    const { body } = await api.call('POST /images/prune', { query: { filters: { dangling: ['false'] } } });
    expect(JSON.stringify(body)).toContain('{"Untagged":"gone:1"}');
    const again = await api.call('POST /images/prune', { query: { filters: { dangling: ['true'] } } });
    expect(again.body).toEqual({ ImagesDeleted: null, SpaceReclaimed: 0 });
    expect((await api.call('POST /images/prune', { query: { filters: { name: ['x'] } }, expect: 400 })).message).toBe(
      "invalid filter 'name'",
    );
  });

  test('nothing of these endpoints is left out', () => {
    expect(api.leftOut([...ofImages, ...ofRegistries])).toEqual([
      // A tag that another image has moves.
      'POST /images/{name}/tag 409',
      // Of registries that this engine does not ask.
      'POST /auth 204',
    ]);
  });
});
