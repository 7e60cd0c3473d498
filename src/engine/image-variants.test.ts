import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mediaTypes, parseImageConfig, parseReference, type StoredImage } from '../image/index.ts';
import type { Descriptor, DiffID, Digest } from '../storage/index.ts';
import {
  blobFile,
  descriptorOf,
  ImageLab,
  imageOf,
  nothing,
  ociFiles,
  plainLayer,
  sha256,
  type TestImage,
  tarOf,
} from './image-archives.fixture.ts';
import { parseImageGC } from './image-gc-config.ts';
import { createImageMountService } from './image-mounts.ts';
import { recordPulled } from './image-pulled.ts';
import { reachable } from './image-reach.ts';
import { addSignatures, findImage } from './image-records.ts';
import { Intents } from './intents.ts';

const amd64 = imageOf([plainLayer({ 'etc/arch': 'amd64' })], { architecture: 'amd64' });
const arm64 = imageOf([plainLayer({ 'etc/arch': 'arm64' })], { architecture: 'arm64', config: { Labels: { a: 'b' } } });
const armv6 = imageOf([plainLayer({ 'etc/arch': 'armv6' })], { architecture: 'arm', variant: 'v6' });
const name = parseReference('host:5000/app:1');
const nowMs = Date.parse('2026-05-01T00:00:00Z');
const idOf = (image: TestImage) => sha256(image.config);

const attestation = Buffer.from(
  JSON.stringify({
    ...{ schemaVersion: 2, mediaType: mediaTypes.manifest },
    config: descriptorOf(Buffer.from('{}'), mediaTypes.config),
    layers: [descriptorOf(Buffer.from('{"provenance":1}'), 'application/vnd.in-toto+json')],
  }),
);

/** An index over images, as buildx makes them: with an attestation for the first. */
function indexOf(images: TestImage[]): { bytes: Buffer; descriptor: Descriptor } {
  const manifests = images.map(({ manifest, config }) => {
    const { architecture, os, variant } = JSON.parse(config.toString());
    return descriptorOf(manifest, mediaTypes.manifest, { platform: { architecture, os, variant } });
  });
  const speaks = {
    platform: { architecture: 'unknown', os: 'unknown' },
    annotations: {
      'vnd.docker.reference.type': 'attestation-manifest',
      'vnd.docker.reference.digest': sha256(images[0]!.manifest),
    },
  };
  const bytes = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.index },
      manifests: [...manifests, descriptorOf(attestation, mediaTypes.manifest, speaks)],
    }),
  );
  return { bytes, descriptor: descriptorOf(bytes, mediaTypes.index) as Descriptor };
}

/** Stores an image's blobs, as a pull does; its layers only when told to. */
async function store(lab: ImageLab, image: TestImage, isUnpacked: boolean): Promise<StoredImage> {
  for (const bytes of [image.config, image.manifest, ...image.layers.map(({ stored }) => stored)])
    await lab.content.put(bytes);
  for (const { stored } of isUnpacked ? image.layers : []) {
    const path = await lab.content.path(sha256(stored) as Digest);
    await lab.layers.apply({ path, compression: 'none' });
  }
  return {
    id: idOf(image) as Digest,
    manifest: descriptorOf(image.manifest, mediaTypes.manifest) as Descriptor,
    config: parseImageConfig(image.config),
    layers: image.layers.map(({ stored, plain }) => ({
      ...{ digest: sha256(stored) as Digest, diffID: sha256(plain) as DiffID },
      ...{ mediaType: mediaTypes.layer, blobBytes: stored.byteLength, unpackedBytes: plain.byteLength },
    })),
  };
}

/** Pulls the first of the images, with the others as its variants. */
async function pullAll(lab: ImageLab, images: TestImage[], listed = images): Promise<Descriptor> {
  await using _ = await lab.images.hold();
  const { bytes, descriptor } = indexOf(listed);
  for (const blob of [bytes, attestation, Buffer.from('{}'), Buffer.from('{"provenance":1}')])
    await lab.content.put(blob);
  const [first, ...others] = await Promise.all(images.map((image, position) => store(lab, image, position === 0)));
  await lab.db.write((tx) =>
    recordPulled(tx, { image: first!, index: descriptor, variants: others, names: [name], nowMs }),
  );
  return descriptor;
}

test('a pull records names, digest and event', async () => {
  await using lab = await ImageLab.open();
  const index = await pullAll(lab, [amd64]);
  expect(await lab.images.list()).toMatchObject([
    {
      id: idOf(amd64),
      repoTags: ['host:5000/app:1'],
      repoDigests: [`host:5000/app@${index.digest}`],
      index,
      lastTaggedMs: nowMs,
    },
  ]);
  expect(lab.events()).toEqual([{ action: 'pull', actorId: 'host:5000/app:1', attributes: { name: 'host:5000/app' } }]);
  expect((await lab.images.inspect(`host:5000/app@${index.digest}`)).id).toBe(idOf(amd64));
});

test('a pull by digest sets no tag', async () => {
  await using lab = await ImageLab.open();
  const image = await store(lab, amd64, true);
  const byDigest = { domain: name.domain, path: name.path, digest: image.manifest.digest };
  await lab.db.write((tx) => recordPulled(tx, { image, names: [byDigest], nowMs }));
  expect(await lab.images.list()).toMatchObject([
    { repoTags: [], repoDigests: [`host:5000/app@${image.manifest.digest}`] },
  ]);
});

test('other platforms are found through the image, and by their ids', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64, armv6]);
  const { images } = lab;
  expect((await images.list()).map(({ id }) => id)).toEqual([idOf(amd64)]);
  expect((await images.inspect('host:5000/app:1')).id).toBe(idOf(amd64));
  expect((await images.inspect('host:5000/app:1', { platform: 'linux/arm64' })).id).toBe(idOf(arm64));
  // A machine runs what is older than itself.
  expect((await images.inspect('host:5000/app:1', { platform: 'linux/arm/v7' })).id).toBe(idOf(armv6));
  expect((await images.inspect(idOf(arm64))).config.architecture).toBe('arm64');
  await expect(images.inspect('host:5000/app:1', { platform: 'linux/s390x' })).rejects.toThrow(
    'image with reference host:5000/app:1 was found but does not provide the specified platform (linux/s390x): it is here for linux/amd64, linux/arm/v6, linux/arm64',
  );
  expect(await images.history('host:5000/app:1', { platform: 'linux/arm64' })).toMatchObject([{ id: idOf(arm64) }]);
});

test('what an index lists is kept with its image, and goes with it', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64]);
  await lab.images.reconcile(() => false);
  // Index, attestation with its config and layer, and of each image a manifest, a config and a layer.
  expect(await lab.inventory()).toMatchObject({ blobs: 10, images: 2, layers: 1 });
  const listed = await lab.images.inspect('host:5000/app:1', { manifests: true });
  expect(listed.manifests).toMatchObject([
    { kind: 'image', isAvailable: true, image: { platform: { architecture: 'amd64' } } },
    { kind: 'image', isAvailable: true, image: { platform: { architecture: 'arm64' } } },
    { kind: 'attestation', isAvailable: true, attests: sha256(amd64.manifest) },
  ]);
  expect((await lab.images.remove('host:5000/app:1')).filter(({ deleted }) => deleted !== undefined)).toEqual(
    expect.arrayContaining([{ deleted: idOf(amd64) }, { deleted: idOf(arm64) }]),
  );
  expect(await lab.inventory()).toEqual(nothing);
});

test('layers of another platform are unpacked when they are needed', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64]);
  expect((await lab.inventory()).layers).toBe(1);
  expect(await lab.images.ensureUnpacked(idOf(arm64))).toEqual([sha256(arm64.layers[0]!.plain)]);
  expect((await lab.inventory()).layers).toBe(2);
});

test('saved whole and loaded again: index, platforms and attestations are all there', async () => {
  await using lab = await ImageLab.open();
  const index = await pullAll(lab, [amd64, arm64]);
  const archive = await lab.save('host:5000/app:1');
  await using other = await ImageLab.open();
  expect(await other.load(archive)).toBe('Loaded image: host:5000/app:1\n');
  expect(await other.inventory()).toMatchObject({ images: 2, blobs: 10, layers: 2, unfinished: [] });
  expect(await other.images.list()).toMatchObject([{ id: idOf(amd64), index, repoTags: ['host:5000/app:1'] }]);
  expect((await other.images.inspect('host:5000/app:1', { platform: 'linux/arm64' })).id).toBe(idOf(arm64));
  expect(await other.save('host:5000/app:1')).toEqual(archive);
  // By platform, the image of that platform alone.
  await other.images.remove('host:5000/app:1');
  const one = Buffer.concat(await Array.fromAsync(lab.images.save(['host:5000/app:1'], { platform: 'linux/arm64' })));
  expect(await other.load(one)).toBe('Loaded image: host:5000/app:1\n');
  expect(await other.images.list()).toMatchObject([{ id: idOf(arm64) }]);
  expect(await other.inventory()).toMatchObject({ images: 1, blobs: 3, layers: 1 });
  // So does a load that asks for one.
  await other.images.remove('host:5000/app:1');
  await other.load(archive, { platform: 'linux/amd64' });
  expect(await other.inventory()).toMatchObject({ images: 1, blobs: 3, layers: 1 });
});

test('an archive that keeps an index of more than it holds', async () => {
  await using lab = await ImageLab.open();
  const { bytes, descriptor } = indexOf([amd64, arm64]);
  const files = ociFiles([{ image: amd64 }]);
  const annotations = { 'io.containerd.image.name': 'host:5000/app:1' };
  const archive = tarOf({
    ...files,
    ...Object.fromEntries([blobFile(bytes)]),
    'index.json': JSON.stringify({ schemaVersion: 2, manifests: [{ ...descriptor, annotations }] }),
  });
  await lab.load(archive);
  expect(await lab.images.list()).toMatchObject([{ id: idOf(amd64), index: descriptor }]);
  expect(await lab.inventory()).toMatchObject({ images: 1, blobs: 4 });
  const { manifests } = await lab.images.inspect('host:5000/app:1', { manifests: true });
  expect(manifests).toMatchObject([{ isAvailable: true }, { isAvailable: false }, { isAvailable: false }]);
});

test('a platform is removed by itself; names go on with one that stays', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64, armv6]);
  await lab.images.remove('host:5000/app:1', { platforms: ['linux/arm/v6'] });
  expect(await lab.inventory()).toMatchObject({ images: 2, blobs: 10 });
  await lab.images.remove('host:5000/app:1', { platforms: ['linux/amd64'] });
  // The attestation spoke of what is gone.
  expect(await lab.inventory()).toMatchObject({ images: 1, blobs: 4, layers: 0 });
  expect(await lab.images.list()).toMatchObject([{ id: idOf(arm64), repoTags: ['host:5000/app:1'] }]);
  await expect(lab.images.remove('host:5000/app:1', { platforms: ['linux/amd64'] })).rejects.toThrow(
    'does not provide the specified platform (linux/amd64)',
  );
  await lab.images.remove('host:5000/app:1', { platforms: ['linux/arm64'] });
  expect(await lab.inventory()).toEqual(nothing);
});

test('a container of another platform holds the image', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64]);
  lab.users.set(idOf(arm64), [{ id: 'c'.repeat(64), name: 'box', isRunning: true }]);
  await expect(lab.images.remove('host:5000/app:1')).rejects.toThrow('container cccccccccccc is using');
  await expect(lab.images.remove(idOf(amd64), { force: true })).rejects.toThrow('cannot be forced');
  await expect(lab.images.remove('host:5000/app:1', { platforms: ['linux/arm64'], force: true })).rejects.toThrow(
    'cannot be forced',
  );
  expect(await lab.images.prune({ dangling: ['false'] })).toMatchObject({ removed: [] });
  lab.users.set(idOf(arm64), [{ id: 'c'.repeat(64), name: 'box', isRunning: false }]);
  await lab.images.remove('host:5000/app:1', { force: true });
  expect(await lab.images.list()).toEqual([]);
  expect(await lab.inventory()).toMatchObject({ images: 1, blobs: 3 });
  lab.users.clear();
  await lab.images.reconcile(() => false);
  expect(await lab.inventory()).toEqual(nothing);
});

test('a tag makes another platform an image of its own', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64]);
  await lab.images.tag(idOf(arm64), 'mine:1');
  await lab.images.remove('host:5000/app:1');
  expect(await lab.images.list()).toMatchObject([{ id: idOf(arm64), repoTags: ['mine:1'] }]);
  // It still knows its index, of which only itself is left.
  expect(await lab.inventory()).toMatchObject({ images: 1, blobs: 4 });
});

test('a newer index lets go of the platforms that only the older one listed', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64]);
  await pullAll(lab, [amd64, armv6]);
  await lab.images.reconcile(() => false);
  expect((await lab.images.inspect('host:5000/app:1', { platform: 'linux/arm/v6' })).id).toBe(idOf(armv6));
  expect(findImage(lab.db, idOf(arm64))).toBeUndefined();
});

test('a mounted platform is left by whatever removes by itself, and can be unmounted', async () => {
  await using lab = await ImageLab.open();
  const { db, locks, layers, images } = lab;
  const mounts = createImageMountService({
    db,
    locks,
    layers,
    images,
    intents: new Intents(join(lab.root, 'intents')),
  });
  await pullAll(lab, [amd64, arm64]);
  await mounts.mount(idOf(arm64));
  const all = { dangling: ['false'] };
  expect((await images.prune(all)).removed).toEqual([]);
  expect(await images.trim(parseImageGC('1B', '0')!, lab.root)).toBeUndefined();
  await expect(images.remove('host:5000/app:1')).rejects.toThrow(/is mounted: unmount it first/);

  await pullAll(lab, [amd64, armv6]);
  await images.reconcile(() => false);
  expect((await mounts.list()).map(({ id }) => id)).toEqual([idOf(arm64)]);
  expect(await mounts.unmount(idOf(arm64))).toBe(idOf(arm64));
  await images.prune(all);
  expect(await lab.inventory()).toEqual(nothing);
});

test('two tags that share an image, but not its other platforms', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64, arm64]);
  await lab.images.tag('host:5000/app:1', 'mine:1');
  const { images } = lab;
  // The same tag moves on in the registry: what was tagged before keeps standing for what it stood for.
  const next = await pullAll(lab, [amd64, armv6]);
  expect((await images.inspect('host:5000/app:1', { platform: 'linux/arm/v6' })).id).toBe(idOf(armv6));
  expect((await images.inspect('host:5000/app:1')).index).toEqual(next);
  expect((await images.inspect('mine:1')).id).toBe(idOf(amd64));
  expect((await images.inspect('mine:1')).index).toBeUndefined();
  await expect(images.inspect('mine:1', { platform: 'linux/arm/v6' })).rejects.toThrow('does not provide');
  await images.remove('host:5000/app:1');
  await images.remove('mine:1');
  expect(await lab.inventory()).toEqual(nothing);
});

test('what could not be read of an index is looked at again when it can', async () => {
  await using lab = await ImageLab.open();
  const index = await pullAll(lab, [amd64]);
  const whole = await lab.inventory();
  await lab.content.delete(index.digest);
  // Somebody else looks while it is gone; nothing that it speaks of is collected, for it is held.
  {
    await using _ = await lab.images.hold();
    await reachable(lab.content, [index], () => true);
  }
  await lab.content.put(indexOf([amd64]).bytes);
  await lab.images.reconcile(() => false);
  expect(await lab.inventory()).toEqual(whole);
});

test('what an image that nobody unpacked says of a layer stops nobody who knows better', async () => {
  await using lab = await ImageLab.open();
  const other = sha256(amd64.layers[0]!.plain);
  const lying = imageOf(arm64.layers, { architecture: 'riscv64', rootfs: { type: 'layers', diff_ids: [other] } });
  await using _ = await lab.images.hold();
  const [liar, host] = [await store(lab, lying, false), await store(lab, amd64, true)];
  liar.layers[0]!.diffID = other as DiffID;
  const { bytes, descriptor } = indexOf([amd64, lying]);
  await lab.content.put(bytes);
  await lab.db.write((tx) =>
    recordPulled(tx, { image: host, index: descriptor, variants: [liar], names: [name], nowMs }),
  );
  await lab.load(tarOf(ociFiles([{ image: arm64, name: 'docker.io/library/honest:1' }])));
  expect((await lab.images.inspect('honest:1')).id).toBe(idOf(arm64));
});

test('signatures stay as long as their image', async () => {
  await using lab = await ImageLab.open();
  await pullAll(lab, [amd64]);
  const payload = Buffer.from('{"critical":1}');
  const signature = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.manifest },
      config: descriptorOf(Buffer.from('{}'), mediaTypes.config),
      layers: [descriptorOf(payload, 'application/vnd.dev.cosign.simplesigning.v1+json')],
    }),
  );
  {
    await using _ = await lab.images.hold();
    await lab.content.put(payload);
    await lab.content.put(signature);
    const document = descriptorOf(signature, mediaTypes.manifest) as Descriptor;
    await lab.db.write((tx) => addSignatures(tx, idOf(amd64) as Digest, [document, document]));
  }
  await lab.images.reconcile(() => false);
  expect(await lab.content.has(sha256(payload) as Digest)).toBe(true);
  expect(findImage(lab.db, idOf(amd64))?.signatures).toHaveLength(1);
  await lab.images.remove('host:5000/app:1');
  expect(await lab.inventory()).toEqual(nothing);
});

test('an index that only claims to list what is here harms nobody', async () => {
  await using lab = await ImageLab.open();
  const image = await store(lab, amd64, true);
  // It names the image's config as an index, and a document that is no manifest.
  const junk = Buffer.from('not a manifest');
  const bytes = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.index },
      manifests: [descriptorOf(amd64.config, mediaTypes.index), descriptorOf(junk, mediaTypes.manifest)],
    }),
  );
  await lab.content.put(bytes);
  await lab.content.put(junk);
  const index = descriptorOf(bytes, mediaTypes.index) as Descriptor;
  await lab.db.write((tx) => recordPulled(tx, { image, index, names: [name], nowMs }));
  await lab.images.reconcile(() => false);
  expect((await lab.images.inspect('host:5000/app:1')).id).toBe(idOf(amd64));
  expect(await lab.images.list({ manifests: true })).toMatchObject([
    {
      manifests: [
        { isAvailable: true, kind: 'image' },
        { isAvailable: false, kind: 'unknown' },
      ],
    },
  ]);
  // It cannot go as a whole, so the image goes alone.
  await using other = await ImageLab.open();
  expect(await other.load(await lab.save('host:5000/app:1'))).toBe('Loaded image: host:5000/app:1\n');
  await lab.images.remove('host:5000/app:1');
  expect(await lab.inventory()).toEqual(nothing);
});

test('rows of before the column of configs are read', async () => {
  await using lab = await ImageLab.open();
  const { id, manifest, config, layers } = await store(lab, arm64, true);
  const document = JSON.stringify({ manifest, config, layers, lastTaggedMs: 5 });
  await lab.db.write((tx) => tx.run('INSERT INTO images (id, doc) VALUES (?, ?)', id, document));
  expect(await lab.images.list()).toMatchObject([{ id, labels: { a: 'b' }, lastTaggedMs: 5 }]);
  expect((await lab.images.inspect(id)).config).toEqual(config);
  await lab.images.tag(id, 'old:1');
  expect((await lab.images.inspect('old:1')).config).toEqual(config);
});
