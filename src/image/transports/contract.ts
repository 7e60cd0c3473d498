import { expect, test } from 'vitest';
import { kindOf, TareError } from '../../errors/index.ts';
import { type Descriptor, digestOf } from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import { copyImage } from './copy.ts';
import type { ImageDestination } from './image-destination.ts';
import type { ImageSource } from './image-source.ts';
import { MemorySource, noise, tarOf } from './memory-source.fixture.ts';

/** A place that an image can be written to and read from. */
export interface TransportPlace extends AsyncDisposable {
  destination(): Promise<ImageDestination>;
  source(): Promise<ImageSource>;
}

const tars = [tarOf({ 'etc/base': noise('base', 700_000) }), tarOf({ 'etc/top': 'top' })];

export async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

/** Reads all that a source has below its root. */
async function readAll(source: ImageSource): Promise<string[]> {
  const found: string[] = [];
  const visit = async (document: { descriptor: Descriptor; bytes: Buffer }): Promise<void> => {
    expect(digestOf(document.bytes)).toBe(document.descriptor.digest);
    found.push(document.descriptor.digest);
    const parsed = JSON.parse(document.bytes.toString()) as {
      manifests?: Descriptor[];
      config?: Descriptor;
      layers?: Descriptor[];
    };
    for (const entry of parsed.manifests ?? []) await visit(await source.manifest(entry));
    for (const blob of parsed.config === undefined ? [] : [parsed.config, ...parsed.layers!]) {
      expect(digestOf(await bytesOf(source.blob(blob)))).toBe(blob.digest);
      found.push(blob.digest);
    }
  };
  await visit(await source.root());
  return found.sort();
}

/** What every transport promises; see `ImageSource` and `ImageDestination`. */
export function transportContract(transport: string, open: () => Promise<TransportPlace>): void {
  test(`${transport}: what was copied there comes back, whole`, async () => {
    await using place = await open();
    const memory = new MemorySource();
    memory.addImage(tars, { docker: true });
    let written: Descriptor;
    let layers: ImageDestination['rules']['layers'];
    {
      await using destination = await place.destination();
      layers = destination.rules.layers;
      written = (await copyImage(memory, destination)).descriptor;
    }
    await using source = await place.source();
    const found = await readAll(source);
    expect(found).toHaveLength(4);
    if (layers !== 'decompress') expect(found).toContain(written.digest);
    const config = digestOf(JSON.parse((await source.root()).bytes.toString()).config.digest);
    expect(config).toBe(digestOf(JSON.parse(memory.rootDocument!.bytes.toString()).config.digest));
  });

  test(`${transport}: a blob is read from any place in it`, async () => {
    await using place = await open();
    const memory = new MemorySource();
    memory.addImage([tars[0]!]);
    {
      await using destination = await place.destination();
      await copyImage(memory, destination);
    }
    await using source = await place.source();
    const [layer] = JSON.parse((await source.root()).bytes.toString()).layers as [Descriptor];
    const whole = await bytesOf(source.blob(layer));
    for (const offset of [0, 1, 10_007, 600_000, whole.byteLength]) {
      expect((await bytesOf(source.blob(layer, { offset }))).equals(whole.subarray(offset))).toBe(true);
    }
  });

  test(`${transport}: nothing is seen of a copy that did not end`, async () => {
    await using place = await open();
    {
      await using destination = await place.destination();
      const bytes = Buffer.from('half an image');
      await destination.putBlob(descriptorOf(bytes), () => chunksOf(bytes));
    }
    const looking = (async () => {
      await using source = await place.source();
      return await source.root();
    })();
    await expect(looking).rejects.toSatisfy((error) => ['NotFound', 'InvalidArgument'].includes(kindOf(error)));
  });

  test(`${transport}: a blob is stored once, and then not asked for`, async () => {
    await using place = await open();
    await using destination = await place.destination();
    const bytes = noise('once', 100_000);
    const descriptor = descriptorOf(bytes);
    expect(await destination.hasBlob(descriptor)).toBe(false);
    expect(await destination.putBlob(descriptor, () => chunksOf(bytes))).toBe('stored');
    expect(await destination.hasBlob(descriptor)).toBe(true);
    const never = () => {
      throw new Error('asked again');
    };
    expect(await destination.putBlob(descriptor, never)).toBe('existed');
  });

  test.each([
    { problem: 'other bytes', spoil: (bytes: Buffer) => Buffer.from(bytes).fill(0x20, 5, 9) },
    { problem: 'too few bytes', spoil: (bytes: Buffer) => bytes.subarray(0, -1) },
    { problem: 'too many bytes', spoil: (bytes: Buffer) => Buffer.concat([bytes, bytes]) },
  ])(`${transport}: $problem than announced are refused, and nothing of them is kept`, async ({ spoil }) => {
    await using place = await open();
    await using destination = await place.destination();
    const bytes = noise('spoilt', 100_000);
    const descriptor = descriptorOf(bytes);
    const putting = destination.putBlob(descriptor, (offset) => chunksOf(spoil(bytes).subarray(offset)));
    await expect(putting).rejects.toThrow(TareError);
    expect(await destination.hasBlob(descriptor)).toBe(false);
  });

  test(`${transport}: the same place takes an image again`, async () => {
    await using place = await open();
    const memory = new MemorySource();
    memory.addImage(tars);
    for (let time = 0; time < 2; time += 1) {
      await using destination = await place.destination().catch((error: unknown) => {
        // Docker's archives are not added to.
        if (kindOf(error) === 'AlreadyExists') return undefined;
        throw error;
      });
      if (destination !== undefined) await copyImage(memory, destination);
    }
    await using source = await place.source();
    expect(await readAll(source)).toHaveLength(4);
  });

  test(`${transport}: an index goes with all it lists, or is refused`, async () => {
    await using place = await open();
    const memory = new MemorySource();
    const entries = ['amd64', 'arm64'].map((architecture) => {
      const platform = { architecture, os: 'linux' };
      return { ...memory.addImage([tarOf({ architecture })], { platform }), platform };
    });
    const index = memory.addIndex(entries);
    await using destination = await place.destination();
    const copying = copyImage(memory, destination, { instances: 'all' });
    if (!destination.rules.indexes) return await expect(copying).rejects.toThrow(/single images only/);
    expect((await copying).descriptor).toEqual(index);
    await using source = await place.source();
    expect(await readAll(source)).toHaveLength(7);
    expect((await source.root()).descriptor.digest).toBe(index.digest);
  });

  test(`${transport}: an artifact goes as it is, or is refused`, async () => {
    await using place = await open();
    const memory = new MemorySource();
    const artifact = memory.addArtifact('a chart');
    await using destination = await place.destination();
    const copying = copyImage(memory, destination);
    if (!destination.rules.artifacts) return await expect(copying).rejects.toThrow(/no container image/);
    expect((await copying).descriptor).toEqual(artifact);
    await using source = await place.source();
    expect(await readAll(source)).toHaveLength(3);
  });

  test(`${transport}: a manifest that is not there is an error`, async () => {
    await using place = await open();
    const memory = new MemorySource();
    memory.addImage(tars);
    {
      await using destination = await place.destination();
      await copyImage(memory, destination);
    }
    await using source = await place.source();
    const missing = { mediaType: mediaTypes.manifest, digest: digestOf('nothing'), size: 7 };
    await expect(source.manifest(missing)).rejects.toSatisfy((error) => kindOf(error) === 'NotFound');
  });
}

const descriptorOf = (bytes: Buffer): Descriptor => ({
  mediaType: mediaTypes.layer,
  digest: digestOf(bytes),
  size: bytes.byteLength,
});

async function* chunksOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 9_999) yield bytes.subarray(at, at + 9_999);
}
