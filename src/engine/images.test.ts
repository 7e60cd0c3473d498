import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Locks } from '../state/index.ts';
import type { DiffID } from '../storage/index.ts';
import {
  dockerFiles,
  ImageLab,
  imageOf,
  nothing,
  plainLayer,
  sha256,
  streamOf,
  tarOf,
} from './image-archives.fixture.ts';
import { isCollectionDue } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import type { ImageUser } from './image-parts.ts';
import { createImageService } from './images.ts';

const base = plainLayer({ 'etc/base': 'base' });
const top = plainLayer({ 'etc/top': 'top!' });
const older = imageOf([base], { created: '2025-01-01T00:00:00Z', config: { Labels: { kind: 'old', a: 'b' } } });
const newer = imageOf([base, top], { created: '2026-01-01T00:00:00Z' });
const olderId = sha256(older.config);
const newerId = sha256(newer.config);
const short = (id: string) => id.slice('sha256:'.length, 'sha256:'.length + 12);
const container = 'c'.repeat(64);
const stopped: ImageUser = { id: container, name: 'box', isRunning: false };
const running: ImageUser = { ...stopped, isRunning: true };

/** `old:1` and `new:1`, of which the second stands on the first. */
async function openWithTwo(): Promise<ImageLab> {
  const lab = await ImageLab.open();
  await lab.load(
    tarOf(
      dockerFiles([
        { image: older, names: ['old:1'] },
        { image: newer, names: ['new:1'] },
      ]),
    ),
  );
  return lab;
}

test('images are found by name, id and unique prefix', async () => {
  await using lab = await openWithTwo();
  const { images } = lab;
  for (const ref of [
    'old:1',
    'docker.io/library/old:1',
    olderId,
    olderId.slice(7),
    short(olderId),
    olderId.slice(0, 20),
  ]) {
    expect((await images.inspect(ref)).id).toBe(olderId);
  }
  await expect(images.inspect('')).rejects.toThrow('invalid reference format');
  await expect(images.inspect('OLD')).rejects.toThrow('must be lowercase');
  await expect(images.inspect('old')).rejects.toThrow(/^No such image: old:latest$/);
  await expect(images.inspect('0'.repeat(64))).rejects.toThrow(`No such image: sha256:${'0'.repeat(64)}`);
  await expect(images.inspect('%')).rejects.toThrow('invalid reference format');
});

test('a prefix of several images is refused', async () => {
  await using lab = await openWithTwo();
  for (let count = 0; count < 17; count += 1) {
    await lab.images.import(streamOf(base.plain), { changes: [`LABEL n=${count}`] });
  }
  const ids = (await lab.images.list()).map(({ id }) => id.slice(7, 8));
  const twice = ids.find((digit, index) => ids.indexOf(digit) !== index)!;
  await expect(lab.images.inspect(twice)).rejects.toThrow(`multiple images found with provided prefix: ${twice}`);
});

test('inspect and sizes', async () => {
  await using lab = await openWithTwo();
  expect(await lab.images.inspect('new:1')).toMatchObject({
    id: newerId,
    repoTags: ['new:1'],
    createdMs: Date.parse('2026-01-01T00:00:00Z'),
    sizeBytes: 'base'.length + 'top!'.length,
  });
});

test.each([
  { filters: {}, want: ['new:1', 'old:1'] },
  { filters: { reference: ['old'] }, want: ['old:1'] },
  { filters: { reference: ['*:1', 'x'] }, want: ['new:1', 'old:1'] },
  { filters: { reference: ['n?w:*'] }, want: ['new:1'] },
  { filters: { reference: ['none'] }, want: [] },
  { filters: { label: ['kind'] }, want: ['old:1'] },
  { filters: { label: ['kind=old', 'a=b'] }, want: ['old:1'] },
  { filters: { label: ['kind=new'] }, want: [] },
  { filters: { 'label!': ['kind'] }, want: ['new:1'] },
  { filters: { before: ['new:1'] }, want: ['old:1'] },
  { filters: { since: ['old:1'] }, want: ['new:1'] },
  { filters: { until: ['2025-06-01'] }, want: ['old:1'] },
  { filters: { dangling: ['true'] }, want: [] },
  { filters: { dangling: ['false'] }, want: ['new:1', 'old:1'] },
])('list with $filters', async ({ filters, want }) => {
  await using lab = await openWithTwo();
  const found = await lab.images.list({ filters: filters as unknown as Record<string, string[]> });
  expect(found.flatMap(({ repoTags }) => repoTags)).toEqual(want);
});

test.each([
  [{ colour: ['red'] }, "invalid filter 'colour'"],
  [{ dangling: ['maybe'] }, "invalid filter 'dangling=maybe'"],
  [{ before: ['none'] }, 'No such image: none:latest'],
  [{ until: ['soon'] }, 'invalid time "soon"'],
])('list refuses %j', async (filters, want) => {
  await using lab = await openWithTwo();
  await expect(lab.images.list({ filters: filters as unknown as Record<string, string[]> })).rejects.toThrow(want);
});

test('list counts who uses an image, and when asked what is shared', async () => {
  await using lab = await openWithTwo();
  lab.users.set(newerId, [running]);
  expect(await lab.images.list()).toMatchObject([
    { containers: 1, sharedSizeBytes: -1, labels: {} },
    { containers: 0, sharedSizeBytes: -1, labels: { kind: 'old', a: 'b' } },
  ]);
  expect(await lab.images.list({ sharedSize: true })).toMatchObject([
    { containers: 1, sharedSizeBytes: 4, sizeBytes: 8 },
    { containers: 0, sharedSizeBytes: 4, sizeBytes: 4 },
  ]);
});

test('history: newest first, layers counted past the empty ones', async () => {
  await using lab = await ImageLab.open();
  const history = [
    { created_by: 'ADD base', created: '2025-01-01T00:00:00Z' },
    { created_by: 'ENV a=b', empty_layer: true },
    { created_by: 'ADD top', comment: 'last' },
  ];
  await lab.load(tarOf(dockerFiles([{ image: imageOf([base, top], { history }), names: ['a:1', 'b:1'] }])));
  const { id } = lab.images.resolve('a:1');
  expect(await lab.images.history('a:1')).toEqual([
    { id, createdMs: 0, createdBy: 'ADD top', tags: ['a:1', 'b:1'], sizeBytes: 4, comment: 'last' },
    { id: '<missing>', createdMs: 0, createdBy: 'ENV a=b', tags: [], sizeBytes: 0, comment: '' },
    {
      id: '<missing>',
      createdMs: Date.parse('2025-01-01T00:00:00Z'),
      createdBy: 'ADD base',
      tags: [],
      sizeBytes: 4,
      comment: '',
    },
  ]);
});

test('tag: a new name, a moved one, and what is refused', async () => {
  await using lab = await openWithTwo();
  const { images } = lab;
  await images.tag('old:1', 'quay.io/x/y');
  expect((await images.inspect('old:1')).repoTags).toEqual(['old:1', 'quay.io/x/y:latest']);
  await images.tag('new:1', 'old:1');
  expect((await images.inspect('old:1')).id).toBe(newerId);
  expect(lab.events().slice(2)).toEqual([
    { action: 'tag', actorId: olderId, attributes: { kind: 'old', a: 'b', name: 'quay.io/x/y:latest' } },
    { action: 'tag', actorId: newerId, attributes: { name: 'old:1' } },
  ]);
  await expect(images.tag('none', 'x')).rejects.toThrow('No such image: none:latest');
  await expect(images.tag('new:1', 'X')).rejects.toThrow('must be lowercase');
  await expect(images.tag('new:1', `x@${olderId}`)).rejects.toThrow('refusing to create a tag with a digest reference');
});

test('remove: names first, then the image with what nobody else uses', async () => {
  await using lab = await openWithTwo();
  const { images } = lab;
  await images.tag('new:1', 'new:2');
  expect(await images.remove('new:1')).toEqual([{ untagged: 'new:1' }]);
  const chain = sha256(`${sha256(base.plain)} ${sha256(top.plain)}`);
  expect(await images.remove('new:2')).toEqual([{ untagged: 'new:2' }, { deleted: newerId }, { deleted: chain }]);
  expect(await lab.inventory()).toEqual({ blobs: 3, layers: 1, images: 1, unfinished: [], leases: 0 });
  expect(await images.remove(short(olderId))).toEqual([
    { untagged: 'old:1' },
    { deleted: olderId },
    { deleted: sha256(base.plain) },
  ]);
  expect(await lab.inventory()).toEqual(nothing);
  expect(
    lab
      .events()
      .slice(3)
      .map(({ action }) => action),
  ).toEqual(['untag', 'untag', 'delete', 'untag', 'delete']);
});

test("remove: docker's conflicts, word by word", async () => {
  await using lab = await openWithTwo();
  const { images, users } = lab;
  users.set(newerId, [stopped]);
  const [image, box] = [short(newerId), short(`sha256:${container}`)];
  await expect(images.remove('new:1')).rejects.toThrow(
    `conflict: unable to remove repository reference "new:1" (must force) - container ${box} is using its referenced image ${image}`,
  );
  await expect(images.remove(newerId)).rejects.toThrow(
    `conflict: unable to delete ${image} (must be forced) - image is being used by stopped container ${box}`,
  );
  await images.tag('new:1', 'new:2');
  await expect(images.remove(newerId)).rejects.toThrow(
    `conflict: unable to delete ${image} (must be forced) - image is referenced in multiple repositories`,
  );
  users.set(newerId, [running]);
  for (const force of [false, true]) {
    await expect(images.remove(newerId, { force })).rejects.toThrow(
      `conflict: unable to delete ${image} (cannot be forced) - image is being used by running container ${box}`,
    );
  }
  await expect(images.remove('none')).rejects.toThrow('No such image: none:latest');
  expect((await images.inspect(newerId)).repoTags).toEqual(['new:1', 'new:2']);
});

test('remove by name, forced off a running container, leaves the image without a name', async () => {
  await using lab = await openWithTwo();
  lab.users.set(newerId, [running]);
  expect(await lab.images.remove('new:1', { force: true })).toEqual([{ untagged: 'new:1' }]);
  expect((await lab.images.inspect(newerId)).repoTags).toEqual([]);
});

test('an image removed by force lives on, hidden, for its stopped container', async () => {
  await using lab = await openWithTwo();
  const { images, users } = lab;
  users.set(newerId, [stopped]);
  expect(await images.remove(newerId, { force: true })).toEqual([{ untagged: 'new:1' }, { deleted: newerId }]);
  await expect(images.inspect(newerId)).rejects.toThrow('No such image');
  expect((await images.list()).map(({ id }) => id)).toEqual([olderId]);
  expect(await images.ensureUnpacked(newerId)).toHaveLength(2);
  await lab.load(tarOf(dockerFiles([{ image: newer, names: ['new:1'] }])));
  expect((await images.inspect('new:1')).id).toBe(newerId);
  await images.remove(newerId, { force: true });
  users.delete(newerId);
  await images.reconcile(() => true);
  expect(await images.ensureUnpacked(newerId)).toHaveLength(2);
  await images.reconcile(() => false);
  await expect(images.ensureUnpacked(newerId)).rejects.toThrow('No such image');
  expect((await lab.inventory()).layers).toBe(1);
});

test('prune: nameless images, or all unused ones', async () => {
  await using lab = await openWithTwo();
  const { images, users } = lab;
  await images.tag('old:1', 'new:1');
  const dangling = await images.prune();
  expect(dangling.removed[0]).toEqual({ deleted: newerId });
  // The file, the layer's blob it came in, and the manifest.
  expect(dangling.spaceReclaimedBytes).toBe('top!'.length + top.stored.byteLength + newer.manifest.byteLength);
  users.set(olderId, [stopped]);
  expect(await images.prune({ dangling: ['false'] })).toEqual({ removed: [], spaceReclaimedBytes: 0 });
  users.delete(olderId);
  expect((await images.prune({ dangling: ['false'], label: ['none'] })).removed).toEqual([]);
  expect((await images.prune({ dangling: ['false'], until: ['2024-01-01'] })).removed).toEqual([]);
  expect((await images.prune({ dangling: ['false'] })).removed).toEqual([
    { untagged: 'new:1' },
    { untagged: 'old:1' },
    { deleted: olderId },
    { deleted: sha256(base.plain) },
  ]);
  expect(await lab.inventory()).toEqual(nothing);
  await expect(images.prune({ before: ['x'] })).rejects.toThrow("invalid filter 'before'");
});

test('nothing is collected while content is held, but due afterwards, and a dead holder holds nothing', async () => {
  await using lab = await openWithTwo();
  const { images, db } = lab;
  {
    await using _held = await images.hold();
    await images.remove('old:1');
    await images.remove('new:1');
    expect((await lab.inventory()).blobs).toBe(6);
  }
  expect(isCollectionDue(db)).toBe(true);
  const insert = 'INSERT INTO leases (id, pid, start_ticks, boot_id, resource) VALUES (?, ?, ?, ?, ?)';
  await db.write((tx) => {
    tx.run(insert, 'another boot', process.pid, 1, 'no such boot', 'content');
    tx.run(insert, 'a dead process', process.pid, 1, 'no such boot', 'content');
  });
  await images.reconcile(() => false);
  expect(await lab.inventory()).toEqual(nothing);
  expect(isCollectionDue(db)).toBe(false);
});

test('a new holder waits for the end of a collection', async () => {
  await using lab = await ImageLab.open();
  const locks = new Locks(join(lab.root, 'locks'));
  const order: string[] = [];
  const collecting = await locks.acquire('content');
  const holding = holdContent({ db: lab.db, locks: new Locks(join(lab.root, 'locks')) }).then((lease) => {
    order.push('held');
    return lease;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  order.push('collected');
  collecting[Symbol.dispose]();
  await using _lease = await holding;
  expect(order).toEqual(['collected', 'held']);
});

test('two services on one folder load the same image at once', async () => {
  await using lab = await ImageLab.open();
  const { db, content, layers } = lab;
  const locks = new Locks(join(lab.root, 'locks'));
  const other = createImageService({
    db,
    content,
    layers,
    locks,
    containersUsing: () => [],
    countContainers: () => new Map(),
  });
  const archive = tarOf(dockerFiles([{ image: newer, names: ['new:1'] }]));
  await Promise.all([
    lab.load(archive),
    Array.fromAsync(other.load(streamOf(archive))),
    lab.load(archive),
    expect(lab.load(archive.subarray(0, 600))).rejects.toThrow(/truncated/),
  ]);
  expect(await lab.inventory()).toEqual({ blobs: 4, layers: 2, images: 1, unfinished: [], leases: 0 });
  expect(await other.ensureUnpacked(newerId)).toHaveLength(2);
});

test('ensureUnpacked unpacks lost layers again, and says when it cannot', async () => {
  await using lab = await openWithTwo();
  const { images, layers, content } = lab;
  await layers.removeLayer(sha256(top.plain) as DiffID);
  expect(layers.missing([sha256(top.plain) as DiffID])).toHaveLength(1);
  expect(await images.ensureUnpacked(newerId)).toEqual([sha256(base.plain), sha256(top.plain)]);
  expect(layers.missing([sha256(top.plain) as DiffID])).toEqual([]);
  await layers.removeLayer(sha256(top.plain) as DiffID);
  await content.delete(sha256(top.stored) as never);
  await expect(images.ensureUnpacked(newerId)).rejects.toThrow(
    `image new:1: blob ${sha256(top.stored)} is lost: load or pull the image again`,
  );
});

test('reconcile removes what a killed load left behind', async () => {
  await using lab = await openWithTwo();
  const before = await lab.inventory();
  await lab.content.put(Buffer.from('a blob that no image came to use'));
  writeFileSync(join(lab.root, 'content/ingest/new-0123'), 'half a blob');
  const orphan = plainLayer({ orphan: 'x' });
  const { digest } = await lab.content.put(orphan.stored);
  await lab.layers.apply({ path: await lab.content.path(digest), compression: 'none' });
  mkdirSync(join(lab.root, 'layers/ingest/new-0123'));
  await lab.layers.reconcile(() => false);
  await lab.images.reconcile(() => false);
  expect(await lab.inventory()).toEqual(before);
});
