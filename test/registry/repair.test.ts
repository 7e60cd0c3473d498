import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Damage, VerifyOptions } from '../../src/engine/index.ts';
import { tar } from '../support/tar.ts';
import { openPullLab, type PullLab } from './pull-lab.ts';

const layers = [tar([{ path: 'base', content: 'b'.repeat(300_000) }]), tar([{ path: 'top', content: 'top' }])];

const blobPath = (lab: PullLab, digest: string): string =>
  join(lab.root, 'content/blobs/sha256', digest.replace('sha256:', ''));

function flip(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
}

async function check(lab: PullLab, options: VerifyOptions = {}): Promise<Damage[]> {
  const messages = await Array.fromAsync(lab.images.verify(options));
  return messages.flatMap((message) => (message.type === 'damage' ? [message.damage] : []));
}

test('every kind of blob is fetched again from the registry that it came from', async () => {
  const lab = await openPullLab();
  const seeded = await lab.registry.seed('team/app', 'v1', { layers });
  await lab.pull('team/app:v1');
  const digests = [seeded.manifest.digest, seeded.config.digest, ...seeded.layers.map(({ digest }) => digest)];
  for (const digest of digests.slice(1)) flip(blobPath(lab, digest));
  unlinkSync(blobPath(lab, seeded.manifest.digest));
  expect((await check(lab)).map(({ id }) => id).sort()).toEqual([...digests].sort());
  const repaired = await check(lab, { repair: true });
  expect(repaired.map(({ isRepaired, obstacle }) => ({ isRepaired, obstacle }))).toEqual(
    digests.map(() => ({ isRepaired: true, obstacle: undefined })),
  );
  expect(await check(lab, { deep: true })).toEqual([]);
  expect((await lab.inventory()).unfinished).toEqual([]);
});

test('a registry that lost or changed it, or breaks off, repairs nothing and harms nothing', async () => {
  const lab = await openPullLab();
  const { layers: blobs } = await lab.registry.seed('team/app', 'v1', { layers });
  const lost = blobs[0]!.digest;
  await lab.pull('team/app:v1');
  const path = blobPath(lab, lost);
  flip(path);
  const damaged = readFileSync(path);
  const hex = lost.replace('sha256:', '');
  const stored = join(lab.registry.storage, `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`);
  const whole = readFileSync(stored);
  writeFileSync(stored, Buffer.from(whole).fill(7));
  expect((await check(lab, { repair: true }))[0]).toMatchObject({ id: lost, isRepaired: false });
  unlinkSync(stored);
  expect((await check(lab, { repair: true }))[0]).toMatchObject({
    id: lost,
    isRepaired: false,
    obstacle: expect.stringMatching(/team\/app: /),
  });
  expect(readFileSync(path).equals(damaged)).toBe(true);
  writeFileSync(stored, whole);
  expect((await check(lab, { repair: true }))[0]).toMatchObject({ id: lost, isRepaired: true });
  expect(await check(lab, { deep: true })).toEqual([]);
});
