import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withEngine } from '../support/faces.ts';

describe('tare build', () => {
  const engine = withEngine({ face: 'in-process' });
  let folders = 0;
  /** A folder with a Dockerfile and more. */
  const context = (dockerfile: string, files: Record<string, string> = {}): string => {
    folders += 1;
    const folder = join(engine().root, `context${folders}`);
    mkdirSync(folder);
    for (const [name, text] of Object.entries({ Dockerfile: dockerfile, ...files }))
      writeFileSync(join(folder, name), text);
    return folder;
  };

  test('an image that runs; the same again takes every step from the cache', async () => {
    const folder = context(
      'FROM busybox:test\nRUN echo made > /made\nCOPY here /there\nCMD ["cat", "/made", "/there"]\n',
      {
        here: 'copied\n',
      },
    );
    const first = await engine().cli(['build', '--tag', 'made:test', folder]);
    expect(first.stderr).toMatch(/^#\d+ \[2\/3\] RUN echo made > \/made$/m);
    expect((await engine().cli(['run', '--rm', '--network', 'none', 'made:test'])).stdout).toBe('made\ncopied\n');
    const again = await engine().cli(['build', '--tag', 'made:test', folder]);
    expect(again.stderr.match(/^#\d+ CACHED$/gm)?.length).toBeGreaterThanOrEqual(2);
  });

  test('quiet: the image’s id alone, which is written to a file as well', async () => {
    const folder = context('FROM busybox:test\nLABEL a=b\n');
    const file = join(folder, 'id');
    const { stdout, stderr } = await engine().cli(['build', '--quiet', '--iidfile', file, folder]);
    expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(stderr).toBe('');
    expect((await engine().cli(['inspect', '--format', '{{.Config.Labels.a}}', stdout.trim()])).stdout).toBe('b\n');
  });

  test('a step that fails: its output, its line and its exit code', async () => {
    const folder = context('FROM busybox:test\nRUN echo before && exit 7\n');
    const { stderr } = await engine().cli(['build', folder], { expect: 1 });
    expect(stderr).toContain('before');
    expect(stderr).toContain('exit code: 7');
  });

  test.each([
    ['an instruction that is none', 'FROM busybox:test\nRUNN true\n', /line 2.*unknown instruction: RUNN/s],
    ['a file that is not there', 'FROM busybox:test\nCOPY nothing /\n', /"\/nothing": not found/],
    ['no such stage', 'FROM busybox:test\nCOPY --from=5 / /\n', /5/],
  ])('%s is told with its name', async (_, dockerfile, message) => {
    const { stderr } = await engine().cli(['build', context(dockerfile)], { expect: 1 });
    expect(stderr).toMatch(message);
  });
});
