import { expect, test } from 'vitest';
import { ImageLab, imageOf, ociFiles, plainLayer, tarOf } from './image-archives.fixture.ts';
import { parseImageGC } from './image-gc-config.ts';
import { holdContent } from './image-leases.ts';
import { createImageMountService } from './image-mounts.ts';
import { noteUse } from './image-uses.ts';

const MINUTE_MS = 60_000;
const KB = 1000;

/** Images of 100 kB each over a base of 100 kB; what is stored counts twice, as a blob and unpacked. */
const base = plainLayer({ base: 'b'.repeat(100 * KB) });
const images = ['a', 'b', 'c', 'd'].map((name) => ({
  name,
  image: imageOf([base, plainLayer({ [name]: name.repeat(100 * KB) })]),
}));

/** A lab whose clock stands, with the images loaded a minute apart. */
async function lab(): Promise<{ lab: ImageLab; later(ms: number): void } & AsyncDisposable> {
  const clock = { ms: Date.parse('2026-01-01T00:00:00Z') };
  const opened = await ImageLab.open(undefined, { clock: () => clock.ms });
  for (const { name, image } of images) {
    await opened.load(tarOf(ociFiles([{ image, name: `docker.io/library/${name}:1` }])));
    clock.ms += MINUTE_MS;
  }
  clock.ms += 10 * MINUTE_MS;
  return {
    lab: opened,
    later: (ms) => {
      clock.ms += ms;
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

const names = async (of: ImageLab): Promise<string[]> =>
  (await of.images.list()).flatMap(({ repoTags }) => repoTags).sort();
const gc = (high: string, low: string) => parseImageGC(high, low)!;

test.each([
  { what: 'nothing above the high mark', high: '2MB', low: '1MB', want: ['a:1', 'b:1', 'c:1', 'd:1'] },
  { what: 'the oldest until the low mark', high: '900kB', low: '700kB', want: ['c:1', 'd:1'] },
  { what: 'everything unused when that is asked for', high: '1B', low: '0', want: [] },
])('$what', async ({ high, low, want }) => {
  await using opened = await lab();
  const { lab: it } = opened;
  const trimmed = await it.images.trim(gc(high, low), it.root);
  expect(await names(it)).toEqual(want);
  const gone = ['a:1', 'b:1', 'c:1', 'd:1'].filter((name) => !want.includes(name));
  expect(trimmed?.images ?? []).toEqual(gone);
  const messages = await Array.fromAsync(it.images.verify({ deep: true }));
  expect(messages.filter(({ type }) => type === 'damage')).toEqual([]);
  const { blobs, layers } = await it.inventory();
  // A manifest, a config and a layer each, and the base.
  expect({ blobs, layers }).toEqual(
    want.length === 0 ? { blobs: 0, layers: 0 } : { blobs: 3 * want.length + 1, layers: want.length + 1 },
  );
});

test('what counts is the last use, tag or making', async () => {
  await using opened = await lab();
  const { lab: it, later } = opened;
  const id = (await it.images.inspect('a:1')).id;
  await it.db.write((tx) => noteUse(tx, id, Date.parse('2026-01-01T00:08:00Z')));
  await it.images.tag('b:1', 'b:again');
  // Tagged this very minute, it is about to be used.
  expect((await it.images.trim(gc('1B', '0'), it.root))?.images).toEqual(['c:1', 'd:1', 'a:1']);
  expect(await names(it)).toEqual(['b:1', 'b:again']);
  later(2 * MINUTE_MS);
  expect((await it.images.trim(gc('1B', '0'), it.root))?.images).toEqual(['b:1']);
});

test('what a container uses or somebody looks at stays', async () => {
  await using opened = await lab();
  const { lab: it } = opened;
  const used = (await it.images.inspect('a:1')).id;
  it.users.set(used, [{ id: 'c0ffee', name: 'user', isRunning: false }]);
  const mounts = createImageMountService({
    ...{ db: it.db, locks: it.locks, layers: it.layers, images: it.images },
    intents: { begin: () => ({ [Symbol.dispose]() {} }) } as never,
  });
  const { path } = await mounts.mount('b:1');
  await it.images.trim(gc('1B', '0'), it.root);
  expect(await names(it)).toEqual(['a:1', 'b:1']);
  expect(path).toContain('merged');
  await mounts.unmount('b:1');
});

test('while somebody stores an image nothing goes, and what is garbage already does not count', async () => {
  await using opened = await lab();
  const { lab: it } = opened;
  {
    await using _held = await holdContent(it);
    expect(await it.images.trim(gc('900kB', '700kB'), it.root)).toBeUndefined();
    await it.images.remove('a:1');
    await it.images.remove('b:1');
    // The blobs stay until nobody holds them.
    expect((await it.inventory()).blobs).toBe(13);
  }
  expect(await it.images.trim(gc('900kB', '700kB'), it.root)).toBeUndefined();
  expect(await names(it)).toEqual(['c:1', 'd:1']);
  expect((await it.inventory()).blobs).toBe(7);
});

test('an event tells what went and why', async () => {
  await using opened = await lab();
  const { lab: it } = opened;
  await it.images.trim(gc('900kB', '700kB'), it.root);
  const event = it.events().findLast(({ action }) => action === 'prune');
  expect(event?.attributes).toMatchObject({ images: 'a:1,b:1', reason: 'image-gc above 900000B' });
  // Two layers of 100 kB, each stored as a tar and unpacked.
  expect(Number(event?.attributes['reclaimed'])).toBeGreaterThan(400_000);
});

test.each([
  { high: '85%', low: undefined, want: { high: { percent: 85 }, low: { percent: 80 } } },
  { high: '85%', low: '70.5%', want: { high: { percent: 85 }, low: { percent: 70.5 } } },
  { high: '50GB', low: '40 GiB', want: { high: { bytes: 50e9 }, low: { bytes: 40 * 1024 ** 3 } } },
  { high: '1000', low: undefined, want: { high: { bytes: 1000 }, low: { bytes: 900 } } },
  { high: undefined, low: undefined, want: undefined },
])('thresholds $high and $low', ({ high, low, want }) => expect(parseImageGC(high, low)).toEqual(want));

test.each([
  { high: undefined, low: '80%', want: /needs a high one/ },
  { high: '80%', low: '90%', want: /is above high/ },
  { high: '80%', low: '1GB', want: /must both be/ },
  { high: '101%', low: undefined, want: /invalid image-gc high "101%"/ },
  { high: 'much', low: undefined, want: /invalid image-gc high "much"/ },
  { high: '-1', low: undefined, want: /invalid image-gc high/ },
  { high: '80%', low: '5 parsecs', want: /invalid image-gc low/ },
])('thresholds $high and $low are refused', ({ high, low, want }) =>
  expect(() => parseImageGC(high, low)).toThrow(want),
);
