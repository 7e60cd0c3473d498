import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Buildx, buildxVersions } from '../support/buildx.ts';
import { shows } from '../support/compatibility.ts';
import { withEngine } from '../support/faces.ts';

describe('buildx and the builder', { ...shows({ client: 'docker buildx' }), timeout: 120_000 }, () => {
  const engine = withEngine();

  describe.each(Object.keys(buildxVersions) as (keyof typeof buildxVersions)[])('buildx %s', (version) => {
    let buildx: Buildx;
    beforeAll(() => {
      buildx = new Buildx(engine(), version);
    });

    test(`${version}: an image, with arguments, labels, a target and names; its ids in files`, async () => {
      const folder = buildx.folder({
        Dockerfile: `FROM busybox:test AS first
ARG WORD=none
RUN echo $WORD > /word
FROM first AS second
RUN echo never > /never
`,
      });
      const files = ['--metadata-file', join(folder, 'metadata'), '--iidfile', join(folder, 'id')];
      const names = ['-t', `one:${version}`, '-t', `two:${version}`];
      await buildx.build([
        '--build-arg',
        'WORD=hello',
        '--label',
        'a=b',
        '--target',
        'first',
        ...names,
        ...files,
        folder,
      ]);
      const { stdout } = await engine().docker([
        'run',
        '--rm',
        '--network=none',
        `two:${version}`,
        'sh',
        '-c',
        'cat /word; test ! -e /never',
      ]);
      expect(stdout).toBe('hello\n');
      const metadata = JSON.parse(readFileSync(join(folder, 'metadata'), 'utf8'));
      const id = readFileSync(join(folder, 'id'), 'utf8');
      const inspected = await engine().docker(['inspect', '-f', '{{.Id}} {{.Config.Labels.a}}', `one:${version}`]);
      expect(inspected.stdout).toBe(`${id} b\n`);
      expect(metadata['containerimage.config.digest']).toBe(id);
    });
  });
});
