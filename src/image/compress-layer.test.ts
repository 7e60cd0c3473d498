import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { type DiffID, DigestMismatch, openContentStore } from '../storage/index.ts';
import { compressLayer } from './compress-layer.ts';

test('a layer that was damaged on disk gets no new digest', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-compress-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  using content = await openContentStore(folder);
  const plain = randomBytes(300_000);
  const { digest } = await content.put(plain);
  const layer = { digest, diffID: digest as string as DiffID };
  const packed = await compressLayer(content, layer);
  expect(gunzipSync(await content.read(packed.digest)).equals(plain)).toBe(true);
  plain[1000]! ^= 1;
  writeFileSync(await content.path(digest), plain);
  await expect(compressLayer(content, layer)).rejects.toBeInstanceOf(DigestMismatch);
  expect((await Array.fromAsync(content.walk())).map((blob) => blob.digest).sort()).toEqual(
    [digest, packed.digest].sort(),
  );
});
