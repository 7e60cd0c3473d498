import { expect, test } from 'vitest';
import type { BuildSession } from '../../src/build/index.ts';
import { digestOf } from '../../src/storage/index.ts';
import { sha256 } from '../support/image.ts';
import { startRegistry } from '../support/registry.ts';
import { tar } from '../support/tar.ts';
import { askedFor, openPullLab } from './pull-lab.ts';

const layer = (name: string) => tar([{ path: name, content: Buffer.from(name) }]);
const { signal } = new AbortController();
const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
const asked = { mode: 'default', platform, sessions: [], signal } as const;

test('an image of a registry is resolved without its layers, and pulled without becoming an image', async () => {
  const lab = await openPullLab();
  const { manifest, layers } = await lab.registry.seed('a/b', 'v1', { layers: [layer('one'), layer('two')] });
  const images = await lab.images.forBuilds();
  const resolved = await images.resolve(lab.at('a/b:v1'), asked);
  expect(resolved).toMatchObject({ ref: lab.at('a/b:v1'), indexOrManifest: manifest.digest });
  expect(JSON.parse(Buffer.from(resolved.config).toString())).toMatchObject({ os: 'linux' });
  expect(await lab.layers.layers()).toEqual([]);
  lab.proxy.clear();
  const told = new Map<string, number[]>();
  const progress = (part: string, current: number, total: number) => void told.set(part, [current, total]);
  const pulled = await images.pull(lab.at('a/b:v1'), resolved.manifest, { ...asked, progress });
  expect(pulled.layers.map(({ diffID }) => diffID)).toEqual([sha256(layer('one')), sha256(layer('two'))]);
  expect(pulled.layers.map(({ descriptor }) => descriptor.digest)).toEqual(layers.map(({ digest }) => digest));
  for (const { digest, size } of layers) {
    expect(told.get(digest)).toEqual([size, size]);
    expect(told.get(`extracting ${digest}`)).toEqual([size, size]);
  }
  expect(askedFor(lab.proxy).every((line) => line.startsWith('GET blobs'))).toBe(true);
  expect(await lab.images.list()).toEqual([]);
  // By its digest it is known, and nobody is asked.
  lab.proxy.clear();
  await images.resolve(lab.at(`a/b@${manifest.digest}`), asked);
  expect(askedFor(lab.proxy)).toEqual([]);
});

test('what is here is taken, unless the registry is to be asked or it is for another machine', async () => {
  const lab = await openPullLab();
  await lab.registry.seed('a', 'v1', { layers: [layer('old')] });
  await lab.pull('a:v1');
  const { manifest } = await lab.registry.seed('a', 'v1', { layers: [layer('new')] });
  const images = await lab.images.forBuilds();
  lab.proxy.clear();
  expect((await images.resolve(lab.at('a:v1'), asked)).indexOrManifest).not.toBe(manifest.digest);
  expect(askedFor(lab.proxy)).toEqual([]);
  expect((await images.resolve(lab.at('a:v1'), { ...asked, mode: 'pull' })).indexOrManifest).toBe(manifest.digest);
  const foreign = { os: 'linux', architecture: 's390x' };
  expect((await images.resolve(lab.at('a:v1'), { ...asked, platform: foreign })).indexOrManifest).toBe(manifest.digest);
});

test('a platform that an index does not have is refused, with those that it has', async () => {
  const lab = await openPullLab();
  const { manifest } = await lab.registry.seed('a', undefined, { layers: [layer('one')] });
  await lab.registry.seedIndex('a', 'v1', [{ ...manifest, platform: { os: 'linux', architecture: 'arm64' } }]);
  const images = await lab.images.forBuilds();
  const foreign = { os: 'linux', architecture: 's390x' };
  await expect(images.resolve(lab.at('a:v1'), { ...asked, platform: foreign })).rejects.toThrow(
    /no matching manifest for linux\/s390x .*linux\/arm64/,
  );
  await expect(images.resolve(lab.at('a:none'), asked)).rejects.toThrow(/a:none: not found/);
});

test('a registry is shown what the client has stored for it', async () => {
  const lab = await openPullLab();
  await using registry = await startRegistry({ auth: { username: 'u', password: 'p' } });
  await registry.seed('a', 'v1', { layers: [layer('one')] });
  const images = await lab.images.forBuilds();
  await expect(images.resolve(`${registry.address}/a:v1`, asked)).rejects.toThrow(/pull access denied/);
  const hosts: string[] = [];
  const credentials = async (host: string) => {
    hosts.push(host);
    return { username: 'u', secret: 'p' };
  };
  const sessions = [{ credentials } as unknown as BuildSession];
  await images.resolve(`${registry.address}/a:v1`, { ...asked, sessions });
  expect(hosts).toEqual([registry.address]);
});

test("a build's image is recorded by its names", async () => {
  const lab = await openPullLab();
  await lab.registry.seed('a', 'v1', { layers: [layer('one')] });
  const images = await lab.images.forBuilds();
  const { manifest, config } = await images.resolve(lab.at('a:v1'), asked);
  const { layers } = await images.pull(lab.at('a:v1'), manifest, { ...asked, progress: () => {} });
  const id = await images.record({ manifest, layers, config: digestOf(config) }, { names: ['made:1', 'made:2'] });
  expect((await lab.images.inspect('made:1')).id).toBe(id);
  expect((await lab.images.inspect('made:2')).repoTags).toEqual(['made:1', 'made:2']);
  expect((await images.layerBlobs(layers[0]!.diffID)).map(({ digest }) => digest)).toEqual([
    layers[0]!.descriptor.digest,
  ]);
});
