import { appendFileSync, mkdirSync, readFileSync, rmSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { mediaTypes, parseReference, type Registries } from '../image/index.ts';
import { type Digest, encodeFile, encodeHeader, endOfArchive } from '../storage/index.ts';
import { ImageLab, imageOf, ociFiles, sha256, tarOf } from './image-archives.fixture.ts';
import { putName } from './image-records.ts';
import type { Damage, VerifyMessage, VerifyOptions } from './types.ts';

const plain = Buffer.concat([
  encodeHeader({ path: 'etc', type: 'directory', mode: 0o755 }),
  encodeFile('etc/motd', 'welcome\n'),
  encodeFile('etc/passwd', 'root'),
  encodeHeader({ path: 'etc/link', type: 'link', linkTarget: 'motd' }),
  encodeFile('.wh.gone', ''),
  endOfArchive(),
]);
const layer = { stored: gzipSync(plain), plain, mediaType: mediaTypes.layerGzip };
const image = imageOf([layer]);
const id = sha256(image.config);
const diffID = sha256(plain);
const layerDigest = sha256(layer.stored);

/** A lab with one image. */
async function loaded(registries?: () => Promise<Registries>): Promise<ImageLab> {
  const lab = await ImageLab.open(undefined, registries === undefined ? {} : { registries });
  await lab.load(tarOf(ociFiles([{ image, name: 'docker.io/library/a:1' }])));
  return lab;
}

const hex = (digest: string): string => digest.slice('sha256:'.length);
const blobPath = (lab: ImageLab, digest: string): string => join(lab.root, 'content/blobs/sha256', hex(digest));
const layerPath = (lab: ImageLab, name: string): string => join(lab.root, 'layers', hex(diffID), name);

async function check(
  lab: ImageLab,
  options: VerifyOptions = {},
): Promise<{ damages: Damage[]; end: VerifyMessage & { type: 'end' } }> {
  const messages = await Array.fromAsync(lab.images.verify(options));
  const damages = messages.flatMap((message) => (message.type === 'damage' ? [message.damage] : []));
  return { damages, end: messages.at(-1) as VerifyMessage & { type: 'end' } };
}

test('what is whole is counted', async () => {
  await using lab = await loaded();
  for (const deep of [false, true]) {
    const { damages, end } = await check(lab, { deep });
    expect(damages).toEqual([]);
    const bytes = layer.stored.byteLength + image.config.byteLength + image.manifest.byteLength;
    expect(end).toEqual({
      type: 'end',
      checked: { images: 1, blobs: 3, bytes, layers: 1 },
      damaged: 0,
      repaired: 0,
    });
  }
  expect(await lab.inventory()).toMatchObject({ unfinished: [], leases: 0 });
});

test.each<{ what: string; harm: (lab: ImageLab) => unknown; want: Partial<Damage>; deep?: boolean }>([
  {
    what: 'a flipped bit in a layer',
    harm: (lab) => {
      const bytes = readFileSync(blobPath(lab, layerDigest));
      bytes[20]! ^= 1;
      writeFileSync(blobPath(lab, layerDigest), bytes);
    },
    want: { what: 'blob', id: layerDigest, problem: expect.stringMatching(/^its bytes have digest sha256:/) },
  },
  {
    what: 'a blob that became longer',
    harm: (lab) => appendFileSync(blobPath(lab, layerDigest), 'x'),
    want: { what: 'blob', id: layerDigest, problem: expect.stringMatching(/bytes, \d+ are recorded$/) },
  },
  {
    what: 'an empty config, as a loss of power may leave it',
    harm: (lab) => writeFileSync(blobPath(lab, id), ''),
    want: { what: 'blob', id, problem: expect.stringMatching(/^its bytes have digest/) },
  },
  {
    what: 'a manifest that is gone',
    harm: (lab) => unlinkSync(blobPath(lab, sha256(image.manifest))),
    want: { what: 'blob', id: sha256(image.manifest), problem: 'it is missing' },
  },
  {
    what: 'a record of another layer',
    harm: (lab) => {
      const row = lab.db.get<{ doc: string }>('SELECT doc FROM images')!;
      const doc = row.doc.replaceAll(diffID, layerDigest);
      return lab.db.write((tx) => void tx.run('UPDATE images SET doc = ?', doc));
    },
    want: { what: 'image', id, problem: 'its config names other diff_ids than its record' },
  },
  {
    what: "a layer's files that are gone",
    harm: (lab) => rmSync(layerPath(lab, 'diff'), { recursive: true }),
    want: { what: 'layer', id: diffID, problem: 'its files are gone' },
  },
  {
    what: "a layer's record of another layer",
    harm: (lab) => {
      const path = layerPath(lab, 'layer.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace(diffID, id));
    },
    want: { what: 'layer', id: diffID, problem: `its record is that of ${id}` },
  },
  {
    what: 'an empty file in a layer',
    deep: true,
    harm: (lab) => {
      writeFileSync(layerPath(lab, 'diff/etc/motd'), '');
      utimesSync(layerPath(lab, 'diff/etc/motd'), 0, 0);
    },
    want: { what: 'layer', id: diffID, problem: '/etc/motd is not as its blob has it' },
  },
  {
    what: 'other bytes of the same length and time in a layer',
    deep: true,
    harm: (lab) => {
      writeFileSync(layerPath(lab, 'diff/etc/motd'), 'wElcome\n');
      utimesSync(layerPath(lab, 'diff/etc/motd'), 0, 0);
    },
    want: { what: 'layer', id: diffID, problem: '/etc/motd is not as its blob has it' },
  },
  {
    what: 'a whiteout that is gone',
    deep: true,
    harm: (lab) => unlinkSync(layerPath(lab, 'diff/gone')),
    want: { what: 'layer', id: diffID, problem: '/gone is missing' },
  },
  {
    what: 'a file that does not belong there',
    deep: true,
    harm: (lab) => mkdirSync(layerPath(lab, 'diff/planted')),
    want: { what: 'layer', id: diffID, problem: '/planted does not belong there' },
  },
])('$what is found, and named with its image', async ({ harm, want, deep = false }) => {
  await using lab = await loaded();
  await harm(lab);
  const { damages, end } = await check(lab, { deep });
  expect(damages).toEqual([{ images: ['a:1'], isRepaired: false, ...want }]);
  expect(end).toMatchObject({ damaged: 1, repaired: 0 });
  // By its name it is found as well, and without a registry a blob stays lost.
  expect((await check(lab, { deep, images: ['a:1'] })).damages).toEqual(damages);
});

test('a damaged layer is unpacked again, unless something stands on it', async () => {
  await using lab = await loaded();
  writeFileSync(layerPath(lab, 'diff/etc/motd'), '');
  await lab.layers.prepare('user', [diffID as never]);
  lab.layers.mount('user');
  const { damages } = await check(lab, { deep: true, repair: true });
  expect(damages[0]).toMatchObject({ isRepaired: false, obstacle: expect.stringMatching(/is in use by user/) });
  lab.layers.unmount('user');
  const repaired = await check(lab, { deep: true, repair: true });
  expect(repaired.damages[0]).toMatchObject({ what: 'layer', isRepaired: true });
  expect(repaired.end).toMatchObject({ damaged: 1, repaired: 1 });
  expect((await check(lab, { deep: true })).damages).toEqual([]);
  expect(readFileSync(join(lab.layers.mount('user'), 'etc/motd'), 'utf8')).toBe('welcome\n');
  await lab.layers.remove('user');
});

test('a damaged blob is fetched from where its image came, and only whole ones take its place', async () => {
  const served = new Map<string, Buffer>();
  const asked: string[] = [];
  const registries = {
    sources: ({ domain, path }: { domain: string; path: string }) => [
      {
        name: { domain, path },
        manifest: async ({ digest }: { digest: Digest }) => ({ bytes: served.get(digest)! }),
        blobSize: async (digest: Digest) => served.get(digest)?.byteLength,
        blob: async function* ({ digest }: { digest: Digest }, { offset = 0 }: { offset?: number }) {
          asked.push(`${domain}/${path}@${digest}`);
          yield served.get(digest)!.subarray(offset);
        },
      },
    ],
  } as unknown as Registries;
  await using lab = await loaded(async () => registries);
  for (const digest of [layerDigest, id, sha256(image.manifest)]) {
    const bytes = readFileSync(blobPath(lab, digest));
    served.set(digest, Buffer.from(bytes));
    bytes[10]! ^= 0x40;
    writeFileSync(blobPath(lab, digest), bytes);
  }
  // Loaded from an archive, nobody knows where it came from.
  const unknown = await check(lab, { repair: true });
  expect(unknown.damages.map(({ obstacle }) => obstacle)).toEqual(
    Array.from({ length: 3 }, () => expect.stringMatching(/no registry is known to have it/)),
  );
  const name = parseReference(`registry.example/a@${sha256(image.manifest)}`);
  await lab.db.write((tx) => putName(tx, name, id as Digest, 0));
  const good = served.get(layerDigest)!;
  served.set(layerDigest, Buffer.from(good).fill(7));
  const first = await check(lab, { repair: true });
  expect(first.end).toMatchObject({ damaged: 3, repaired: 2 });
  expect(first.damages.find(({ isRepaired }) => !isRepaired)).toMatchObject({
    id: layerDigest,
    obstacle: expect.stringMatching(/^registry.example\/a: .*expected sha256/),
  });
  served.set(layerDigest, good);
  expect((await check(lab, { repair: true })).end).toMatchObject({ damaged: 1, repaired: 1 });
  expect((await check(lab, { deep: true })).damages).toEqual([]);
  expect(new Set(asked)).toEqual(new Set([layerDigest, id].map((digest) => `registry.example/a@${digest}`)));
  expect((await lab.inventory()).unfinished).toEqual([]);
});

test('a check that is given up leaves nothing', async () => {
  await using lab = await loaded();
  // Enough blobs for some to be read while others wait.
  for (let count = 0; count < 20; count += 1) await lab.content.put(Buffer.alloc(500_000, String(count)));
  const stop = new AbortController();
  const checking = (async () => {
    for await (const _ of lab.images.verify({ deep: true, signal: stop.signal })) stop.abort();
  })();
  await expect(checking).rejects.toMatchObject({ name: 'AbortError' });
  // Nor does one that nobody listens to any more.
  for await (const _ of lab.images.verify()) break;
  expect(await lab.inventory()).toMatchObject({ unfinished: [], leases: 0 });
});
