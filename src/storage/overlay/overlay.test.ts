import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { layerStoreContract } from '../contract.ts';
import type { DiffID } from '../digest.ts';
import { openLayerStore } from '../disk-layer-store.ts';
import { localLayersContract } from '../local-layers.contract.ts';
import { file, scratch, tar } from '../scratch.fixture.ts';

layerStoreContract('overlay');
localLayersContract('overlay');

test.each([
  { layers: 130, folder: 'plain' },
  { layers: 260, folder: 'plain' },
  { layers: 2, folder: 'with,comma:colon\\and space' },
])('overlay: $layers layers in a folder called $folder', async ({ layers, folder }) => {
  using dir = scratch();
  const base = join(dir.path, folder);
  mkdirSync(base);
  await using store = await openLayerStore({
    directory: join(base, 'layers'),
    snapshotDirectory: join(base, 'snapshots'),
  });
  const parents: DiffID[] = [];
  for (let index = 0; index < layers; index += 1) {
    const path = join(dir.path, 'layer.tar');
    writeFileSync(path, tar(file(`file-${index}`, String(index))));
    parents.push((await store.apply({ path, compression: 'none' })).diffID);
  }
  await store.prepare('c', parents);
  try {
    expect(readdirSync(store.mount('c'))).toHaveLength(layers);
  } finally {
    await store.remove('c');
  }
});
