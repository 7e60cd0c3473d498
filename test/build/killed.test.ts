import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { node } from '../support/built.ts';
import { TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { random, seed } from '../support/random.ts';
import { buildLeftovers } from './build-leftovers.ts';

const kills = Number(process.env['TARE_BUILD_KILLS'] ?? 4);

/** Every kind of step and source. Those with $POINT are done each time anew, the others only once. */
const dockerfile = `FROM busybox:test AS base
ARG POINT
RUN --network=none --mount=type=cache,target=/c,sharing=locked --mount=type=secret,id=key --mount=type=tmpfs,target=/t \\
  mkdir /c/held && cp /run/secrets/key /t/key && cat /t/key > /key && echo $POINT >> /c/all && rmdir /c/held && echo $POINT > /point
FROM busybox:test AS network
ARG POINT
RUN ip -o address show | grep -c "inet 172" > /addresses; echo $POINT > /seen
FROM busybox:test AS once
RUN --network=none head -c 2000000 /dev/zero | tr '\\0' x > /large
FROM base AS joined
ADD http://127.0.0.1:18790/file /got
ADD git://127.0.0.1:18791/repository.git#master /repository
COPY --link --from=network /addresses /seen /network/
COPY --link --from=once /large /once/large
COPY context /context
RUN --network=none --mount=from=once,target=/once-again --mount=type=bind,source=context,target=/bound,rw \\
  touch /bound/changed && cat /bound/one /point > /end && wc -c < /once-again/large >> /end
`;

/** A web server with a file and a repository. */
const server = `
  const { createServer } = require('node:http');
  const { readFile } = require('node:fs');
  const { join, normalize } = require('node:path');
  createServer((request, response) => {
    readFile(join(process.argv[1], normalize(new URL(request.url, 'http://x').pathname)), (error, bytes) => {
      response.writeHead(error ? 404 : 200);
      response.end(bytes);
    });
  }).listen(18790, '127.0.0.1', () => console.log('ready'));
`;

async function makeReady(engine: TestEngine): Promise<string> {
  const folder = join(engine.root, 'build-context');
  mkdirSync(join(folder, 'context'), { recursive: true });
  writeFileSync(join(folder, 'Dockerfile'), dockerfile);
  writeFileSync(join(folder, 'secret'), 'the key\n');
  for (let file = 0; file < 200; file += 1) writeFileSync(join(folder, `context/file${file}`), `${file}\n`.repeat(100));
  writeFileSync(join(folder, 'context/one'), 'one\n');
  const web = join(engine.root, 'web');
  mkdirSync(web);
  writeFileSync(join(web, 'file'), 'of the web\n'.repeat(50_000));
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], {
      cwd: web,
      stdio: 'ignore',
    });
  git('init', '--quiet', '--initial-branch=master', 'work');
  for (let file = 0; file < 50; file += 1) writeFileSync(join(web, `work/${file}`), `${file} `.repeat(1000));
  git('-C', 'work', 'add', '.');
  git('-C', 'work', 'commit', '--quiet', '--message=first');
  git('clone', '--quiet', '--bare', 'work', 'repository.git');
  const serving = engine.spawn([node, '-e', server, web]);
  await once(serving.stdout, 'data');
  // Its line says that it listens.
  const daemon = ['--verbose', '--export-all', `--base-path=${web}`, '--listen=127.0.0.1', '--port=18791', web];
  await once(engine.spawn(['git', 'daemon', ...daemon]).stderr, 'data');
  return folder;
}

const flags = (folder: string, point: number, output: readonly string[]) => [
  ...['build', '--progress', 'plain', '--secret', `id=key,src=${join(folder, 'secret')}`],
  ...['--build-arg', `POINT=${point}`, ...output, folder],
];

/** What a build leads to, by the clock of the one before. */
const outputs = (engine: TestEngine) => [
  ['--tag', 'killed:test'],
  ['--output', `type=local,dest=${join(engine.root, 'out')}`],
  ['--output', `type=oci,dest=${join(engine.root, 'out.tar')}`],
];

test.each(['docker', 'in-process'] as const)(
  `a build through %s is killed at ${kills / 2} points: nothing is left, and the next one is right (seed ${seed})`,
  async (face) => {
    const next = random(seed);
    await using engine = await TestEngine.start({ face });
    const folder = await makeReady(engine);
    const check = async (said: string) => {
      await eventually(
        `nothing is left after ${said}`,
        async () => {
          const left = await buildLeftovers(engine);
          if (left.length > 0) throw new Error(left.slice(0, 20).join('; '));
          return true;
        },
        60_000,
      );
    };
    const started = performance.now();
    await engine.cli(flags(folder, -1, outputs(engine)[0]!));
    const usualMs = performance.now() - started;

    for (let point = 0; point < kills / 2; point += 1) {
      const output = outputs(engine)[point % 3]!;
      const afterMs = next() * usualMs * 1.1;
      const said = `point ${point}, ${afterMs.toFixed(0)} of ${usualMs.toFixed(0)} ms, ${output.join(' ')}`;
      const building = engine.spawnCli(flags(folder, point, output));
      const ended = once(building, 'exit');
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      if (face === 'docker') {
        await engine.stopDaemon('SIGKILL');
        await ended;
        await engine.serve();
      } else {
        building.kill('SIGKILL');
        await ended;
        await engine.cli(['ps']);
      }
      await check(said);

      // On a machine with twenty who want its two processors, one took over a minute.
      const { stderr } = await engine.cli(flags(folder, point, ['--tag', 'killed:test']), { timeoutMs: 240_000 });
      expect(stderr, said).not.toContain('ERROR');
      const shown = await engine.cli([
        ...['run', '--rm', '--network', 'none', 'killed:test', 'sh', '-c'],
        'cat /end /key /network/seen /context/file7 | head -n 8; wc -c < /got; ls /repository /context | wc -l; cat /network/addresses; ls -d /c /t /bound /once-again 2>/dev/null | wc -l',
      ]);
      expect(shown.stdout.split('\n').slice(0, 5), said).toEqual(['one', `${point}`, '2000000', 'the key', `${point}`]);
      expect(shown.stdout.split('\n').slice(8, 12), said).toEqual(['550000', '254', '1', '0']);
      await check(`the build after ${said}`);
    }
    await engine.cli(['builder', 'prune', '--all', '--force']);
    await engine.cli(['rmi', 'killed:test']);
    await check('the pruning');
  },
  300_000 + kills * 15_000,
);

test(
  'two processes build, others reconcile beside them: nobody takes away what another one works on',
  async () => {
    await using engine = await TestEngine.start({ face: 'in-process' });
    const folder = await makeReady(engine);
    let building = 2;
    const build = async (first: number) => {
      for (let point = first; point < kills / 2; point += 2) {
        await engine.cli(flags(folder, point, outputs(engine)[0]!), { timeoutMs: 240_000 });
      }
      building -= 1;
    };
    const reconcile = async () => {
      // As one left it that was killed.
      writeFileSync(join(engine.execRoot, 'intents/1-1'), '');
      await engine.cli(['ps']);
    };
    const reconciling = async () => {
      while (building > 0) await reconcile();
    };
    await Promise.all([build(0), build(1), reconciling()]);
    await reconcile();
    expect(await buildLeftovers(engine)).toEqual([]);
  },
  300_000 + kills * 15_000,
);

test('what a killed process left and cannot be removed is told once, and removed when it can be', async () => {
  await using engine = await TestEngine.start({ face: 'in-process', image: false });
  await engine.cli(['ps']);
  const context = join(engine.dataRoot, 'build/contexts/left');
  mkdirSync(join(context, 'held'), { recursive: true });
  await engine.run(['mount', '-t', 'tmpfs', 'none', join(context, 'held')]);
  const [mark, unsettled] = ['1-1', 'unsettled'].map((name) => join(engine.execRoot, 'intents', name)) as [
    string,
    string,
  ];
  writeFileSync(mark, '');
  expect((await engine.cli(['ps'])).stderr).toContain('context left of a build: ');
  expect(existsSync(mark)).toBe(false);
  await eventually('it was tried again', async () => {
    expect((await engine.cli(['ps'])).stderr).toBe('');
    return JSON.parse(readFileSync(unsettled, 'utf8')).attempts > 1;
  });
  await engine.run(['umount', join(context, 'held')]);
  await eventually('it was removed', async () => {
    await engine.cli(['ps']);
    return !existsSync(context) && !existsSync(unsettled);
  });
});
