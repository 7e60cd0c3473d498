/**
 * Bundles the sources into CommonJS files that start fast.
 *
 *     node scripts/build.ts [--out FOLDER]
 *
 * FOLDER (default: dist) gets
 *   tare.cjs     answers `--version`, loads the others with their kept code (src/cli/bundles.ts)
 *   program.cjs  the command line: small, because every command reads it
 *   engine.cjs   all that a command reaches by `import()` and that needs more than src/cli: read only when a command runs
 *                the engine in its own process, serves it, or is its keeper
 *   credentials.cjs  what `login`, `pull` and `push` need of the engine's code, and nothing that it does not use: a command that
 *                talks to a daemon has no use for the rest
 *                (these three are functions of a module's variables, as src/cli/bundles.ts calls them)
 *   errors.cjs   one copy for all bundles, so that `instanceof TareError` holds across them
 *   NAME.cjs     for each thread that the sources start from `new URL('./NAME.ts', import.meta.url)`
 *   package-NAME.cjs  for each npm package that the sources reach by `import()`: what few commands need burdens no other
 *
 * The files are written to a folder beside FOLDER that then takes its place: a command that starts meanwhile sees all of
 * the old files or all of the new ones.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { WRAPPER, WRAPPER_END } from '../src/cli/bundles.ts';

const home = resolve(import.meta.dirname, '..');
const entry = {
  tare: 'src/cli/main.ts',
  program: 'src/cli/program.ts',
  credentials: 'src/cli/local/credentials.ts',
  errors: 'src/errors/index.ts',
};

/** Sources that only engine.cjs holds. */
const isEngine = (source: string) => /^(node_modules|src\/(?!cli\/|errors\/)[^/]+)\//.test(source);

const sourceOf = (folder: string, specifier: string) => relative(home, resolve(folder, specifier));

const workerUrl = /new URL\(\s*'(\.{1,2}\/[\w./-]+)\.ts',\s*import\.meta\.url,?\s*\)/g;
/** Threads found in the sources: name of the bundle → entry. */
const workers = new Map<string, string>();

/** Packages that a source imports only when it needs them: name of the bundle → specifier. */
const packages = new Map<string, string>();
const bundleOf = (specifier: string) => `package-${specifier.replaceAll(/\W+/g, '-')}`;

const shared: BuildOptions = {
  absWorkingDir: home,
  bundle: true,
  platform: 'node',
  target: 'node26',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
  // Native code: loaded at run time.
  external: ['koffi', '@koromix/*'],
  // What CommonJS has instead of import.meta.
  define: { 'import.meta.url': 'bundleUrl', 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename' },
};
/** Our own alone: packages may go by the names of their functions. */
const shortNames: BuildOptions = { minifyIdentifiers: true };
const withUrl = { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" };

const workersPlugin: Plugin = {
  name: 'workers',
  setup(context) {
    context.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const contents = readFileSync(path, 'utf8').replaceAll(workerUrl, (_all, specifier: string) => {
        const source = sourceOf(dirname(path), `${specifier}.ts`);
        const name = basename(source, '.ts');
        workers.set(name, source);
        return `new URL('./${name}.cjs', import.meta.url)`;
      });
      return { contents, loader: 'ts' };
    });
  },
};

/**
 * The foreign functions without what koffi's package has around them, which for two deprecated ways of calling reads eight files and
 * looks at the program's own headers.
 */
const nativePlugin: Plugin = {
  name: 'native',
  setup(context) {
    context.onResolve({ filter: /^koffi$/ }, ({ path, namespace }) =>
      namespace === 'native' ? { path, external: true } : { path, namespace: 'native' },
    );
    context.onLoad({ filter: /.*/, namespace: 'native' }, () => ({
      contents: `
        const of = 'linux-' + process.arch;
        try {
          module.exports = require('@koromix/koffi-' + of + '/' + of.replace('-', '_') + '/koffi.node');
        } catch {
          module.exports = require('koffi');
        }`,
      loader: 'js',
    }));
  },
};

/** Modules of Node.js that commands import for what few of them do. */
const lateModule = /^node:(child_process|dgram|dns\/promises|https?|net|readline|tls|tty|v8|worker_threads|zlib)$/;
/** What describes BuildKit's messages; a graph's own (ops) are of use to whoever has any. */
const lateDefinition = /\/generated\/(?!ops_)\w+_pb\.js$/;

/** Loads these when something of them is first used, and not with what might use it. */
const latePlugin: Plugin = {
  name: 'late',
  setup(context) {
    context.onResolve({ filter: lateModule }, ({ path, kind, namespace }) => {
      if (namespace === 'late') return { path, external: true };
      return kind === 'import-statement' ? { path, namespace: 'late' } : undefined;
    });
    context.onResolve({ filter: /_pb\.js$/ }, ({ path, resolveDir, namespace }) => {
      if (namespace === 'late') return { path };
      const file = resolve(resolveDir, path);
      return lateDefinition.test(file) ? { path: file, namespace: 'late' } : undefined;
    });
    context.onLoad({ filter: /.*/, namespace: 'late' }, async ({ path }) => {
      const names = Object.keys((await import(path)) as object).filter((name) => name !== 'default');
      // In a prototype, for esbuild copies what is a module's own for each that imports it.
      const contents = `
        let loaded;
        const late = {};
        for (const name of ${JSON.stringify(names)})
          Object.defineProperty(late, name, { get: () => (loaded ??= require(${JSON.stringify(path)}))[name] });
        module.exports = Object.create(late);`;
      return { contents, loader: 'js', resolveDir: home };
    });
  },
};

const packagesPlugin: Plugin = {
  name: 'packages',
  setup(context) {
    context.onResolve({ filter: /^[@\w]/ }, ({ path, kind, importer }) => {
      if (kind !== 'dynamic-import' || /^(node:|koffi$)/.test(path) || importer.includes('/node_modules/'))
        return undefined;
      packages.set(bundleOf(path), path);
      return { path, namespace: 'package' };
    });
    context.onLoad({ filter: /.*/, namespace: 'package' }, ({ path }) => ({
      contents: `module.exports = require('./${bundleOf(path)}.cjs');`,
      loader: 'js',
    }));
    context.onResolve({ filter: /^\.\/package-/, namespace: 'package' }, ({ path }) => ({ path, external: true }));
  },
};

/** Leaves outside of a bundle what another one holds. */
function boundaries(self: string, behindDoor: ReadonlySet<string>): Plugin {
  return {
    name: 'boundaries',
    setup(context) {
      context.onResolve({ filter: /^\.{1,2}\// }, ({ path, resolveDir, kind }) => {
        if (kind === 'entry-point') return undefined;
        const source = sourceOf(resolveDir, path);
        if (source === entry.errors) return { path: './errors.cjs', external: true };
        if (kind !== 'dynamic-import') return undefined;
        if (source === entry.program) return { path: './program.cjs', external: true };
        if (source === entry.credentials) return { path: './credentials.cjs', namespace: 'bundle' };
        if (self !== 'engine' && behindDoor.has(source)) return { path: source, namespace: 'engine' };
        return undefined;
      });
      // By `require`, which is the loader's: Node.js, asked by `import()`, would load the bundle a second time.
      context.onLoad({ filter: /.*/, namespace: 'bundle' }, ({ path }) => ({
        contents: `module.exports = require(${JSON.stringify(path)});`,
        loader: 'js',
      }));
      context.onResolve({ filter: /^\.\//, namespace: 'bundle' }, ({ path }) => ({ path, external: true }));
      context.onLoad({ filter: /.*/, namespace: 'engine' }, ({ path }) => ({
        contents: `module.exports = require('./engine.cjs')[${JSON.stringify(path)}]();`,
        loader: 'js',
      }));
      context.onResolve({ filter: /^\.\/engine\.cjs$/, namespace: 'engine' }, ({ path }) => ({ path, external: true }));
    },
  };
}

/** No source of ours does anything by being loaded, so a bundle may leave out what nothing in it uses. */
const unusedPlugin: Plugin = {
  name: 'unused',
  setup(context) {
    context.onResolve({ filter: /^\.{1,2}\//, namespace: 'file' }, ({ path, resolveDir, kind }) => {
      const source = sourceOf(resolveDir, path);
      if (kind === 'entry-point' || source === entry.errors) return undefined;
      return { path: join(home, source), sideEffects: false };
    });
  },
};

/** What the command line imports by `import()` and what reaches, itself or through its imports, beyond src/cli. */
async function behindDoor(): Promise<Set<string>> {
  const { metafile } = await build({
    ...shared,
    entryPoints: [entry.tare],
    outfile: 'unused.cjs',
    write: false,
    banner: withUrl,
  });
  const { inputs } = metafile as Metafile;
  const reaches = new Map<string, boolean>();
  const reachesEngine = (source: string): boolean => {
    const known = reaches.get(source);
    if (known !== undefined) return known;
    reaches.set(source, false);
    const answer =
      isEngine(source) ||
      (inputs[source]?.imports ?? []).some(
        ({ path, kind, external }) => kind !== 'dynamic-import' && !external && reachesEngine(path),
      );
    reaches.set(source, answer);
    return answer;
  };
  const targets = Object.values(inputs)
    .flatMap(({ imports }) => imports)
    .filter(({ kind, external, path }) => kind === 'dynamic-import' && !external && reachesEngine(path))
    .map(({ path }) => path)
    // Packages have bundles of their own.
    .filter((path) => !path.startsWith('node_modules/'))
    .filter((path) => path !== entry.credentials);
  if (reachesEngine(entry.program)) throw new Error(`${entry.program} imports the engine: use import() to reach it`);
  return new Set(targets);
}

/**
 * A name for what the bundles of a folder contain.
 *
 * @throws a bundle is not ASCII: they are read as such, which spares decoding and half of the memory
 */
function buildOf(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort()) {
    const text = readFileSync(join(folder, name), 'latin1');
    const found = /[^\x00-\x7f]/.exec(text);
    if (found !== null) {
      const near = text.slice(Math.max(0, found.index - 40), found.index + 40);
      throw new Error(`${name} is not ASCII: write the character as \\u and its number in the source of …${near}…`);
    }
    hash.update(`${name}\0${text.length}\0${text}`);
  }
  return hash.digest('hex').slice(0, 16);
}

const { values } = parseArgs({ options: { out: { type: 'string', default: join(home, 'dist') } } });
const out = resolve(values.out);
const fresh = `${out}.new-${process.pid}`;
const stale = `${out}.old-${process.pid}`;
try {
  mkdirSync(fresh, { recursive: true });
  const door = await behindDoor();
  const bundle = (name: string, options: BuildOptions, more: Plugin[] = []) =>
    build({
      ...shared,
      ...shortNames,
      ...options,
      define: { ...shared.define, ...options.define },
      outfile: join(fresh, `${name}.cjs`),
      plugins: [...more, boundaries(name, door), nativePlugin, latePlugin, workersPlugin, packagesPlugin],
    });
  // Evaluated when asked for, so that the keeper does not load what only the daemon needs.
  const engine = [...door].map((source) => {
    const path = JSON.stringify(source);
    return `exports[${path}] = () => require(${JSON.stringify(`./${source}`)});`;
  });
  await Promise.all([
    bundle('program', { entryPoints: [entry.program] }),
    bundle('credentials', { entryPoints: [entry.credentials], banner: withUrl }, [unusedPlugin]),
    build({ ...shared, ...shortNames, entryPoints: [entry.errors], outfile: join(fresh, 'errors.cjs') }),
    bundle('engine', { stdin: { contents: engine.join('\n'), resolveDir: home }, banner: withUrl }),
  ]);
  for (const name of ['program', 'credentials', 'engine']) {
    const path = join(fresh, `${name}.cjs`);
    writeFileSync(path, `${WRAPPER}${readFileSync(path, 'utf8')}${WRAPPER_END}`);
  }
  const done = new Set<string>();
  while (done.size < workers.size) {
    for (const [name, source] of workers) {
      if (done.has(name)) continue;
      done.add(name);
      await bundle(name, { entryPoints: [source], banner: withUrl });
    }
  }
  await Promise.all(
    [...packages].map(([name, specifier]) =>
      build({
        ...shared,
        stdin: { contents: `module.exports = require(${JSON.stringify(specifier)});`, resolveDir: home },
        outfile: join(fresh, `${name}.cjs`),
        banner: withUrl,
      }),
    ),
  );
  await bundle('tare', { entryPoints: [entry.tare], define: { BUILD: JSON.stringify(buildOf(fresh)) } });
  // The bundles are CommonJS inside a package of ES modules.
  writeFileSync(join(fresh, 'package.json'), '{ "type": "commonjs" }\n');
  try {
    renameSync(out, stale);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  renameSync(fresh, out);
} finally {
  rmSync(fresh, { recursive: true, force: true });
  rmSync(stale, { recursive: true, force: true });
}
