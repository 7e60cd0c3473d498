import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestEngine } from '../../support/engine.ts';
import { writeContext } from './case.ts';
import { cases } from './cases.ts';
import { type Picture, pictureOf, withoutHabits } from './picture.ts';
import { buildWithDocker, openBuildah, openBuildKit, type ReferenceBuilder } from './reference-builders.ts';

let engine: TestEngine;
let buildKit: ReferenceBuilder;
let buildah: ReferenceBuilder;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tare-test-cases-'));
  [engine, buildKit, buildah] = await Promise.all([TestEngine.start(), openBuildKit(), openBuildah()]);
}, 120_000);

afterAll(async () => {
  await Promise.all([engine, buildKit, buildah].map((one) => one?.[Symbol.asyncDispose]()));
  rmSync(folder, { recursive: true, force: true });
});

test('names tell the cases apart, and there are enough of them', () => {
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  expect(cases.length).toBeGreaterThanOrEqual(60);
});

test.each(cases.map((one, number) => ({ ...one, number })))(
  'the image is the one that others build: $name',
  async (one) => {
    const context = join(folder, String(one.number));
    mkdirSync(context);
    writeContext(context, one);
    const own = async (): Promise<Picture> =>
      await pictureOf(
        await buildWithDocker(
          (args, cwd) => engine.cli(args, cwd === undefined ? {} : { cwd }),
          context,
          one.args ?? [],
        ),
      );
    const [ours, theirs, older] = await Promise.all([
      own(),
      buildKit.build(context, one).then(pictureOf),
      one.isOld ? buildah.build(context, one).then(pictureOf) : undefined,
    ]);
    expect(ours).toEqual(theirs);
    if (older !== undefined) expect(withoutHabits(ours)).toEqual(withoutHabits(older));
  },
  120_000,
);
