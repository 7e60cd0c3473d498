import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestEngine } from '../support/engine.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';

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

let registry: TestRegistry;
const undo = new AsyncDisposableStack();
let contexts = 0;

beforeAll(async () => {
  registry = undo.use(await startRegistry());
});
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

describe('another machine builds without running a step', () => {
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
  ])('from $kind', async ({ to, from }) => {
    await using machines = new AsyncDisposableStack();
    const [first, second] = [await machine(machines), await machine(machines)];
    const made = await build(first, contextOf(first), ['--cache-to', to()]);
    expect(made.stderr).toMatch(/^#\d+ exporting cache to (registry|client directory)$/m);
    const again = await build(second, contextOf(second), ['--cache-from', from()]);
    expect(again.stderr).toMatch(/^#\d+ importing cache manifest from /m);
    expect(Object.values(stepsOf(again.stderr))).not.toContain('DONE');
    expect(again.id).toBe(made.id);
  });
});

const undoFolder = () => {
  const folder = join(registry.storage, '..', 'local-caches');
  mkdirSync(folder, { recursive: true });
  return folder;
};
