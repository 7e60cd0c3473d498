import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { TestEngine } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';

const EPOCH = 1_600_000_000;
const dockerfile = `FROM busybox:test AS one
RUN mkdir /made && echo a > /made/a && ln /made/a /made/b && ln -s a /made/c && mkfifo /made/d
FROM busybox:test AS two
RUN sleep 1.1; echo two > /two
FROM busybox:test
COPY --from=one /made /made
COPY --from=two /two /made/two
COPY . /context
RUN rm /data/kept && mkdir /late && date > /late/when && date +%s%N > /dev/null && echo fixed > /late/when
LABEL a=b
`;

/** The same files, written in another order and at another time. */
function contextOf(engine: TestEngine, names: readonly string[], seconds: number): string {
  const folder = join(engine.root, 'reproduced');
  mkdirSync(join(folder, 'inner'), { recursive: true });
  for (const name of names) {
    writeFileSync(join(folder, name), name === 'Dockerfile' ? dockerfile : `the file ${name}\n`, { mode: 0o644 });
    utimesSync(join(folder, name), seconds, seconds);
  }
  return folder;
}

const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** What an engine makes of the files, in every form. */
async function madeBy(engine: TestEngine, context: string, isReversed: boolean): Promise<Record<string, string>> {
  const metadata = join(engine.root, 'metadata.json');
  const common = ['--build-arg', `SOURCE_DATE_EPOCH=${EPOCH}`, '--provenance=false', '--quiet', context];
  const digestOf = async (...args: string[]): Promise<string> => {
    await engine.cli(['build', '--metadata-file', metadata, ...args, ...common]);
    return JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest'];
  };
  const at = (name: string) => join(engine.root, name);
  const forms: [string, () => Promise<string>][] = [
    ['image', () => digestOf('--output', 'type=image,name=made:1,rewrite-timestamp=true')],
    ['compressed', () => digestOf('--output', 'type=image,name=made:2,rewrite-timestamp=true,compression=zstd')],
    ['with a bill', () => digestOf('--sbom=true', '--output', 'type=image,name=made:3,rewrite-timestamp=true')],
    [
      'oci archive',
      async () => {
        await digestOf('--output', `type=oci,name=made:4,rewrite-timestamp=true,dest=${at('made.oci')}`);
        return sha256(at('made.oci'));
      },
    ],
    [
      'tar',
      async () => {
        await engine.cli(['build', '--output', `type=tar,dest=${at('made.tar')}`, ...common]);
        return sha256(at('made.tar'));
      },
    ],
    [
      'folder',
      async () => {
        await engine.cli(['build', '--output', `type=local,dest=${at('made')}`, ...common]);
        const { stdout } = await engine.run([
          'sh',
          '-c',
          `cd ${at('made')} && find . -mindepth 1 -printf '%p %m %s %T@ %l\\n' | sort`,
        ]);
        return stdout;
      },
    ],
  ];
  const made: Record<string, string> = {};
  for (const [form, make] of isReversed ? forms.toReversed() : forms) made[form] = await make();
  return made;
}

describe('SOURCE_DATE_EPOCH', { timeout: 240_000 }, () => {
  const first = withEngine({ face: 'in-process' });
  const second = withEngine({ face: 'in-process' });
  let made: Record<string, string>[];
  beforeAll(async () => {
    const names = ['Dockerfile', 'x', 'inner/y', 'z'];
    made = [
      await madeBy(first(), contextOf(first(), names, 1_700_000_000), false),
      await madeBy(second(), contextOf(second(), names.toReversed(), 1_750_000_001), true),
    ];
  }, 240_000);

  test.each(['image', 'compressed', 'with a bill', 'oci archive', 'tar', 'folder'])(
    'two builds in two data roots, in another order and at another time: one %s',
    (form) => {
      expect(made[0]![form]).toBeDefined();
      expect(made[0]![form]).toBe(made[1]![form]);
    },
  );

  test('no file of them is younger', () => {
    const times = made[0]!['folder']!.split('\n').flatMap((line) => / (\d+)\.\d+ /.exec(line)?.[1] ?? []);
    expect(times.length).toBeGreaterThan(10);
    expect(Math.max(...times.map(Number))).toBe(EPOCH);
  });
});
