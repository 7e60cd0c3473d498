import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestEngine } from '../support/engine.ts';
import type { Result } from '../support/execute.ts';
import { busyboxImage } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { openDocker } from './differential/reference-builders.ts';

/** A builder that docker's client speaks to. */
interface Builder {
  root: string;
  buildx(args: readonly string[], cwd: string): Promise<Result>;
}

let registry: TestRegistry;
let tare: Builder;
let buildKit: Builder;
const undo = new AsyncDisposableStack();
let contexts = 0;

beforeAll(async () => {
  registry = undo.use(await startRegistry());
  await registry.seed('base', 'test', { layers: [readFileSync(busyboxImage().rootfs)] });
  const [engine, docker] = await Promise.all([
    TestEngine.start({ image: false }),
    // Only with its other image store does it export caches.
    openDocker({ features: { 'containerd-snapshotter': true } }),
  ]);
  for (const one of [engine, docker]) {
    undo.use(one);
    undo.use(await tunnel(one, registry.port));
  }
  tare = { root: engine.root, buildx: (args, cwd) => engine.docker(['buildx', ...args], { cwd }) };
  buildKit = { root: docker.root, buildx: (args, cwd) => docker.docker(['buildx', ...args], cwd) };
}, 120_000);

afterAll(() => undo.disposeAsync());

/** @param stamp a command that writes what a cached step repeats, and no other */
const dockerfile = (stamp: string) => `FROM ${registry.address}/base:test AS compile
WORKDIR /work
ARG FLAVOUR=plain
ENV A="<&>" B=\${FLAVOUR}
COPY --chmod=u=rwX,go=rX src src
COPY --exclude=*.md . all
RUN --mount=type=cache,target=/cache,id=kept,sharing=locked ${stamp}
FROM ${registry.address}/base:test AS other
RUN --mount=target=/m,source=src cat /m/file > /other
FROM scratch AS files
COPY --link src/* /links/
FROM compile
COPY --link --from=other /other /linked
COPY --link --from=files / /
RUN --mount=from=other,target=/mounted --network=none cp /mounted/other /end
USER 5:6
COPY --chown=7:8 --from=compile /work/src/fi* /work/stamp /app/
`;

/** Written by one builder, the same for both. */
function contextOf(builder: Builder, stamp: string): string {
  contexts += 1;
  const folder = join(builder.root, `context${contexts}`);
  mkdirSync(join(folder, 'src'), { recursive: true });
  writeFileSync(join(folder, 'Dockerfile'), dockerfile(stamp));
  writeFileSync(join(folder, 'src/file'), 'text\n');
  writeFileSync(join(folder, 'src/script'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(folder, 'readme.md'), 'read\n');
  return folder;
}

const random = 'head -c 16 /dev/urandom | hexdump -e \'16/1 "%02x"\' > stamp';

async function build(builder: Builder, folder: string, args: readonly string[]): Promise<string> {
  const { stderr } = await builder.buildx(['build', '--progress', 'plain', '--provenance=false', ...args, '.'], folder);
  return stderr;
}

/** What the step that is never the same wrote. */
async function stampOf(builder: Builder, folder: string, args: readonly string[]): Promise<string> {
  await build(builder, folder, [...args, '--output', `type=local,dest=${join(folder, 'out')}`]);
  return readFileSync(join(folder, 'out/work/stamp'), 'utf8');
}

interface Document {
  records: { digest: string; inputs?: { selector?: string; link?: number }[][] }[];
}

async function cacheDocument(tag: string): Promise<Document> {
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = await registry.request('GET', `/v2/cache/manifests/${tag}`, { accept });
  const { config } = JSON.parse(manifest.body.toString()) as { config: { digest: string } };
  const blob = await registry.request('GET', `/v2/cache/blobs/${config.digest}`);
  return JSON.parse(blob.body.toString()) as Document;
}

/** Steps by their keys, with what may stand at each of their inputs. */
const stepsOf = ({ records }: Document): [string, string[][]][] =>
  records
    .filter(({ inputs = [] }) => inputs.length > 0)
    .map(({ digest, inputs = [] }): [string, string[][]] => [
      digest,
      inputs.map((links) => links.map(({ selector = '', link = 0 }) => `${records[link]!.digest} ${selector}`)),
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1));

test('steps have the keys that BuildKit gives them, by definition and by content', async () => {
  const stamp = 'echo stamp > stamp';
  const cache = (tag: string) => ['--cache-to', `type=registry,ref=${registry.address}/cache:${tag},mode=max`];
  await Promise.all([
    build(tare, contextOf(tare, stamp), cache('tare')),
    build(buildKit, contextOf(buildKit, stamp), cache('buildkit')),
  ]);
  const [ours, theirs] = [stepsOf(await cacheDocument('tare')), stepsOf(await cacheDocument('buildkit'))];
  expect(ours.map(([digest]) => digest)).toEqual(theirs.map(([digest]) => digest));
  // It tells of the keys of a base image that it had to ask for; we tell of all.
  const isKnown = ([digest, inputs]: [string, string[][]]) =>
    ours.some(
      ([own, known]) =>
        own === digest && inputs.every((links, input) => links.every((link) => known[input]!.includes(link))),
    );
  expect(theirs.filter((step) => !isKnown(step))).toEqual([]);
});

describe.each([
  { from: 'BuildKit', to: 'Tare', builders: () => ({ maker: buildKit, taker: tare }) },
  { from: 'Tare', to: 'BuildKit', builders: () => ({ maker: tare, taker: buildKit }) },
])('a cache of $from’s is one of $to’s', ({ from, builders }) => {
  test.each(['registry', 'local', 'inline'])('%s', async (type) => {
    const { maker, taker } = builders();
    const ref = `${registry.address}/exchange:${from.toLowerCase()}-${type}`;
    const folder = join(maker.root, `cache-${type}`);
    const attributes =
      type === 'local' ? `,dest=${folder},mode=max` : type === 'registry' ? `,ref=${ref},mode=max` : '';
    const output = type === 'inline' ? ['--push', '--tag', ref] : [];
    const made = contextOf(maker, random);
    await build(maker, made, ['--cache-to', `type=${type}${attributes}`, ...output]);
    const wanted = await stampOf(maker, made, []);
    await taker.buildx(['prune', '--all', '--force'], maker.root);
    const source = type === 'local' ? `type=local,src=${folder}` : ref;
    expect(await stampOf(taker, contextOf(taker, random), ['--cache-from', source])).toBe(wanted);
  });
});
