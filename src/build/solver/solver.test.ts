import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import type { Op } from '../../protocol/index.ts';
import type { LayerName } from '../../storage/index.ts';
import type { OperationContext } from '../operation.ts';
import type { BuildSession } from '../session.ts';
import { VertexError } from '../vertex-error.ts';
import { edgeOf, SolverBench, type Step } from './solver.fixture.ts';

let folder: string;
let bench: SolverBench;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tare-solver-'));
  bench = await SolverBench.open(join(folder, 'tare.db'));
});
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const base: Step = { name: 'base' };
const install: Step = { name: 'install', inputs: [base] };
const context: Step = { name: 'context' };
const copy: Step = { name: 'copy', inputs: [install, context] };
const compile: Step = { name: 'compile', inputs: [copy] };

/** A client's folder with this content. */
const sends = (content: string) => {
  bench.behaviours['context'] = {
    isEphemeral: true,
    run: async () => {
      const layer = `local:sent-${content}-${bench.nowMs++}` as LayerName;
      bench.contents.set(layer, content);
      return [{ layers: [layer] }];
    },
  };
  bench.behaviours['copy'] = { byContent: [1] };
};

const verticesAtEnd = (progress: Awaited<ReturnType<SolverBench['build']>>['progress']) =>
  new Map(progress.flatMap(({ vertices = [] }) => vertices.map((vertex) => [vertex.name, vertex])));

test('a build whose end goes wrong uses its layers no longer', async () => {
  bench.cache.touch = () => Promise.reject(new Error('the disk is full'));
  await expect(bench.build({ name: 'a' })).rejects.toThrow('the disk is full');
  expect(bench.solver.layersInUse()).toEqual(new Set());
});

test('a definition that was built before is found, and nothing runs', async () => {
  const first = await bench.build(install);
  expect(bench.ran()).toEqual(['base', 'install']);
  const second = await bench.build(install);
  expect(bench.ran()).toEqual([]);
  expect(second.tree).toEqual(first.tree);
  const shown = verticesAtEnd(second.progress);
  expect(shown.get('install')).toMatchObject({ isCached: true, completedMs: expect.any(Number) });
});

test('the records outlast the process', async () => {
  const { tree } = await bench.build(install);
  await bench[Symbol.asyncDispose]();
  bench = await SolverBench.open(join(folder, 'tare.db'));
  expect((await bench.build(install)).tree).toEqual(tree);
  expect(bench.ran()).toEqual([]);
});

test('a client folder with the same content gives the same result, sent again or not', async () => {
  sends('a');
  const { tree } = await bench.build(compile);
  expect(bench.ran()).toEqual(['base', 'compile', 'context', 'copy', 'install']);
  expect((await bench.build(compile)).tree).toEqual(tree);
  expect(bench.ran()).toEqual(['context']);
  sends('b');
  expect((await bench.build(compile)).tree).not.toEqual(tree);
  expect(bench.ran()).toEqual(['compile', 'context', 'copy']);
  sends('a');
  expect((await bench.build(compile)).tree).toEqual(tree);
});

test('a build that only asks for a folder makes nothing', async () => {
  const scope = { sessions: [], entitlements: new Set<string>(), signal: new AbortController().signal };
  const makesAny = async (step: Step) => {
    await using build = bench.solver.begin({ ...scope, progress: () => {} });
    await build.tree(edgeOf(step));
    return build.hasMade;
  };
  sends('a');
  expect(await makesAny(context)).toBe(false);
  expect(await makesAny(compile)).toBe(true);
  expect(await makesAny(compile)).toBe(false);
  expect(await makesAny({ name: 'by its place', inputs: [context] })).toBe(true);
});

test('equal content from another vertex is enough, and its definition then leads there at once', async () => {
  const [one, other] = [
    { name: 'one', inputs: [base] },
    { name: 'other', inputs: [base] },
  ];
  bench.behaviours['from'] = { byContent: [0] };
  const made = (content: string) => async () => {
    const layer = `local:${bench.nowMs++}` as LayerName;
    bench.contents.set(layer, content);
    return [{ layers: [layer] }];
  };
  bench.behaviours['one'] = { run: made('same') };
  bench.behaviours['other'] = { run: made('same') };
  const first = await bench.build({ name: 'from', inputs: [one] });
  bench.ran();
  const second = await bench.build({ name: 'from', inputs: [other] });
  expect(bench.ran()).toEqual(['other']);
  expect(second.tree).toEqual(first.tree);
  // Even when nothing of the input is there any more.
  for (const layer of bench.contents.keys()) bench.missing.add(layer);
  bench.missing.delete(first.tree.layers[0]!);
  await bench.build({ name: 'from', inputs: [other] });
  expect(bench.ran()).toEqual([]);
});

test('what lies below a result may be gone', async () => {
  const { tree } = await bench.build({ name: 'last', inputs: [{ name: 'from', inputs: [install] }] });
  bench.ran();
  await bench.db.write((tx) => tx.run(`DELETE FROM build_results WHERE layers NOT LIKE '%last%'`));
  expect((await bench.build({ name: 'last', inputs: [{ name: 'from', inputs: [install] }] })).tree).toEqual(tree);
  expect(bench.ran()).toEqual([]);
});

test('a record whose layer is lost does not count', async () => {
  const { tree } = await bench.build(install);
  bench.ran();
  bench.missing.add(tree.layers[1]!);
  const again = await bench.build(install);
  expect(bench.ran()).toEqual(['install']);
  expect(again.tree.layers[0]).toBe(tree.layers[0]);
});

test('a step that ignores the cache runs, and what it gives is the newest', async () => {
  await bench.build(install);
  bench.ran();
  const { tree } = await bench.build({ ...install, ignoreCache: true });
  expect(bench.ran()).toEqual(['install']);
  expect((await bench.build(install)).tree).toEqual(tree);
});

test('builds at the same time share their steps, and one that leaves takes nothing from the others', async () => {
  const started = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  bench.behaviours['install'] = {
    run: async (_, { progress }) => {
      progress.log(1, Buffer.from('working'));
      started.resolve();
      await gate.promise;
      return undefined;
    },
  };
  const leaving = new AbortController();
  const left = bench.build(install, { signal: leaving.signal });
  await started.promise;
  const joined = Promise.withResolvers<void>();
  const staying = bench.build(install, {
    progress: ({ logs }) => logs && joined.resolve(),
  });
  await joined.promise;
  leaving.abort(new TareError('Unavailable', 'context canceled'));
  await expect(left).rejects.toThrow('context canceled');
  gate.resolve();
  await staying;
  expect(bench.ran()).toEqual(['base', 'install']);
});

test('work that secrets have a part in is shared by builds of one caller that ask for the very same', async () => {
  const equal = { digest: 'equal', usesSecrets: true };
  const gate = Promise.withResolvers<void>();
  const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  const run = async (_: unknown, { progress }: OperationContext) => {
    progress.log(1, Buffer.from('working'));
    begun[count++]!.resolve();
    await gate.promise;
    return undefined;
  };
  bench.behaviours['here'] = { ...equal, run };
  bench.behaviours['elsewhere'] = { ...equal, run };
  const sessionOf = (owner: string) => ({ sessions: [{ owner } as BuildSession] });
  const builds = [bench.build({ name: 'here' }, sessionOf('a'))];
  await begun[0]!.promise;
  builds.push(bench.build({ name: 'elsewhere' }, sessionOf('a')), bench.build({ name: 'here' }, sessionOf('b')));
  await Promise.all(begun.map(({ promise }) => promise));
  const joined = Promise.withResolvers<void>();
  builds.push(bench.build({ name: 'here' }, { ...sessionOf('a'), progress: ({ logs }) => logs && joined.resolve() }));
  await joined.promise;
  gate.resolve();
  await Promise.all(builds);
  expect(bench.ran()).toEqual(['elsewhere', 'here', 'here']);
});

test('work that no cache is looked into for is done once for builds that run side by side', async () => {
  await bench.build(install);
  bench.ran();
  const anew = { ...install, ignoreCache: true };
  const gate = Promise.withResolvers<void>();
  bench.behaviours['last'] = { run: () => gate.promise.then(() => undefined) };
  const first = bench.build({ name: 'last', inputs: [anew] });
  const second = bench.build(anew);
  const { tree } = await second;
  expect((await bench.build(anew)).tree).toEqual(tree);
  gate.resolve();
  await first;
  expect(bench.ran()).toEqual(['install', 'last']);
  expect((await bench.build(anew)).tree).not.toEqual(tree);
  expect(bench.ran()).toEqual(['install']);
});

test('a step has the secrets of all builds of one caller that want it, whichever comes first', async () => {
  let asked: readonly BuildSession[] = [];
  bench.behaviours['step'] = {
    usesSecrets: true,
    run: async (_, { sessions }) => {
      asked = sessions();
      return undefined;
    },
  };
  const step: Step = { name: 'step', inputs: [base] };
  const scopeOf = (id: string, owner: string) => ({ sessions: [{ id, owner } as BuildSession] });
  const signal = new AbortController().signal;
  const imported = Promise.withResolvers<never>();
  const waiting = ['a', 'b'].map(async (owner) => {
    const scope = { ...scopeOf(`of ${owner}`, owner), entitlements: new Set<string>(), signal, progress: () => {} };
    await using build = bench.solver.begin(scope);
    build.import(imported.promise);
    await build.tree(edgeOf(step));
  });
  await bench.build(step, scopeOf('mine', 'a'));
  expect(asked.map(({ id }) => id)).toEqual(['mine', 'of a']);
  imported.reject(new Error('no such cache'));
  await Promise.all(waiting);
  expect(bench.ran()).toEqual(['base', 'step']);
});

test('work that nobody wants any more is given up, and begins anew for the next', async () => {
  const started = Promise.withResolvers<void>();
  let ends = 0;
  bench.behaviours['install'] = {
    run: async (_, { signal }) => {
      started.resolve();
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      return undefined;
    },
  };
  const stop = new AbortController();
  const build = bench.build(install, { signal: stop.signal }).finally(() => {
    ends += 1;
  });
  await started.promise;
  stop.abort(new TareError('Unavailable', 'context canceled'));
  await expect(build).rejects.toThrow('context canceled');
  expect(ends).toBe(1);
  bench.behaviours['install'] = {};
  bench.ran();
  await bench.build(install);
  expect(bench.ran()).toEqual(['install']);
});

test('an error names its vertex, and what ran beside it says that it was given up', async () => {
  const sibling = Promise.withResolvers<void>();
  bench.behaviours['slow'] = {
    run: async (_, { signal }) => {
      sibling.resolve();
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      return undefined;
    },
  };
  bench.behaviours['bad'] = {
    run: async () => {
      await sibling.promise;
      throw new TareError('InvalidArgument', 'exit code: 1');
    },
  };
  const states = new Map<string, string | undefined>();
  const failed = bench.build(
    {
      name: 'both',
      inputs: [
        { name: 'slow', inputs: [base] },
        { name: 'bad', inputs: [base] },
      ],
    },
    { progress: ({ vertices = [] }) => vertices.forEach((vertex) => void states.set(vertex.name, vertex.error)) },
  );
  await expect(failed).rejects.toThrow(VertexError);
  await expect(failed).rejects.toMatchObject({ message: 'exit code: 1', kind: 'InvalidArgument' });
  expect(Object.fromEntries(states)).toEqual({
    base: undefined,
    bad: 'exit code: 1',
    slow: 'context canceled',
    both: undefined,
  });
});

test('no more steps run at once than allowed', async () => {
  await bench[Symbol.asyncDispose]();
  bench = await SolverBench.open(join(folder, 'tare.db'), 2);
  let [now, most] = [0, 0];
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  for (const name of names) {
    bench.behaviours[name] = {
      run: async () => {
        now += 1;
        most = Math.max(most, now);
        await new Promise((resolve) => setImmediate(resolve));
        now -= 1;
        return undefined;
      },
    };
  }
  await bench.build({ name: 'all', inputs: names.map((name) => ({ name })) });
  expect(most).toBe(2);
});

test('a graph a thousand vertices deep is no matter', async () => {
  let step = base;
  for (let depth = 0; depth < 1000; depth += 1) step = { name: `s${depth}`, inputs: [step] };
  for (let depth = 0; depth < 1000; depth += 1) bench.behaviours[`s${depth}`] = { run: async (inputs) => inputs };
  await bench.build(step);
  bench.ran();
  await bench.build(step);
  expect(bench.ran()).toEqual([]);
});

/** Copies of what stages made, one upon the other. */
const chain = (stages: readonly Step[]): Step =>
  stages.reduce((below, stage) => ({ name: `copy of ${stage.name}`, inputs: [below, stage] }), base);

test('what a found result is made of is not made again, whatever stands between', async () => {
  sends('a');
  const stage: Step = { name: 'stage', inputs: [copy] };
  const other: Step = { name: 'other', inputs: [{ name: 'from', inputs: [base, stage] }] };
  bench.behaviours['from'] = { byContent: [1] };
  bench.behaviours['again'] = { byContent: [1] };
  const last: Step = { name: 'last', inputs: [{ name: 'again', inputs: [base, other] }] };
  const { tree } = await bench.build(last);
  bench.ran();
  await bench.db.write((tx) => tx.run(`DELETE FROM build_results WHERE layers NOT LIKE '%local:last%'`));
  expect((await bench.build(last)).tree).toEqual(tree);
  expect(bench.ran()).toEqual(['context']);
  // What is made of it is made of what is there.
  await bench.build({ name: 'more', inputs: [last] });
  expect(bench.ran()).toEqual(['context', 'more']);
});

test('what was known of other contents does not hide what is known of these', async () => {
  let content = 'other';
  const made = async () => {
    const layer = `local:${bench.nowMs++}` as LayerName;
    bench.contents.set(layer, content);
    return [{ layers: [layer] }];
  };
  bench.behaviours['one'] = { run: made };
  bench.behaviours['two'] = { run: made };
  bench.behaviours['from'] = { byContent: [0] };
  const of = (name: string): Step => ({ name: 'from', inputs: [{ name, inputs: [base] }] });
  await bench.build(of('two'));
  await bench.db.write((tx) => tx.run('DELETE FROM build_results'));
  content = 'same';
  const { tree } = await bench.build({ name: 'last', inputs: [of('one')] });
  bench.ran();
  expect((await bench.build({ name: 'last', inputs: [of('two')] })).tree).toEqual(tree);
  expect(bench.ran()).toEqual(['two']);
});

test('stages that are copied one after the other are made side by side', async () => {
  const stages = ['s1', 's2', 's3', 's4'].map((name): Step => ({ name, inputs: [base] }));
  const { promise: all, resolve } = Promise.withResolvers<void>();
  let begun = 0;
  for (const { name } of stages) {
    bench.behaviours[`copy of ${name}`] = { byContent: [1] };
    bench.behaviours[name] = {
      run: async () => {
        begun += 1;
        if (begun === stages.length) resolve();
        await all;
        return undefined;
      },
    };
  }
  await bench.build(chain(stages));
  expect(begun).toBe(stages.length);
});

test('a stage that is gone is not made again while others are only looked up', async () => {
  const stages = ['s1', 's2'].map((name): Step => ({ name, inputs: [context] }));
  sends('a');
  for (const { name } of stages) {
    bench.behaviours[name] = { byContent: [0] };
    bench.behaviours[`copy of ${name}`] = { byContent: [1] };
  }
  const { tree } = await bench.build(chain(stages));
  bench.ran();
  const forget = "DELETE FROM build_results WHERE layers LIKE '%local:s2-%'";
  expect(await bench.db.write((tx) => tx.run(forget))).toBe(1);
  expect((await bench.build(chain(stages))).tree).toEqual(tree);
  expect(bench.ran()).toEqual(['context']);
});

/** A graph that is read from what an input has. */
const read = (name: string, from: Step = base): Step => ({ name, inputs: [from], graph: 'file' });

test('a graph in a graph is made as a part of it, and found', async () => {
  bench.files['outer'] = () => ({ name: 'nested', graph: install });
  const { tree } = await bench.build(read('outer'));
  expect(bench.ran()).toEqual(['base', 'install']);
  expect((await bench.build(read('outer'))).tree).toEqual(tree);
  expect(bench.ran()).toEqual([]);
});

test.each(['itself', 'another one that stands for it'])('a graph that stands for %s is refused', async (what) => {
  const other = read('other');
  bench.files['outer'] = () => ({ name: 'end', inputs: [what === 'itself' ? read('outer') : other] });
  bench.files['other'] = () => read('outer');
  await expect(bench.build(read('outer'))).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringMatching(/^the graph that "\w+" \(sha256:\w+\) stands for needs its own result$/),
  });
});

test('a graph that always names another one is refused', async () => {
  let made = 0;
  const next = (): Step => {
    made += 1;
    bench.files[`g${made}`] = next;
    return read(`g${made}`);
  };
  await expect(bench.build(next())).rejects.toThrow('build operations in build operations: 64 deep, at most 64');
});

test('what holds for a graph holds for those in it, found or not', async () => {
  bench.files['outer'] = () => ({ name: 'nested', graph: install });
  await bench.build(read('outer'));
  bench.ran();
  const noInstall = (op: Op) => {
    if (op.op.case === 'source' && op.op.value.identifier === 'test://install') throw new TareError('Forbidden', 'no');
    return false;
  };
  const policy = { id: 'no install', check: noInstall };
  await expect(bench.build(read('outer'), { policy })).rejects.toMatchObject({ kind: 'Forbidden', message: 'no' });
  expect(bench.ran()).toEqual([]);
});
