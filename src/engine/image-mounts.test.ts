import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ImageLab, imageOf, ociFiles, plainLayer, tarOf } from './image-archives.fixture.ts';
import { createImageMountService, forgetEarlierBoots, isMountKey, removeForgottenMounts } from './image-mounts.ts';
import { Intents } from './intents.ts';

const image = imageOf([plainLayer({ base: 'here' })]);

async function opened() {
  const lab = await ImageLab.open();
  await lab.load(tarOf(ociFiles([{ image, name: 'docker.io/library/a:1' }])));
  const { db, locks, layers, images } = lab;
  const intents = new Intents(join(lab.root, 'intents'));
  const mounts = createImageMountService({ db, locks, layers, images, intents });
  return { lab, mounts, intents };
}

test('after a reboot nothing is mounted, and the image can be mounted or removed', async () => {
  const { lab, mounts } = await opened();
  await using _closed = lab;
  const { path } = await mounts.mount('a:1');
  await mounts.mount('a:1');
  // A reboot takes the mount and leaves the folder and the record.
  const [key] = await lab.layers.snapshots();
  lab.layers.unmount(key!);
  await lab.db.write((tx) => tx.run("UPDATE image_mounts SET boot_id = 'before'"));
  expect(await mounts.list()).toEqual([]);
  await expect(mounts.unmount('a:1')).rejects.toThrow(/is not mounted/);
  expect(await mounts.mount('a:1')).toMatchObject({ path, mounts: 1 });
  expect(readFileSync(join(path, 'base'), 'utf8')).toBe('here');
  await mounts.unmount('a:1');
  await mounts.mount('a:1');
  lab.layers.unmount(key!);
  await lab.db.write((tx) => tx.run("UPDATE image_mounts SET boot_id = 'before'"));
  await forgetEarlierBoots(lab.db);
  expect(lab.db.all('SELECT * FROM image_mounts')).toEqual([]);
  await lab.layers.reconcile((name) => isMountKey(lab.db, name));
  expect(await lab.layers.snapshots()).toEqual([]);
  await lab.images.remove('a:1');
  expect((await lab.inventory()).layers).toBe(0);
});

test('what a killed process had mounted and not recorded is swept, what is just being mounted is not', async () => {
  const { lab, mounts, intents } = await opened();
  await using _closed = lab;
  const diffIDs = await lab.images.ensureUnpacked((await lab.images.inspect('a:1')).id);
  const key = `image-${'a'.repeat(64)}`;
  const path = await lab.layers.view(key, diffIDs);
  {
    using _mounting = await lab.locks.acquire(`container:${key}`);
    await removeForgottenMounts(lab);
    expect(existsSync(join(path, 'base'))).toBe(true);
  }
  await removeForgottenMounts(lab);
  expect(await lab.layers.snapshots()).toEqual([]);
  expect(intents.abandoned()).toEqual([]);
  expect(await mounts.list()).toEqual([]);
});

test('an image that is removed while it is mounted for the first time is not there', async () => {
  const { lab, mounts } = await opened();
  await using _closed = lab;
  const mounting = mounts.mount('a:1');
  const removing = lab.images.remove('a:1');
  const [mounted, removed] = await Promise.allSettled([mounting, removing]);
  // Whoever came first: never an image that is gone and mounted.
  expect([mounted.status, removed.status]).toContain('rejected');
  if (mounted.status === 'fulfilled') await mounts.unmount('a:1');
  else expect((mounted.reason as Error).message).toMatch(/No such image|not unpacked/);
  expect(await lab.layers.snapshots()).toEqual([]);
});
