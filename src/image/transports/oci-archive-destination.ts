import { type Descriptor, digestOf } from '../../storage/index.ts';
import { blobName } from '../archive-source.ts';
import { mediaTypes } from '../manifest.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { ArchiveBlobs } from './archive-blobs.ts';
import { type ImageDestination, type ManifestRole, noSignatures, type PutBlobOptions } from './image-destination.ts';
import { layoutEntry, layoutRules, layoutVersion, withEntries } from './oci-layout-destination.ts';
import { TarWriter } from './tar-writer.ts';

/** An OCI layout in a tar. A file of this name is replaced. */
export class OciArchiveDestination implements ImageDestination {
  readonly what: string;
  readonly rules = layoutRules;
  readonly #tar: TarWriter;
  readonly #blobs: ArchiveBlobs;
  readonly #name: string | undefined;
  readonly #entries: Descriptor[] = [];

  private constructor(tar: TarWriter, name: string | undefined, what: string) {
    this.what = what;
    this.#tar = tar;
    this.#blobs = new ArchiveBlobs(tar);
    this.#name = name;
  }

  static async open(path: string, name: string | undefined, what: string): Promise<OciArchiveDestination> {
    const tar = await TarWriter.open(path, what);
    await tar.put('oci-layout', layoutVersion);
    await tar.directory('blobs/');
    await tar.directory('blobs/sha256/');
    return new OciArchiveDestination(tar, name, what);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#tar[Symbol.asyncDispose]();
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    return this.#blobs.has(digest);
  }

  putBlob(descriptor: Descriptor, bytes: BlobBytes, options: PutBlobOptions = {}): Promise<'existed' | 'stored'> {
    return this.#blobs.put(blobName(descriptor.digest), descriptor, bytes, options);
  }

  async putManifest(mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void> {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
    await this.putBlob(descriptor, () => once(bytes));
    if (role !== 'part') this.#entries.push(layoutEntry(descriptor, bytes, role, this.#name));
  }

  async putSignatures(): Promise<void> {
    noSignatures(this.what);
  }

  async commit(): Promise<void> {
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: withEntries([], this.#entries) };
    await this.#tar.put('index.json', Buffer.from(JSON.stringify(index)));
    this.#blobs.requireWhole();
    await this.#tar.commit();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
