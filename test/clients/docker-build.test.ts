import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { patiently } from '../support/compose.ts';
import { busybox, dockerClient, oldDockerClient } from '../support/engine.ts';
import type { ExecuteOptions } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { running } from '../support/running.ts';
import { tar } from '../support/tar.ts';

describe('docker build', { timeout: 120_000 }, () => {
  const engine = withEngine();
  let folder = '';
  const put = (path: string, content: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  };
  const file = (name: string): string => readFileSync(join(folder, name), 'utf8').trim();
  beforeAll(() => {
    folder = join(engine().root, 'project');
    put('Dockerfile', `FROM ${busybox}\nARG WORD=none\nRUN echo said $WORD\nCOPY kept /kept\nRUN ls /kept\n`);
    put('.dockerignore', 'kept/left-out\n');
    for (const name of ['kept/taken', 'kept/left-out']) put(name, name);
  });
  const run = async (image: string, ...command: string[]): Promise<string> =>
    (await engine().docker(['run', '--rm', image, ...command])).stdout;

  describe('by the classic builder', shows({ client: 'docker' }), () => {
    const build = (args: readonly string[], options: ExecuteOptions = {}) =>
      engine().run([join(dockerClient, 'usr/bin/docker'), 'build', ...args], {
        ...options,
        env: { ...engine().clientEnvironment, DOCKER_BUILDKIT: '0' },
      });

    test('DOCKER_BUILDKIT=0 build: arguments, files, the id in a file, the cache', async () => {
      const args = [
        '-t',
        'classic:1',
        '--build-arg',
        'WORD=well',
        '--label',
        'a=b',
        '--iidfile',
        join(folder, 'id'),
        folder,
      ];
      const { stdout } = await build(args);
      expect(stdout).toMatch(/Step 3\/6 : RUN echo said \$WORD\n ---> Running in \w{12}\nsaid well\n/);
      expect(stdout).toMatch(/\ntaken\n ---> Removed intermediate container/);
      expect(stdout).toMatch(/\nSuccessfully built \w{12}\nSuccessfully tagged classic:1\n$/);
      const { stdout: inspected } = await engine().docker([
        'inspect',
        '--format',
        '{{.Id}} {{.Config.Labels}}',
        'classic:1',
      ]);
      expect(inspected.trim()).toBe(`${file('id')} map[a:b]`);
      expect(await run('classic:1', 'ls', '/kept')).toBe('taken\n');
      expect((await build(args)).stdout.split(' ---> Using cache\n')).toHaveLength(4);
      expect((await build(['--quiet', ...args])).stdout.trim()).toBe(file('id'));
      expect((await build(['--no-cache', folder])).stdout).toContain('said none\n');
    });

    test('DOCKER_BUILDKIT=0 build: another file, a context on standard input, and a Dockerfile alone', async () => {
      put('other/My.Dockerfile', `FROM ${busybox} AS first\nRUN echo first > /word\nFROM first\nRUN exit 1\n`);
      await build(['-f', join(folder, 'other/My.Dockerfile'), '--target', 'first', '-t', 'first', folder]);
      expect(await run('first', 'cat', '/word')).toBe('first\n');
      const context = tar([{ path: 'Dockerfile', content: `FROM ${busybox}\nCOPY Dockerfile /f\n` }]);
      await build(['-t', 'piped', '-'], { input: context });
      expect(await run('piped', 'cat', '/f')).toContain('COPY Dockerfile /f');
      await build(['-t', 'alone', '-'], { input: `FROM ${busybox}\nRUN echo alone > /word\n` });
      expect(await run('alone', 'cat', '/word')).toBe('alone\n');
    });

    test('DOCKER_BUILDKIT=0 build: what goes wrong has docker’s words and codes', async () => {
      const wrong = async (dockerfile: string, code = 1) => {
        put('Wrong', dockerfile);
        return (await build(['-f', join(folder, 'Wrong'), folder], { expect: code })).stderr;
      };
      expect(await wrong(`FROM ${busybox}\nRUN exit 7\n`, 7)).toContain(
        "The command '/bin/sh -c exit 7' returned a non-zero code: 7",
      );
      expect(await wrong('FROM a\nRUNN b\n')).toContain(
        'dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)',
      );
      expect(await wrong(`FROM ${busybox}\nCOPY nothing /\n`)).toContain(
        'COPY failed: file not found in build context',
      );
    });

    test('DOCKER_BUILDKIT=0 build: an interrupt ends the build, and nothing is left of it', async () => {
      put('Long', `FROM ${busybox}\nRUN echo begun; exec sleep 1000.28\n`);
      const argv = [join(dockerClient, 'usr/bin/docker'), 'build', '-f', join(folder, 'Long'), folder];
      const building = engine().spawn(argv, { ...engine().clientEnvironment, DOCKER_BUILDKIT: '0' });
      let said = '';
      building.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      await patiently('the command runs', () => said.includes('begun'));
      const sleeping = () => running('sleep 1000.28');
      await patiently('the command is seen', () => sleeping().length > 0);
      building.kill('SIGINT');
      await patiently('the command is gone', () => sleeping().length === 0);
      await patiently('the context is gone', async () => {
        const { stdout } = await engine().run(['find', join(engine().dataRoot, 'build/contexts'), '-mindepth', '1']);
        return stdout === '';
      });
    });
  });

  describe('by BuildKit, without buildx', shows({ client: 'docker 20.10' }), () => {
    const build = (args: readonly string[], options: ExecuteOptions = {}) =>
      engine().run([oldDockerClient, 'build', ...args], {
        ...options,
        env: { ...engine().clientEnvironment, DOCKER_BUILDKIT: '1' },
      });

    test('build: a session’s folder, secrets, arguments, progress, the id in a file', async () => {
      put(
        'Mounted',
        `FROM ${busybox}\nARG WORD\nRUN --mount=type=secret,id=s cat /run/secrets/s > /told; echo said $WORD\nCOPY kept /kept\n`,
      );
      put('secret', 'whispered');
      const { stderr } = await build([
        ...['--progress', 'plain', '-f', join(folder, 'Mounted'), '-t', 'mounted', '--build-arg', 'WORD=well'],
        ...['--secret', `id=s,src=${join(folder, 'secret')}`, '--iidfile', join(folder, 'id'), folder],
      ]);
      expect(stderr).toContain('said well');
      expect(stderr).toMatch(/writing image sha256:|exporting to image/);
      expect(await run('mounted', 'sh', '-c', 'cat /told; ls /kept')).toBe('whisperedtaken\n');
      expect((await engine().docker(['inspect', '--format', '{{.Id}}', 'mounted'])).stdout.trim()).toBe(file('id'));
      const quiet = await build(['--quiet', '-f', join(folder, 'Mounted'), folder]);
      expect(quiet.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    });

    test('build: a context on standard input, results into a folder, failures', async () => {
      const context = tar([{ path: 'Dockerfile', content: `FROM ${busybox}\nCOPY Dockerfile /piped\n` }]);
      await build(['-t', 'piped:2', '-'], { input: context });
      expect(await run('piped:2', 'cat', '/piped')).toContain('COPY Dockerfile /piped');
      put('Out', `FROM ${busybox} AS made\nRUN echo out > /result\nFROM scratch\nCOPY --from=made /result /\n`);
      await build(['-f', join(folder, 'Out'), '-o', join(folder, 'results'), folder]);
      expect(file('results/result')).toBe('out');
      put('Wrong', `FROM ${busybox}\nRUN exit 7\n`);
      const { stderr } = await build(['-f', join(folder, 'Wrong'), folder], { expect: 1 });
      expect(stderr).toContain('did not complete successfully: exit code: 7');
    });
  });
});
