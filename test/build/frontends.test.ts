import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { importFrontendImage } from '../support/frontend-image.ts';

describe('frontends that are images', () => {
  const engine = withEngine({ face: 'in-process' });
  let folder = '';
  beforeAll(async () => {
    await importFrontendImage(engine(), 'frontend:test');
    folder = join(engine().root, 'context');
    mkdirSync(folder);
    writeFileSync(join(folder, 'Dockerfile'), '# syntax=frontend:test with words\nnot a Dockerfile\n');
    writeFileSync(join(folder, 'said'), 'of the context\n');
  });
  const words = (does: string, more: string[] = []) => ['build', '--build-arg', `do=${does}`, ...more, folder];
  const build = (does: string, expected: number, more: string[] = []) =>
    engine().cli(words(does, more), { expect: expected });

  test('one that reads the context, asks for images, runs steps and containers, and gives a result', async () => {
    const { stderr } = await build('build', 0, ['--build-arg', 'more=words', '--tag', 'made:test']);
    expect(stderr).toMatch(/^#\d+ \[frontend\] docker\.io\/library\/frontend:test@sha256:[0-9a-f]{64}$/m);
    expect(stderr).toMatch(
      /^#\d+ [\d.]+ the container said \{"output":"in\\nof the context, said, 15\\nwords\\n","code":4\}$/m,
    );
    const { stdout } = await engine().cli(['run', '--rm', '--network', 'none', 'made:test']);
    expect(stdout).toBe('of the context, said, 15\nwords\n');
  });

  test('what one makes is told of as well: by whom, of what, and what is in it', async () => {
    const out = join(engine().root, 'out');
    const more = ['--build-arg', 'more=words', '--sbom=true', '--provenance=mode=max', '--output', out];
    await build('build', 0, more);
    const read = (name: string) => JSON.parse(readFileSync(join(out, name), 'utf8')).predicate;
    const { buildDefinition, runDetails } = read('provenance.json');
    expect(buildDefinition.externalParameters.request).toMatchObject({
      frontend: 'gateway.v0',
      args: { source: 'frontend:test', 'build-arg:more': 'words' },
    });
    const materials = buildDefinition.resolvedDependencies.map(({ uri }: { uri: string }) => uri.replace(/\?.*/, ''));
    expect(materials).toContain('pkg:docker/frontend@test');
    expect(runDetails.metadata.buildkit_completeness.request).toBe(true);
    expect(read('sbom.spdx.json')).toMatchObject({ spdxVersion: 'SPDX-2.3', name: 'sbom' });
  });

  test.each([
    ['environment', /linux tare \/work frontend:test with words\n$/],
    ['crash', /frontend docker\.io\/library\/frontend:test@\S+ exited with code 3: it broke\n$/],
    ['nothing', /frontend docker\.io\/library\/frontend:test@\S+ ended without a result\n$/],
    ['error', /recipe:2:1\n-+\n {3}1 \| {5}one\n {3}2 \| >>> two\n {3}3 \| {5}three\n.*two is not allowed\n$/s],
    ['garbage', /frontend docker\.io\/library\/frontend:test@\S+ broke off\n$/],
    ['look', /did not complete successfully: exit code: 6: echo left > \/here; exit 6: left, 1\n$/],
    ['forbidden', /network\.host is not allowed: build with --allow network\.host\n$/],
    ['climb', /the frontend's result has a platform "\.\.": want one such as linux\/amd64\n$/],
    ['recursion', /over 16 frontends run in this build/],
  ])('one that is asked for %s', async (does, message) => {
    expect((await build(does, 1)).stderr).toMatch(message);
  });

  test('one that floods: a message that is too large is refused, and warnings are cut', async () => {
    const { stderr } = await build('flood', 1);
    expect(stderr).toMatch(/NGHTTP2_ENHANCE_YOUR_CALM/);
    expect(stderr).not.toContain('warning 1050');
  });

  test('another one that the build names; those of docker’s are the one that is built in', async () => {
    const dockerfile = (text: string) => writeFileSync(join(folder, 'other.Dockerfile'), text);
    const other = (...more: string[]) =>
      engine().cli(['build', '-f', join(folder, 'other.Dockerfile'), ...more, folder], { expect: 'any' });
    dockerfile('FROM busybox:test\n');
    const named = await other('--build-arg', 'BUILDKIT_SYNTAX=frontend:test by name', '--build-arg', 'do=environment');
    expect(named.stderr).toMatch(/linux tare \/work frontend:test by name\n$/);
    for (const name of ['docker/dockerfile:1-labs', `docker/dockerfile-upstream:master@sha256:${'1'.repeat(64)}`]) {
      dockerfile(`# syntax=${name}\nFROM busybox:test\n`);
      expect(await other()).toMatchObject({ code: 0 });
    }
  });

  test('one that never ends ends with its build', async () => {
    const child = engine().spawn(engine().command(words('hang')));
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await eventually('the frontend runs', () => said.includes('waiting'));
    child.kill('SIGINT');
    expect(await ended).toBe(130);
  });

  test('one that is not there, and one that cannot be run', async () => {
    writeFileSync(join(folder, 'Dockerfile'), '# syntax=localhost:1/nothing:test\n');
    expect((await build('build', 1)).stderr).toMatch(/Dockerfile:1\n.*localhost:1\/nothing:test/s);
    writeFileSync(join(folder, 'Dockerfile'), '# syntax=busybox:test\n');
    expect((await build('build', 1)).stderr).toMatch(
      /frontend docker\.io\/library\/busybox:test@\S+ could not be run: .*\/run/,
    );
  });
});
