import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { TestEngine } from '../support/engine.ts';
import { eventually, execute } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

interface CacheLine {
  ID: string;
  Parents?: string[];
  Type: string;
  Description: string;
  InUse: boolean;
  Shared: boolean;
  Size: number;
  CreatedAt: string;
  LastUsedAt: string | null;
  UsageCount: number;
}

const dockerfile = `FROM busybox:test AS base
RUN --network=none head -c 5000000 /dev/urandom > /large
FROM base
RUN --network=none --mount=type=cache,target=/c head -c 3000000 /dev/urandom > /c/kept && echo made > /small
`;

let contexts = 0;
function contextOf(engine: TestEngine, text = dockerfile): string {
  contexts += 1;
  const folder = join(engine.root, `context${contexts}`);
  mkdirSync(folder);
  writeFileSync(join(folder, 'Dockerfile'), text);
  return folder;
}

/** Bytes of all files of layers, blobs and caches. */
async function onDisk({ dataRoot }: TestEngine): Promise<number> {
  const folders = ['layers', 'content', 'build'].map((name) => join(dataRoot, name));
  const { stdout } = await execute([
    'sh',
    '-c',
    `find ${folders.join(' ')} -type f -printf '%s\\n' 2>/dev/null | awk '{ sum += $1 } END { print sum + 0 }'`,
  ]);
  return Number(stdout);
}

const lines = async (engine: TestEngine, filters = '') =>
  (await engine.api<{ BuildCache: CacheLine[] }>('GET', `/system/df?type=build-cache${filters}`)).body.BuildCache;

const build = async (engine: TestEngine, folder: string, ...args: string[]) =>
  (await engine.cli(['build', '--progress', 'plain', ...args, folder])).stderr;
const cached = (stderr: string) => stderr.match(/^#\d+ CACHED$/gm)?.length ?? 0;

/** As people read it: `5.02MB`. */
function bytesIn(text: string): number {
  const [, number, unit] = /reclaimed space: ([\d.]+)([kMG]?)B/.exec(text) ?? [];
  return Number(number) * { '': 1, k: 1e3, M: 1e6, G: 1e9 }[unit!]!;
}

describe.each(['docker', 'in-process'] as const)('images and the cache, through %s', (face) => {
  const engine = withEngine({ face });

  test('each keeps what it needs without the other, and what nobody needs is freed', async () => {
    const before = await onDisk(engine());
    const folder = contextOf(engine());
    const args = ['--tag', 'one:test', '--label', 'ours=1'];
    await build(engine(), folder, ...args);
    expect(await onDisk(engine())).toBeGreaterThan(before + 8_000_000);

    const full = await onDisk(engine());
    const pruned = await engine().cli(['image', 'prune', '--all', '--force', '--filter', 'label=ours']);
    expect(pruned.stdout).toContain('one:test');
    // The layers are still the cache's.
    expect(bytesIn(pruned.stdout)).toBeLessThan(full - (await onDisk(engine())) + 100_000);
    expect(cached(await build(engine(), folder, ...args))).toBeGreaterThanOrEqual(2);
    await engine().cli(['rmi', 'one:test']);
    expect(cached(await build(engine(), folder, ...args))).toBeGreaterThanOrEqual(2);

    await engine().cli(['builder', 'prune', '--all', '--force']);
    const shown = await engine().cli(['run', '--rm', '--network', 'none', 'one:test', 'cat', '/small']);
    expect(shown.stdout).toBe('made\n');
    expect(await onDisk(engine())).toBeGreaterThan(before + 5_000_000);
    await engine().cli(['rmi', 'one:test']);
    expect(await onDisk(engine())).toBeLessThan(before + 200_000);
  });

  test('system prune frees what it says, and nothing is left to be listed', async () => {
    const before = await onDisk(engine());
    await build(engine(), contextOf(engine()), '--tag', 'two:test');
    await engine().cli(['rmi', 'two:test']);
    const full = await onDisk(engine());
    const { stdout } = await engine().cli(['system', 'prune', '--force']);
    expect(stdout).toContain('Deleted build cache objects:');
    const after = await onDisk(engine());
    expect(after).toBeLessThan(before + 200_000);
    expect(Math.abs(bytesIn(stdout) - (full - after))).toBeLessThan(200_000);
    const rows = (await engine().cli(['system', 'df', '--format', '{{.Type}}={{.Size}}'])).stdout;
    expect(rows).toContain('Build Cache=0B');
  });
});

describe('the list', () => {
  const engine = withEngine({ face: 'docker' });

  test('each object once, with docker’s fields; filters choose among them', async () => {
    const folder = contextOf(engine());
    await build(engine(), folder, '--tag', 'base:test');
    await build(
      engine(),
      contextOf(engine(), 'FROM base:test\nRUN --network=none echo more > /more\n'),
      '--tag',
      'more:test',
    );
    const all = await lines(engine());
    const large = all.filter(({ Size, Type }) => Type === 'regular' && Size >= 5_000_000);
    expect(large).toHaveLength(1);
    expect(large[0]).toMatchObject({ Shared: true, InUse: false, Parents: [expect.any(String)] });
    expect(large[0]!.UsageCount).toBeGreaterThanOrEqual(2);
    expect(large[0]!.Description).toContain('head -c 5000000');
    const mount = all.find(({ Type }) => Type === 'exec.cachemount');
    expect(mount).toMatchObject({
      Size: 3_000_000,
      Shared: false,
      Description: expect.stringContaining('cached mount /c'),
    });
    expect(all.every(({ ID }) => /^[0-9a-f]{25}$/.test(ID))).toBe(true);

    const of = async (filters: Record<string, string[]>) =>
      (await lines(engine(), `&filters=${encodeURIComponent(JSON.stringify(filters))}`)).map(({ Type }) => Type);
    expect(await of({ type: ['exec.cachemount'] })).toEqual(['exec.cachemount']);
    expect(await of({ 'description~': ['^cached mount /c'] })).toEqual(['exec.cachemount']);
    expect(await of({ id: [mount!.ID.slice(0, 10)] })).toEqual(['exec.cachemount']);
    expect(await of({ until: ['1h'] })).toEqual([]);
    expect(await of({ label: ['x'] })).toEqual([]);
    expect((await of({ shared: [] })).every((type) => type === 'regular')).toBe(true);

    const du = (await engine().docker(['buildx', 'du', '--verbose', '--filter', 'type=exec.cachemount'])).stdout;
    expect(du).toMatch(/Size:\s+3MB\nDescription:\s+cached mount \/c/);
    const ours = (await engine().tare(['builder', 'du', '--filter', 'type==exec.cachemount'])).stdout;
    expect(ours).toMatch(/true +3MB .*cached mount \/c with id/);
    const verbose = (await engine().docker(['system', 'df', '--verbose'])).stdout;
    expect(verbose).toMatch(/exec\.cachemount +3MB/);
  });

  test('pruning by sizes, by filters, and one object by its description', async () => {
    const ask = async (query: string) =>
      await engine().api<{ CachesDeleted: string[] | null; SpaceReclaimed: number; message?: string }>(
        'POST',
        `/v1.51/build/prune?${query}`,
      );
    const filters = (value: object) => `filters=${encodeURIComponent(JSON.stringify(value))}`;
    expect((await ask('reserved-space=100000000')).body).toEqual({ CachesDeleted: null, SpaceReclaimed: 0 });
    expect((await ask(filters({ until: ['24h'] }))).body.CachesDeleted).toBeNull();
    expect((await ask(filters({ label: ['a=b'] }))).body.CachesDeleted).toBeNull();
    for (const [query, message] of [
      ['keep-storage=1GB', /keep-storage is in bytes and expects an integer, got 1GB/],
      [filters({ color: ['red'] }), /invalid filter 'color'/],
      [filters({ until: ['1h'], 'unused-for': ['2h'] }), /conflicting filters/],
      [filters({ type: ['a', 'b'] }), /expect only one value/],
      [filters({ 'description~': ['('] }), /invalid filter pattern/],
    ] as const) {
      const { status, body } = await ask(query);
      expect([status, body.message]).toEqual([400, expect.stringMatching(message)]);
    }
    const since = Math.floor(Date.now() / 1000) - 1;
    expect(
      (await engine().tare(['builder', 'prune', '--force', '--filter', 'description~=cached mount /c'])).stdout,
    ).toMatch(/^Deleted build cache objects:\n[0-9a-f]{25}\n\nTotal reclaimed space: 3MB\n$/);
    // A client's "now" is a whole second.
    await eventually('the event is there', async () => {
      const told = ['events', '--since', String(since), '--until', '0s', '--filter', 'type=builder'];
      return /builder prune .*\(reclaimed=3000000\)/.test((await engine().docker(told)).stdout);
    });
    await engine().docker(['rmi', 'more:test', 'base:test']);
    const { CachesDeleted, SpaceReclaimed } = (await ask('max-used-space=1&keep-storage=1')).body;
    expect(CachesDeleted!.length).toBeGreaterThan(1);
    expect(SpaceReclaimed).toBeGreaterThan(5_000_000);
    expect((await lines(engine())).every(({ Shared }) => Shared)).toBe(true);
    expect((await engine().docker(['buildx', 'prune', '--all', '--force'])).stdout).toMatch(/Total:\s+\S+/);
    expect(await lines(engine())).toEqual([]);
  });
});

describe('the policy', () => {
  const engine = withEngine({ face: 'docker' });

  test('is the file’s, is shown, is kept after builds, and changes while the daemon runs', async () => {
    const file = join(engine().root, 'tare.toml');
    const roots = ['--config-file', file];
    writeFileSync(
      file,
      '[[builder.gc.policy]]\nall = true\nfilter = ["type=exec.cachemount"]\nmaxUsedSpace = "1MB"\nkeepDuration = "0s"\n',
    );
    await engine().stopDaemon();
    await engine().serve(roots);
    expect((await engine().docker(['buildx', 'inspect'])).stdout).toMatch(
      /rule#0:\n All: +true\n Filters: +type=="?exec.cachemount"?\n Max Used Space: 976.6KiB\n$/,
    );
    await build(engine(), contextOf(engine()), '--tag', 'kept:test');
    await eventually(
      'the cache mount goes, and the layers stay',
      async () => {
        const types = (await lines(engine())).map(({ Type }) => Type);
        return !types.includes('exec.cachemount') && types.includes('regular');
      },
      60_000,
    );
    writeFileSync(file, '[builder]\nmax-parallelism = 1\ngc = { enabled = false }\n');
    expect((await engine().tare(['system', 'reload'])).stdout).toContain('builder');
    expect((await engine().docker(['buildx', 'inspect'])).stdout).not.toContain('GC Policy');
  });
});
