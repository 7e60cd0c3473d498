import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { EngineParts } from '../parts.ts';
import { type BuildServiceDeps, createBuildService } from './builds.ts';

test('a builder that could not be opened is opened for whoever asks next', async () => {
  const root = mkdtempSync(join(tmpdir(), 'tare-builds-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const config = { dataRoot: join(root, 'data'), execRoot: join(root, 'run') };
  const parts = { config, facts: { cgroups: [] } } as unknown as EngineParts;
  let asked = 0;
  const forBuilds = async () => {
    asked += 1;
    if (asked === 1) throw new Error('too many open files');
    return {};
  };
  const images = { forBuilds } as unknown as BuildServiceDeps['images'];
  await using builds = createBuildService({ parts, images } as BuildServiceDeps);
  await expect(builds.history()).rejects.toThrow('too many open files');
  expect(await builds.history()).toBeDefined();
});
