import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { project } from './support/built.ts';

/** Who may import whose door; `errors` and `protocol` are everyone's. */
const mayImport: Record<string, readonly string[]> = {
  cli: ['api', 'keeper', 'engine'],
  api: ['engine'],
  keeper: ['engine', 'build', 'image', 'storage', 'network', 'runtime', 'state', 'linux'],
  engine: ['build', 'image', 'storage', 'network', 'runtime', 'state', 'linux'],
  build: ['image', 'storage', 'network', 'runtime', 'state', 'linux'],
  image: ['storage', 'state', 'linux'],
  storage: ['state', 'linux'],
  network: ['state', 'linux'],
  runtime: ['state', 'linux'],
  state: ['linux'],
  linux: [],
  errors: [],
  protocol: [],
};

/** Their plain data passes through the faces, so the faces may name its types, and nothing else of theirs. */
const mayName: Record<string, readonly string[]> = {
  cli: ['build', 'image', 'storage', 'network', 'runtime'],
  api: ['build', 'image', 'storage', 'network', 'runtime'],
};

/** Folders that are several rooms with a door each. */
const wings = ['api'];

interface Import {
  from: string;
  to: string;
  /** Types alone: nothing is loaded. */
  isType: boolean;
  /** Loaded when it is called for, or in a thread of its own. */
  isLater: boolean;
}

const sources = globSync('src/**/*.ts', { cwd: project })
  .filter((source) => !source.startsWith('src/protocol/generated/'))
  .sort();
const textOf = new Map(sources.map((source) => [source, readFileSync(join(project, source), 'utf8')]));

function importsOf(source: string): { specifier: string; isType: boolean; isLater: boolean }[] {
  const text = textOf.get(source)!.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const statements = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm);
  const dynamic = text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g);
  const threads = text.matchAll(/new URL\(\s*'([^']+\.ts)',\s*import\.meta\.url/g);
  return [
    ...[...statements].map(([, type, specifier]) => ({
      specifier: specifier!,
      isType: type !== undefined,
      isLater: false,
    })),
    ...[...dynamic, ...threads].map(([, specifier]) => ({ specifier: specifier!, isType: false, isLater: true })),
  ];
}

const imports: Import[] = sources.flatMap((from) =>
  importsOf(from)
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier, isType, isLater }) => ({
      from,
      to: relative(project, resolve(project, dirname(from), specifier)),
      isType,
      isLater,
    })),
);

const folderOf = (source: string) => source.split('/')[1]!;
/** `src/api/docker/x.ts` is in the house `src/api/docker`, `src/engine/create/x.ts` in `src/engine`. */
const houseOf = (source: string) => {
  const parts = source.split('/');
  return parts.slice(0, wings.includes(parts[1]!) ? 3 : 2).join('/');
};
const isTest = (source: string) => /\.test\.ts$|\/contract\.ts$|-contract\.ts$/.test(source);

test('the sources were found', () => {
  expect(sources.length).toBeGreaterThan(50);
  expect(imports.length).toBeGreaterThan(sources.length);
});

test('every folder of src has a place in the house', () => {
  expect([...new Set(sources.map(folderOf))].filter((folder) => !(folder in mayImport))).toEqual([]);
});

test('arrows run downward', () => {
  const backward = imports
    .filter(({ from, to, isType }) => {
      const [lower, upper] = [folderOf(to), folderOf(from)];
      if (houseOf(from) === houseOf(to) || ['errors', 'protocol'].includes(lower)) return false;
      return !mayImport[upper]?.includes(lower) && !(isType && mayName[upper]?.includes(lower));
    })
    .map(({ from, to }) => `${from} imports ${to}`);
  expect(backward).toEqual([]);
});

test('folders import doors, never rooms; but tests share fixtures', () => {
  const rooms = imports
    .filter(({ from, to }) => houseOf(from) !== houseOf(to) && !to.endsWith('/index.ts'))
    .filter(({ from, to }) => !(isTest(from) && to.endsWith('.fixture.ts')))
    .map(({ from, to }) => `${from} imports ${to}`);
  expect(rooms).toEqual([]);
});

test('imports leave no folder of ours but for packages', () => {
  expect(imports.filter(({ from, to }) => !to.startsWith('src/') && !isTest(from)).map(({ to }) => to)).toEqual([]);
});

test('no source imports itself, however far around', () => {
  const next = Map.groupBy(
    imports.filter(({ isType, isLater }) => !isType && !isLater),
    ({ from }) => from,
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (source: string, path: string[]): void => {
    const start = path.indexOf(source);
    if (start !== -1) {
      cycles.push([...path.slice(start), source].join(' → '));
      return;
    }
    if (done.has(source)) return;
    for (const { to } of next.get(source) ?? []) visit(to, [...path, source]);
    done.add(source);
  };
  for (const source of sources) visit(source, []);
  expect(cycles).toEqual([]);
});

test('only src/linux calls foreign functions', () => {
  const callers = sources.filter((source) => importsOf(source).some(({ specifier }) => specifier === 'koffi'));
  expect(callers.filter((source) => !source.startsWith('src/linux/'))).toEqual([]);
  expect(callers).not.toEqual([]);
});

test('below the engine nothing knows HTTP or a terminal', () => {
  const low = ['build', 'image', 'storage', 'network', 'runtime', 'state', 'linux'];
  const face = /^(node:(http|https|http2|readline|tty)|fastify|@fastify\/.*)$/;
  // A registry is asked by HTTP: there, and only there, is a client. No server is, but for frontends, which are served over pipes.
  const client = /^node:https?$/;
  const mayServe = (source: string) => source.startsWith('src/build/gateway/');
  const mayAsk = (source: string) => source.startsWith('src/image/registry/') || isTest(source);
  const knowing = sources.filter(
    (source) =>
      low.includes(folderOf(source)) &&
      importsOf(source).some(
        ({ specifier, isType }) =>
          face.test(specifier) &&
          !isType &&
          !(mayAsk(source) && client.test(specifier)) &&
          !(mayServe(source) && specifier === 'node:http2'),
      ),
  );
  expect(knowing).toEqual([]);
});

test('the client of registries serves nothing, and loads HTTP only when it asks', () => {
  const client = sources.filter((source) => source.startsWith('src/image/registry/') && !isTest(source));
  expect(client.length).toBeGreaterThan(5);
  expect(
    client.filter((source) => /\bcreate(Secure)?Server\b|new (http|https|net|tls)\.Server/.test(textOf.get(source)!)),
  ).toEqual([]);
  const early = client.filter((source) =>
    importsOf(source).some(
      ({ specifier, isType, isLater }) => /^node:(https?|tls)$/.test(specifier) && !isType && !isLater,
    ),
  );
  expect(early).toEqual([]);
});

const own = [
  ...sources,
  ...globSync(['test/**/*.{ts,sh}', 'bench/**/*.ts', 'scripts/*', 'bin/*', 'Makefile', '.ci/*', 'packaging/*'], {
    cwd: project,
  }),
].filter((path) => path !== 'test/architecture.test.ts');

test.each([
  { mark: 'unfinished work', pattern: /\b(TODO|FIXME|XXX|HACK)\b/ },
  { mark: 'a test that is skipped or runs alone', pattern: /\b(?:test|it|describe)\.(?:skip|only|todo|fails)\b/ },
  { mark: 'a path of one machine', pattern: /\/work\/(?:main|shared)|\/home\/(?!app\b)[a-z]\w*\/|\/tmp\/tare\// },
])('no file of ours has $mark', ({ pattern }) => {
  const marked = own.flatMap((path) =>
    readFileSync(join(project, path), 'utf8')
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
  expect(marked).toEqual([]);
});

test('a source is one subject: at most 450 lines', () => {
  const long = sources
    .map((source) => ({ source, lines: textOf.get(source)!.split('\n').length }))
    .filter(({ source, lines }) => lines > 450 && !isTest(source));
  expect(long).toEqual([]);
});

test('every folder of src says in a README what it is for', () => {
  const houses = [...new Set(sources.map(houseOf))];
  const readmes = new Set(globSync('src/**/README.md', { cwd: project }).map(dirname));
  expect(houses.filter((house) => !readmes.has(house))).toEqual([]);
});

test('no file is named after nothing', () => {
  expect(sources.filter((source) => /(^|\/)(utils?|helpers?|common|misc)(\.ts$|\/)/.test(source))).toEqual([]);
});

test('who opens an engine loads no builder: the first build does', () => {
  const loads = Map.groupBy(
    imports.filter(({ isType, isLater }) => !isType && !isLater),
    ({ from }) => from,
  );
  const reached = new Map([['src/engine/index.ts', '']]);
  for (const [source] of reached)
    for (const { to } of loads.get(source) ?? []) if (!reached.has(to)) reached.set(to, source);
  const builder = [...reached].filter(([source]) => /^src\/(build|protocol)\//.test(source));
  expect(builder.map(([source, from]) => `${from} loads ${source}`)).toEqual([]);
});
