import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { built } from '../support/built.ts';
import { TestEngine } from '../support/engine.ts';
import { busyboxImage } from '../support/image.ts';
import { type Blob, startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';

/** Every kind of step; the stamp tells whether one ran again. */
const dockerfile = `FROM busybox:test AS compile
WORKDIR /work
COPY source .
RUN --mount=type=cache,target=/cache cp source made && head -c 16 /dev/urandom | hexdump -e '16/1 "%02x"' > stamp
FROM busybox:test AS other
RUN head -c 16 /dev/urandom > /other
FROM busybox:test
COPY --from=compile /work/made /work/stamp /app/
COPY --link --from=other /other /linked
RUN --mount=from=other,target=/mounted cp /mounted/other /end
`;

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';

let registry: TestRegistry;
const undo = new AsyncDisposableStack();
let contexts = 0;

beforeAll(async () => {
  built();
  registry = undo.use(await startRegistry());
}, 120_000);
afterAll(() => undo.disposeAsync());

/** A machine with nothing on it but the base image, which reaches the registry. */
async function machine(owner: AsyncDisposableStack): Promise<TestEngine> {
  const engine = owner.use(await TestEngine.start({ face: 'in-process' }));
  owner.use(await tunnel(engine, registry.port));
  return engine;
}

function contextOf(engine: TestEngine, file = dockerfile, source = 'source\n'): string {
  contexts += 1;
  const folder = join(engine.root, `context${contexts}`);
  mkdirSync(folder);
  writeFileSync(join(folder, 'Dockerfile'), file);
  writeFileSync(join(folder, 'source'), source);
  return folder;
}

const build = async (engine: TestEngine, folder: string, args: readonly string[]) => {
  const file = join(folder, 'id');
  const { stderr } = await engine.cli(['build', '--progress', 'plain', '--iidfile', file, ...args, folder]);
  return { id: readFileSync(file, 'utf8'), stderr };
};

/** Steps by their titles: whether they were done, or taken from the cache. */
function stepsOf(stderr: string): Record<string, 'CACHED' | 'DONE'> {
  const names = new Map([...stderr.matchAll(/^#(\d+) (\[.*)$/gm)].map(([, number, name]) => [number!, name!]));
  const ends = [...stderr.matchAll(/^#(\d+) (CACHED|DONE)\b/gm)];
  return Object.fromEntries(
    ends.flatMap(([, number, end]) => {
      const name = names.get(number!);
      return name === undefined || /\[internal\]|\bFROM\b/.test(name) ? [] : [[name, end as 'CACHED' | 'DONE']];
    }),
  );
}

/** Documents of a cache in the registry. */
async function cacheAt(tag: string): Promise<{ steps: string[]; blobs: string[] }> {
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const answer = await registry.request('GET', `/v2/cache/manifests/${tag}`, { accept });
  const { config, layers } = JSON.parse(answer.body.toString()) as Record<'config', Blob> & { layers: Blob[] };
  const { body } = await registry.request('GET', `/v2/cache/blobs/${config.digest}`);
  const { records } = JSON.parse(body.toString()) as { records: { digest: string; layers?: unknown[] }[] };
  return {
    steps: records.map(({ digest, layers: results = [] }) => `${digest} ${results.length}`).sort(),
    blobs: layers.map(({ digest }) => digest).sort(),
  };
}

describe('with another machine', () => {
  const undoMachines = new AsyncDisposableStack();
  let first: TestEngine;
  let second: TestEngine;
  beforeAll(async () => {
    [first, second] = await Promise.all([machine(undoMachines), machine(undoMachines)]);
  }, 60_000);
  afterAll(() => undoMachines.disposeAsync());

  const local = (name: string) => join(undoFolder(), name);
  test.each([
    {
      kind: 'a registry, all steps',
      to: () => `type=registry,ref=${registry.address}/cache:max,mode=max`,
      from: () => `${registry.address}/cache:max`,
    },
    {
      kind: 'a registry, all steps, as an index with zstd',
      to: () =>
        `type=registry,ref=${registry.address}/cache:index,mode=max,image-manifest=false,compression=zstd,force-compression=true`,
      from: () => `type=registry,ref=${registry.address}/cache:index`,
    },
    {
      kind: 'a registry, what the result is made of',
      to: () => `type=registry,ref=${registry.address}/cache:min`,
      from: () => `type=registry,ref=${registry.address}/cache:min`,
    },
    {
      kind: 'a folder',
      to: () => `type=local,dest=${local('folder')},mode=max`,
      from: () => `type=local,src=${local('folder')}`,
    },
    {
      kind: 'a folder, by a tag',
      to: () => `type=local,dest=${local('folder')},tag=second`,
      from: () => `type=local,src=${local('folder')},tag=second`,
    },
  ])('another machine builds without running a step from $kind', async ({ to, from }) => {
    await second.cli(['builder', 'prune', '--all', '--force']);
    await second.cli(['image', 'prune', '--force']);
    const made = await build(first, contextOf(first), ['--cache-to', to()]);
    expect(made.stderr).toMatch(/^#\d+ exporting cache to (registry|client directory)$/m);
    const again = await build(second, contextOf(second), ['--cache-from', from()]);
    expect(again.stderr).toMatch(/^#\d+ importing cache manifest from /m);
    expect(Object.values(stepsOf(again.stderr))).not.toContain('DONE');
    expect(again.id).toBe(made.id);
  });

  test('what a build takes from a cache and does not need is carried on; one step more runs alone', async () => {
    const ref = (tag: string) => `type=registry,ref=${registry.address}/cache:${tag}`;
    const made = await build(first, contextOf(first), ['--cache-to', `${ref('one')},mode=max`]);
    const again = await build(second, contextOf(second), [
      '--cache-from',
      ref('one'),
      '--cache-to',
      `${ref('two')},mode=max`,
    ]);
    expect(again.id).toBe(made.id);
    expect(await cacheAt('two')).toEqual(await cacheAt('one'));
    // The layers of the stages were not fetched: the result has none of them.
    const { blobs } = await cacheAt('one');
    const stored = blobs.filter((digest) =>
      existsSync(join(second.dataRoot, 'content/blobs/sha256', digest.slice('sha256:'.length))),
    );
    expect(stored.length).toBeLessThan(blobs.length);
    const longer = contextOf(second, `${dockerfile}RUN echo more > /more\n`);
    const steps = stepsOf((await build(second, longer, ['--cache-from', ref('two')])).stderr);
    expect(Object.entries(steps).flatMap(([name, end]) => (end === 'DONE' ? [name] : []))).toEqual([
      expect.stringMatching(/RUN echo more/),
    ]);
  });

  test('a cache inside of the image, as the build argument asks', async () => {
    const inline = ['--build-arg', 'BUILDKIT_INLINE_CACHE=1', '--push', '--tag'];
    const file = 'FROM busybox:test\nRUN head -c 16 /dev/urandom > /stamp\nCOPY --link source /linked\n';
    const made = await build(first, contextOf(first, file), [...inline, `${registry.address}/app:first`]);
    expect(made.stderr).toMatch(/preparing layers for inline cache/);
    const from = ['--cache-from', `${registry.address}/app:first`];
    const again = await build(second, contextOf(second, file), [...from, ...inline, `${registry.address}/app:second`]);
    expect(Object.values(stepsOf(again.stderr))).not.toContain('DONE');
    const digest = async (tag: string) =>
      (
        await registry.request('GET', `/v2/app/manifests/${tag}`, {
          accept: 'application/vnd.oci.image.manifest.v1+json',
        })
      ).headers['docker-content-digest'];
    expect(await digest('second')).toBe(await digest('first'));
    const app = `${registry.address}/app`;
    const format = ['--format', '{{json .RepoDigests}}'];
    const { stdout } = await second.cli(['inspect', ...format, `${app}:second`]);
    expect(JSON.parse(stdout)).toEqual([`${app}@${await digest('second')}`]);
  });

  test('a cache inside of an image that no registry has', async () => {
    const context = contextOf(first, 'FROM busybox:test\nRUN head -c 16 /dev/urandom > /stamp\n');
    const name = `${registry.address}/nothing:inside`;
    const inline = ['--build-arg', 'BUILDKIT_INLINE_CACHE=1', '--tag', name];
    const made = await build(first, context, inline);
    await first.cli(['builder', 'prune', '--all', '--force']);
    for (const from of [name, made.id]) {
      const again = await build(first, context, [...inline, '--cache-from', from]);
      expect(Object.values(stepsOf(again.stderr))).toEqual(['CACHED']);
      expect(again.id).toBe(made.id);
      await first.cli(['builder', 'prune', '--all', '--force']);
    }
  });

  test('the layers of a base that is no image here stay for an image that is made of the cache', async () => {
    await registry.seed('base', 'test', { layers: [readFileSync(busyboxImage().rootfs)] });
    const context = contextOf(first, `FROM ${registry.address}/base:test\nRUN echo kept > /kept\n`);
    await build(first, context, ['--output', 'type=cacheonly']);
    // Whatever no record names goes with a removed image.
    await build(first, contextOf(first, 'FROM busybox:test\nLABEL a=b\n'), ['--tag', 'gone:test']);
    await first.cli(['rmi', 'gone:test']);
    const made = await build(first, context, ['--tag', 'kept:test']);
    expect(Object.values(stepsOf(made.stderr))).toEqual(['CACHED']);
    const shown = await first.cli(['run', '--rm', '--network', 'none', 'kept:test', 'cat', '/kept']);
    expect(shown.stdout).toBe('kept\n');
  });

  test('a folder keeps the caches of all its tags', async () => {
    const folder = join(first.root, 'tags');
    const context = contextOf(first, 'FROM busybox:test\nRUN echo 1 > /1\n');
    await build(first, context, ['--cache-to', `type=local,dest=${folder}`]);
    await build(first, context, [
      ...['--cache-to', `type=local,dest=${folder},tag=b,compression=uncompressed`],
      ...['--cache-to', `type=local,dest=${folder},tag=c,mode=max,compression=zstd`],
    ]);
    await build(first, context, ['--cache-to', `type=local,dest=${folder},tag=b,compression=zstd`]);
    const { manifests } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
      manifests: (Blob & { annotations: Record<string, string> })[];
    };
    const names = manifests.map(({ annotations }) => annotations['org.opencontainers.image.ref.name']);
    expect(names.sort()).toEqual(['b', 'c', 'latest']);
    const [b, c] = ['b', 'c'].map((tag) =>
      manifests.find(({ annotations }) => Object.values(annotations).includes(tag)),
    );
    expect(b!.digest).toBe(c!.digest);
    const tagged = await build(first, context, ['--no-cache', '--cache-from', `type=local,src=${folder},tag=none`]);
    expect(tagged.stderr).toMatch(/ERROR: .*it has no index yet/);
  });

  test('a cache that cannot be read is told, and the build goes on without it', async () => {
    const context = contextOf(first, 'FROM busybox:test\nRUN echo told > /told\n');
    const missing = await build(first, context, ['--cache-from', `${registry.address}/nothing:here`]);
    expect(missing.stderr).toMatch(/importing cache manifest from .*nothing:here/);
    expect(missing.stderr).toMatch(/^#\d+ ERROR: .*not found/im);
    const { stderr } = await first.cli(['build', '--cache-from', 'type=gha', context], { expect: 1 });
    expect(stderr).toContain('caches of type gha are not supported: use registry, local or inline');
  });

  test('a cache that cannot be written fails the build, unless that is forgiven', async () => {
    const context = contextOf(first, 'FROM busybox:test\nRUN echo told > /told\n');
    const target = 'type=registry,ref=127.0.0.1:1/nobody:here';
    const { stderr } = await first.cli(['build', '--cache-to', target, context], { expect: 1 });
    expect(stderr).toContain('127.0.0.1:1');
    const forgiven = await build(first, context, ['--cache-to', `${target},ignore-error=true`]);
    expect(forgiven.stderr).toMatch(/^#\d+ ERROR: .*127\.0\.0\.1:1/m);
    for (const [wrong, says] of [
      ['type=s3,bucket=b', 'caches of type s3 are not supported'],
      ['type=local', 'dest=FOLDER is missing'],
      [`${target},mode=some`, 'invalid mode "some": want min, max'],
    ] as const) {
      expect((await first.cli(['build', '--cache-to', wrong, context], { expect: 1 })).stderr).toContain(says);
    }
  });

  test('a layer that is not what the cache says is refused, and its step runs', async () => {
    const context = contextOf(first, 'FROM busybox:test\nRUN echo right > /right\n');
    await build(first, context, ['--cache-to', `type=registry,ref=${registry.address}/poison:good`]);
    const accept = 'application/vnd.oci.image.manifest.v1+json';
    const { body } = await registry.request('GET', '/v2/poison/manifests/good', { accept });
    const manifest = JSON.parse(body.toString()) as { config: Blob; layers: (Blob & { annotations: object })[] };
    const evil = await registry.putBlob('poison', gzipSync(tar([{ path: 'evil', content: 'evil' }])), layerType);
    const config = await registry.request('GET', `/v2/poison/blobs/${manifest.config.digest}`);
    const top = manifest.layers.findLast(({ annotations }) => JSON.stringify(annotations).includes('echo right'))!;
    const document = Buffer.from(config.body.toString().replaceAll(top.digest, evil.digest));
    await registry.putManifest(
      'poison',
      {
        ...{ schemaVersion: 2, mediaType: accept },
        config: await registry.putBlob('poison', document, manifest.config.mediaType),
        layers: manifest.layers.map((layer) => (layer === top ? { ...layer, ...evil } : layer)),
      },
      'evil',
    );
    const built = await build(second, contextOf(second, 'FROM busybox:test\nRUN echo right > /right\n'), [
      ...['--cache-from', `${registry.address}/poison:evil`, '--tag', 'right:test'],
    ]);
    expect(built.stderr).toMatch(/importing from registry:.*poison:evil failed, running the step/);
    const shown = await second.cli(['run', '--rm', '--network', 'none', 'right:test', 'ls', '/']);
    expect(shown.stdout).toMatch(/^right$/m);
    expect(shown.stdout).not.toContain('evil');
  });
});

const undoFolder = () => {
  const folder = join(registry.storage, '..', 'local-caches');
  mkdirSync(folder, { recursive: true });
  return folder;
};
