import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import {
  copyImage,
  mediaTypes,
  openDestination,
  openSource,
  parseTransport,
  type TransportParts,
} from '../image/index.ts';
import { ImageLab, imageOf, nothing, ociFiles, plainLayer, type TestLayer, tarOf } from './image-archives.fixture.ts';

const packed = (files: Record<string, string>): TestLayer => {
  const { plain } = plainLayer(files);
  return { plain, stored: gzipSync(plain), mediaType: mediaTypes.layerGzip };
};
const image = imageOf([packed({ 'etc/base': 'base'.repeat(1000) }), packed({ 'etc/top': 'top' })]);

/** The lab's store as transports see it; there is no registry. */
const partsOf = (lab: ImageLab): TransportParts => ({
  registries: () => Promise.reject(new Error('no registry')),
  localSource: (name) => lab.images.openSource(name),
  localDestination: (name) => lab.images.openDestination(name),
});

async function copy(lab: ImageLab, from: string, to: string) {
  await using source = await openSource(parseTransport(from), partsOf(lab));
  await using destination = await openDestination(parseTransport(to), partsOf(lab));
  return await copyImage(source, destination);
}

test.each(['oci:PATH:x', 'oci-archive:PATH:x', 'dir:PATH'])(
  'a stored image goes to %s and comes back the same',
  async (form) => {
    const folder = mkdtempSync(join(tmpdir(), 'tare-copy-'));
    using _ = { [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
    const place = form.replace('PATH', join(folder, 'image'));
    await using lab = await ImageLab.open();
    await lab.load(tarOf(ociFiles([{ image, name: 'docker.io/library/a:1' }])));
    const { manifest, id } = await lab.images.inspect('a:1');
    expect((await copy(lab, 'local:a:1', place)).descriptor).toEqual(manifest);
    await lab.images.remove('a:1');
    expect(await lab.inventory()).toEqual(nothing);
    expect((await copy(lab, place, 'local:b:2')).descriptor).toEqual(manifest);
    expect(await lab.images.inspect('b:2')).toMatchObject({ id, manifest, repoTags: ['b:2'] });
    expect(await lab.inventory()).toEqual({ blobs: 4, layers: 2, images: 1, unfinished: [], leases: 0 });
  },
);
