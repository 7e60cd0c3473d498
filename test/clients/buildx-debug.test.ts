import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Buildx, buildxVersions } from '../support/buildx.ts';
import { shows } from '../support/compatibility.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { Terminal } from '../support/terminal.ts';

const versions = Object.keys(buildxVersions) as (keyof typeof buildxVersions)[];

describe('buildx and steps that fail', { ...shows({ client: 'docker buildx' }), timeout: 120_000 }, () => {
  const engine = withEngine();

  test.each(versions)('%s: the step’s lines, its output and its exit code', async (version) => {
    const buildx = new Buildx(engine(), version);
    const Dockerfile = 'FROM busybox:test\nARG A=1\nRUN echo said && \\\n  exit 5\nRUN true\n';
    const { stderr } = await buildx.build([buildx.folder({ Dockerfile })], { expect: 1 });
    expect(stderr).toMatch(/------\n > \[2\/3\] RUN echo said && +exit 5:\n[\d.]+ said\n------\n/);
    expect(stderr).toContain(
      'Dockerfile:3\n--------------------\n   2 |     ARG A=1\n   3 | >>> RUN echo said && \\\n   4 | >>>   exit 5\n   5 |     RUN true\n',
    );
    expect(stderr).toMatch(/did not complete successfully: exit code: 5\n/);
  });

  test.each(versions)('%s debug: a shell where the step failed, with its mounts and variables', async (version) => {
    const buildx = new Buildx(engine(), version);
    const folder = buildx.folder({
      Dockerfile: `FROM busybox:test
ENV A=b
WORKDIR /work
RUN --mount=type=secret,id=s --mount=type=cache,target=/cache echo left > here; echo kept > /cache/c; exit 9
`,
      secret: 'whispered',
    });
    const secret = ['--secret', `id=s,src=${folder}/secret`];
    const words = ['debug', '--invoke', '/bin/sh', 'build', '--progress', 'plain', ...secret, folder];
    using terminal = new Terminal([buildx.program, ...words], {
      size: { rows: 30, columns: 110 },
      spawn: (argv, env) => engine().spawn(argv, { ...buildx.environment, ...env, BUILDX_EXPERIMENTAL: '1' }),
    });
    await terminal.shows('exit code: 9');
    await terminal.shows('/ # ');
    terminal.type('echo $(cat /work/here /cache/c /run/secrets/s) $A | tr a-z A-Z\n');
    await terminal.shows('LEFT KEPT WHISPERED B');
    terminal.type('exit\n');
    await terminal.shows('(buildx) ');
    // The older one's console asks nothing of the builder any more, and goes on waiting: it is hung up.
    if (version === '0.13') terminal[Symbol.dispose]();
    else {
      terminal.type('exit\n');
      expect(await terminal.ended).toBe(1);
    }
    const left = () => readdirSync(join(engine().execRoot, 'build')).filter((name) => name.startsWith('step'));
    await eventually('nothing is left of the step', () => left().length === 0, 30_000);
  });

  test('call: questions about the file', async () => {
    const Dockerfile =
      'ARG V=1\nFROM busybox:test AS base\nARG W\nFROM base AS last\nRUN --mount=type=secret,id=s true\nfrom base\n';
    const buildx = new Buildx(engine());
    const folder = buildx.folder({ Dockerfile });
    const ask = async (call: string, expected = 0) =>
      (await buildx.run(['build', '--call', call, folder], { expect: expected })).stdout;
    expect(await ask('targets')).toMatch(/TARGET +DESCRIPTION\nbase +\nlast +\n\(default\)/);
    expect(await ask('outline')).toMatch(/BUILD ARG +VALUE +DESCRIPTION\nV +1/);
    const lint = JSON.parse(await ask('check,format=json', 1)) as {
      warnings: { ruleName: string; location: object }[];
    };
    expect(lint.warnings.map(({ ruleName }) => ruleName)).toContain('ConsistentInstructionCasing');
    expect(await ask('check', 1)).toMatch(/WARNING: ConsistentInstructionCasing.*\/Dockerfile:6\n-+\n/s);
  });
});
