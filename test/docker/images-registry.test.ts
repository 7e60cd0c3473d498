import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';
import { busyboxEntries, dockerArchive } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';

const base = tar(busyboxEntries());
const layerOf = (content: string) => tar([{ path: 'content', content }]);
const here = process.arch === 'arm64' ? 'arm64' : 'amd64';
const other = here === 'arm64' ? 'amd64' : 'arm64';

interface PushLine {
  id?: string;
  status?: string;
  error?: string;
  progressDetail?: object;
  aux?: { Tag: string; Digest: string; Size: number };
}

describe('docker’s client and a registry', () => {
  const engine = withEngine({ face: 'docker' });
  let registry: TestRegistry;
  let guarded: TestRegistry;
  const open: AsyncDisposable[] = [];

  beforeAll(async () => {
    registry = await startRegistry();
    guarded = await startRegistry({ auth: { username: 'ann', password: 'secret:1' } });
    open.push(registry, guarded);
    for (const { port } of [registry, guarded]) open.push(await tunnel(engine(), port));
  });
  afterAll(async () => {
    for (const one of open.reverse()) await one[Symbol.asyncDispose]();
  });

  const docker = (...args: string[]) => engine().docker(args);
  const fails = async (...args: string[]) => (await engine().docker(args, { expect: 1 })).stderr;
  const named = (path: string, of = registry) => `${of.address}/${path}`;
  const removeAll = async () => {
    await docker('image', 'prune', '--all', '--force');
  };
  const lines = async (path: string): Promise<PushLine[]> => {
    const { stdout } = await engine().run([
      'curl',
      '--silent',
      '--unix-socket',
      engine().socket,
      '-X',
      'POST',
      `http://t${path}`,
    ]);
    return stdout
      .trim()
      .split('\r\n')
      .map((line) => JSON.parse(line) as PushLine);
  };

  test('pull: by tag, again, and by digest', async () => {
    const { manifest } = await registry.seed('team/app', 'v1', { layers: [base, layerOf('one')] });
    const name = named('team/app:v1');
    const first = await docker('pull', name);
    expect(first.stdout).toContain('v1: Pulling from team/app\n');
    expect(first.stdout).toContain(`Digest: ${manifest.digest}\nStatus: Downloaded newer image for ${name}\n${name}\n`);
    expect((await docker('run', '--rm', name, 'cat', '/content')).stdout).toBe('one');
    expect((await docker('pull', name)).stdout).toContain(`Status: Image is up to date for ${name}\n`);
    const digests = await docker('images', '--digests', '--format', '{{.Repository}} {{.Tag}} {{.Digest}}');
    expect(digests.stdout).toContain(`${named('team/app')} v1 ${manifest.digest}\n`);
    await docker('rmi', name);
    const byDigest = `${named('team/app')}@${manifest.digest}`;
    expect((await docker('pull', '--quiet', byDigest)).stdout).toBe(`${byDigest}\n`);
    expect((await docker('images', '--format', '{{.Tag}}', named('team/app'))).stdout).toBe('<none>\n');
    await docker('rmi', byDigest);
  });

  test('pull: what the registry does not have', async () => {
    expect(await fails('pull', named('team/none:v1'))).toMatch(/manifest (for .* not found|unknown)|not found/);
    const { status } = await engine().api('POST', `/images/create?fromImage=${named('team/none')}&tag=v1`);
    expect(status).toBe(404);
    // Nothing listens there.
    expect(await fails('pull', '127.0.0.1:1/a:1')).toMatch(/connect|refused/i);
  });

  test('pull: the platform that fits, another on request, all tags', async () => {
    const layers = (text: string) => ({ layers: [base, layerOf(text)] });
    const mine = await registry.seed('multi', undefined, {
      ...layers(here),
      platform: { os: 'linux', architecture: here },
    });
    const theirs = await registry.seed('multi', undefined, {
      ...layers(other),
      platform: { os: 'linux', architecture: other },
    });
    const index = await registry.seedIndex('multi', 'latest', [
      { ...theirs.manifest, platform: { os: 'linux', architecture: other } },
      { ...mine.manifest, platform: { os: 'linux', architecture: here } },
    ]);
    await registry.seedIndex('multi', 'next', [{ ...mine.manifest, platform: { os: 'linux', architecture: here } }]);
    expect((await docker('pull', named('multi'))).stdout).toContain(`Digest: ${index.digest}`);
    const { stdout } = await docker(
      'image',
      'inspect',
      '--format',
      '{{.Architecture}} {{.Id}} {{.RepoDigests}}',
      named('multi'),
    );
    expect(stdout).toBe(`${here} ${mine.config.digest} [${named('multi')}@${index.digest}]\n`);
    // Of the index not all is here: docker's client says what went in its place.
    await docker('tag', named('multi'), named('alone:1'));
    const alone = await docker('push', named('alone:1'));
    expect(alone.stdout + alone.stderr).toMatch(/Not all multiplatform-content is present/);
    expect(alone.stdout).toContain(`1: digest: ${mine.manifest.digest}`);
    await docker('rmi', named('alone:1'));
    await docker('pull', '--platform', `linux/${other}`, named('multi'));
    expect((await docker('image', 'inspect', '--format', '{{.Id}}', named('multi'))).stdout.trim()).toBe(
      theirs.config.digest,
    );
    expect(await fails('pull', '--platform', 'linux/s390x', named('multi'))).toMatch(/no (matching|image)|s390x/);
    expect((await docker('pull', '--all-tags', named('multi'))).stdout).toContain(named('multi'));
    expect((await docker('images', '--format', '{{.Tag}}', named('multi'))).stdout.trim().split('\n').sort()).toEqual(
      expect.arrayContaining(['latest', 'next']),
    );
    await removeAll();
  });

  test('all platforms: kept, shown, run, pushed as one', async () => {
    const path = `/images/create?fromImage=${named('multi')}&tag=latest&allPlatforms=1`;
    const pulled = await lines(path);
    expect(pulled.at(-1)?.status).toContain(named('multi:latest'));
    const tree = (await docker('image', 'ls', '--tree')).stdout;
    expect(tree).toContain('linux/amd64');
    expect(tree).toContain('linux/arm64');
    const inspected = await docker(
      'image',
      'inspect',
      '--platform',
      `linux/${other}`,
      '--format',
      '{{.Architecture}}',
      named('multi'),
    );
    expect(inspected.stdout.trim()).toBe(other);
    await docker('tag', named('multi'), named('copied:all'));
    const [, , digest] = /^(\S+): digest: (\S+) size: \d+$/m.exec((await docker('push', named('copied:all'))).stdout)!;
    const copied = await registry.request('GET', '/v2/copied/manifests/all', {
      accept: 'application/vnd.oci.image.index.v1+json',
    });
    expect(JSON.parse(copied.body.toString()).manifests).toHaveLength(2);
    expect(copied.headers['docker-content-digest']).toBe(digest);
    // One platform by itself goes as a manifest.
    await docker('push', '--platform', `linux/${other}`, named('copied:all'));
    const one = await registry.request('GET', '/v2/copied/manifests/all', {
      accept: 'application/vnd.oci.image.manifest.v1+json',
    });
    expect(JSON.parse(one.body.toString()).layers).toHaveLength(2);
    await docker('rmi', '--platform', `linux/${other}`, named('copied:all'));
    expect(await fails('image', 'inspect', '--platform', `linux/${other}`, named('multi'))).toContain(
      'does not provide',
    );
    // Our own command line says the same of the platform that is listed; the name goes on with the other.
    await removeAll();
    await lines(path);
    await engine().tare(['rmi', '--platform', `linux/${here}`, named('multi')]);
    expect((await docker('image', 'inspect', '--format', '{{.Architecture}}', named('multi'))).stdout.trim()).toBe(
      other,
    );
    await removeAll();
  });

  test('push: an image from an archive, again, mounted from another repository', async () => {
    const archive = join(engine().root, 'pushed.tar');
    writeFileSync(archive, dockerArchive({ name: named('made/one:1'), layers: [base, layerOf('pushed')] }));
    await docker('load', '--quiet', '--input', archive);
    const id = (await docker('image', 'inspect', '--format', '{{.Id}}', named('made/one:1'))).stdout;
    const first = await lines(`/images/${named('made/one')}/push?tag=1`);
    expect(first[0]).toEqual({ status: `The push refers to repository [${named('made/one')}]` });
    const statuses = new Set(first.map(({ status }) => status));
    expect([...statuses]).toEqual(expect.arrayContaining(['Preparing', 'Pushed']));
    const aux = first.at(-1)?.aux;
    expect(aux).toMatchObject({ Tag: '1', Size: expect.any(Number) });
    expect(first.at(-2)).toEqual({ status: `1: digest: ${aux?.Digest} size: ${aux?.Size}` });
    const stored = await registry.request('GET', `/v2/made/one/manifests/${aux?.Digest}`, {
      accept: 'application/vnd.oci.image.manifest.v1+json',
    });
    const { layers } = JSON.parse(stored.body.toString()) as { layers: { mediaType: string }[] };
    // Registries take compressed layers; archives have plain ones.
    expect(layers.map(({ mediaType }) => mediaType)).toEqual(
      Array(2).fill('application/vnd.oci.image.layer.v1.tar+gzip'),
    );
    const second = await lines(`/images/${named('made/one')}/push?tag=1`);
    expect(second.filter(({ status }) => status === 'Layer already exists')).toHaveLength(2);
    expect(second.at(-1)?.aux).toEqual(aux);
    await docker('tag', named('made/one:1'), named('made/two:1'));
    const third = await lines(`/images/${named('made/two')}/push?tag=1`);
    expect(third.filter(({ status }) => status === 'Mounted from made/one')).toHaveLength(2);
    // What came back is the same image.
    await docker('rmi', named('made/one:1'), named('made/two:1'));
    await docker('pull', named('made/two:1'));
    expect((await docker('image', 'inspect', '--format', '{{.Id}}', named('made/two:1'))).stdout).toBe(id);
    expect((await docker('run', '--rm', named('made/two:1'), 'cat', '/content')).stdout).toBe('pushed');
    await removeAll();
  });

  test.each(['1.24', '1.40', '1.45', '1.51'])('pull, push and inspect at API %s', async (version) => {
    const env = { DOCKER_API_VERSION: version };
    const at = (...args: string[]) => engine().docker(args, { env });
    await registry.seed('old/client', version, { layers: [base, layerOf(version)] });
    const pulled = await at('pull', named(`old/client:${version}`));
    expect(pulled.stdout).toContain(`Status: Downloaded newer image for ${named(`old/client:${version}`)}`);
    await at('tag', named(`old/client:${version}`), named(`pushed/by:${version}`));
    expect((await at('push', named(`pushed/by:${version}`))).stdout).toContain(`${version}: digest: sha256:`);
    expect((await at('history', '--quiet', named(`pushed/by:${version}`))).stdout).toMatch(/^[0-9a-f]{12}\n/);
    expect((await at('rmi', named(`old/client:${version}`), named(`pushed/by:${version}`))).stdout).toContain(
      'Deleted: ',
    );
  });

  test('push: all tags, and what is not here', async () => {
    await docker('load', '--quiet', '--input', join(engine().root, 'pushed.tar'));
    for (const tag of ['a', 'b']) await docker('tag', named('made/one:1'), named(`many:${tag}`));
    const { stdout } = await docker('push', '--all-tags', named('many'));
    expect(stdout).toMatch(/^a: digest: sha256:/m);
    expect(stdout).toMatch(/^b: digest: sha256:/m);
    expect(await fails('push', named('absent:1'))).toContain(
      `An image does not exist locally with the tag: ${named('absent')}`,
    );
    expect(await fails('push', named('many:c'))).toContain(`tag does not exist: ${named('many:c')}`);
    await removeAll();
  });

  test('login, and what needs it', async () => {
    const config = join(engine().root, 'login-config');
    const env = { DOCKER_CONFIG: config };
    const login = async (password: string, expected: number) =>
      await engine().docker(['login', '--username', 'ann', '--password-stdin', guarded.address], {
        env,
        input: Buffer.from(password),
        expect: expected,
      });
    expect((await login('wrong', 1)).stderr).toMatch(/unauthorized|401/i);
    expect((await login('secret:1', 0)).stdout).toContain('Login Succeeded');
    await docker('load', '--quiet', '--input', join(engine().root, 'pushed.tar'));
    await docker('tag', named('made/one:1'), named('private:1', guarded));
    expect(await fails('push', named('private:1', guarded))).toMatch(/access denied; check the name, or log in/);
    await engine().docker(['push', named('private:1', guarded)], { env });
    await removeAll();
    expect(await fails('pull', named('private:1', guarded))).toMatch(
      /pull access denied for .*private, repository does not exist or may require 'docker login'/,
    );
    await engine().docker(['pull', named('private:1', guarded)], { env });
    await engine().docker(['logout', guarded.address], { env });
    await removeAll();
  });

  test('distribution inspect and manifest inspect', async () => {
    const { status, body } = await engine().api<{
      Descriptor: { mediaType: string; digest: string };
      Platforms: object[];
    }>('GET', `/distribution/${named('multi:latest')}/json`);
    expect(status).toBe(200);
    expect(body.Descriptor.mediaType).toBe('application/vnd.oci.image.index.v1+json');
    expect(body.Platforms).toEqual([
      { architecture: other, os: 'linux' },
      { architecture: here, os: 'linux' },
    ]);
    const single = await engine().api<{ Platforms: object[] }>('GET', `/distribution/${named('team/app:v1')}/json`);
    expect(single.body.Platforms).toEqual([{ architecture: here, os: 'linux' }]);
    expect((await engine().api('GET', `/distribution/${named('none:1')}/json`)).status).toBe(404);
    const { stdout } = await docker('manifest', 'inspect', '--insecure', named('multi:latest'));
    expect(JSON.parse(stdout).manifests).toHaveLength(2);
  });

  test('search', async () => {
    const found = [
      { name: 'one/app', description: 'The first', star_count: 12, is_official: false, is_automated: false },
      { name: 'two/app', description: 'The second', star_count: 3, is_official: true, is_automated: false },
    ];
    const asked: string[] = [];
    const server: Server = createServer((request, response) => {
      asked.push(request.url ?? '');
      const isSearch = request.url?.startsWith('/v1/search?');
      response.writeHead(isSearch ? 200 : 404, { 'content-type': 'application/json' });
      response.end(isSearch ? JSON.stringify({ num_results: 2, query: 'app', results: found }) : '{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await using _tunnel = await tunnel(engine(), port);
    const search = async (...flags: string[]) =>
      (
        await docker(
          'search',
          ...flags,
          '--format',
          '{{.Name}} {{.Description}} {{.StarCount}}',
          `127.0.0.1:${port}/app`,
        )
      ).stdout;
    try {
      expect(await search()).toBe('one/app The first 12\ntwo/app The second 3\n');
      expect(await search('--filter', 'stars=10')).toBe('one/app The first 12\n');
      expect(await search('--filter', 'is-official=true')).toBe('two/app The second 3\n');
      await search('--limit', '7');
      expect(asked.at(-1)).toContain('n=7');
      expect(await fails('search', '--limit', '101', 'app')).toMatch(/outside the range of \[1, 100\]/);
    } finally {
      server.close();
    }
  });

  test('events of pull and push', async () => {
    const since = String(Date.now() / 1000);
    await docker('pull', named('team/app:v1'));
    await docker('tag', named('team/app:v1'), named('told:1'));
    await docker('push', named('told:1'));
    const until = String(Date.now() / 1000 + 0.01);
    const { stdout } = await docker(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--format',
      '{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}',
    );
    const lines = stdout.trim().split('\n');
    expect(lines[0]).toBe(`pull ${named('team/app:v1')} ${named('team/app')}`);
    expect(lines.at(-1)).toBe(`push ${named('told:1')} ${named('told')}`);
    await removeAll();
    await docker('load', '--quiet', '--input', join(engine().root, 'pushed.tar'));
    expect((await docker('images', '--format', '{{.Repository}}:{{.Tag}}')).stdout).not.toContain(busybox);
  });
});

describe('docker’s client and an engine that was told of registries', () => {
  const engine = withEngine({
    face: 'docker',
    image: false,
    serve: [
      ...['--insecure-registry', '10.1.0.0/16', '--insecure-registry', 'registry.example:5000'],
      ...['--registry-mirror', 'https://mirror.example'],
    ],
  });

  test('info says so', async () => {
    const { stdout } = await engine().docker(['info', '--format', '{{json .RegistryConfig}}']);
    expect(JSON.parse(stdout)).toMatchObject({
      InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', '10.1.0.0/16'],
      IndexConfigs: {
        'docker.io': { Mirrors: ['https://mirror.example/'], Secure: true, Official: true },
        'registry.example:5000': { Secure: false, Official: false },
      },
      Mirrors: ['https://mirror.example/'],
    });
  });
});
