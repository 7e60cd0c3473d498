import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';
import { OpenFile } from '../../linux/index.ts';
import {
  type DiffID,
  encodeFile,
  encodeHeader,
  endOfArchive,
  openLayerStore,
  type VisibleFile,
  type VisibleFiles,
} from '../../storage/index.ts';
import { type CatalogueOptions, catalogue } from './catalogue.ts';
import type { Catalogue } from './package.ts';

/** A layer to be: files by path; a link is its target. */
export type TestLayer = Record<string, string | Uint8Array | { link: string }>;

const layerTar = (layer: TestLayer): Buffer =>
  Buffer.concat([
    ...Object.entries(layer).map(([path, content]) =>
      typeof content === 'string' || content instanceof Uint8Array
        ? encodeFile(path, content, { mode: 0o755 })
        : encodeHeader({ path, type: 'link', linkTarget: content.link }),
    ),
    endOfArchive(),
  ]);

/** The catalogue of an image of these layers (base first; a Buffer is a whole tar), unpacked as any image's. */
export async function catalogueOf(layers: (TestLayer | Buffer)[], options: CatalogueOptions = {}): Promise<Catalogue> {
  using folder = scratchFolder();
  await using store = await openLayerStore({
    directory: join(folder.path, 'layers'),
    snapshotDirectory: join(folder.path, 'snapshots'),
  });
  const diffIDs: DiffID[] = [];
  for (const [at, layer] of layers.entries()) {
    const path = join(folder.path, `${at}.tar`);
    writeFileSync(path, Buffer.isBuffer(layer) ? layer : layerTar(layer));
    diffIDs.push((await store.apply({ path, compression: 'none' })).diffID);
  }
  using files: VisibleFiles = store.visibleFiles(diffIDs);
  return await catalogue(files, options);
}

export function scratchFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'tare-bom-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** One file of an image, for parsers by themselves. */
export function fileOf(folder: string, path: string, bytes: Uint8Array): VisibleFile {
  const place = join(folder, 'file');
  writeFileSync(place, bytes);
  return {
    path,
    type: 'file',
    layer: 0,
    status: () => ({ sizeBytes: bytes.length, mode: 0o755 }),
    target: () => '',
    open: () => new OpenFile(openSync(place, 'r')),
  };
}

/** Runs with a descriptor of a file with these bytes. */
export async function withBytes<T>(bytes: Uint8Array, run: (fd: number) => T | Promise<T>): Promise<T> {
  using folder = scratchFolder();
  const path = join(folder.path, 'bytes');
  writeFileSync(path, bytes);
  const fd = openSync(path, 'r');
  try {
    return await run(fd);
  } finally {
    closeSync(fd);
  }
}

/** A zip file (APPNOTE 6.3). @param claims sizes that entries say in place of their own */
export function zipOf(files: Record<string, string | Uint8Array>, claims: Record<string, number> = {}): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(files)) {
    const plain = Buffer.from(content);
    const packed = deflateRawSync(plain);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(crc32(plain), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(claims[name] ?? plain.length, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), fields, Buffer.from(name), packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00', 'latin1'), fields, tail, Buffer.from(name)]));
    bodies.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(directory.length, 8);
  end.writeUInt16LE(directory.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, central, end]);
}
