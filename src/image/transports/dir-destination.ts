import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, digestOf, hexOf } from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { isFileBlob } from './file-blob.ts';
import { FolderFiles } from './folder-files.ts';
import { FolderWriter } from './folder-writer.ts';
import type { DestinationRules, ImageDestination, ManifestRole, PutBlobOptions } from './image-destination.ts';

const VERSION = 'Directory Transport Version: 1.1\n';

/** skopeo's plain folder. It holds one image: what it held before goes, except for blobs of the new one. */
export class DirDestination implements ImageDestination {
  readonly what: string;
  readonly rules: DestinationRules = {
    manifestTypes: [mediaTypes.manifest, mediaTypes.dockerManifest],
    indexes: true,
    artifacts: true,
    layers: 'preserve',
    foreignLayers: true,
    signatures: true,
    referrers: false,
  };
  readonly #writer: FolderWriter;
  readonly #files: FolderFiles;
  readonly #written = new Set<string>(['version', 'manifest.json']);
  #root: Buffer | undefined;
  #marked: Promise<void> | undefined;

  /** @throws {TareError} InvalidArgument: the folder holds other things than an image */
  constructor(path: string, what: string) {
    this.what = what;
    using opening = new DisposableStack();
    this.#writer = opening.use(new FolderWriter(path, what));
    this.#files = opening.use(new FolderFiles(path, what));
    if (this.#writer.names().length > 0 && this.#files.size('version') === undefined) {
      throw new TareError('InvalidArgument', `${what} holds other files than an image: name a new or empty folder`);
    }
    opening.move();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#files[Symbol.dispose]();
    this.#writer.forgetPartials();
    this.#writer[Symbol.dispose]();
  }

  hasBlob(descriptor: Descriptor): Promise<boolean> {
    return isFileBlob(this.#files, hexOf(descriptor.digest), descriptor);
  }

  async putBlob(descriptor: Descriptor, bytes: BlobBytes, options: PutBlobOptions = {}): Promise<'existed' | 'stored'> {
    const name = hexOf(descriptor.digest);
    this.#written.add(name);
    await this.#markAsOurs();
    if (await this.hasBlob(descriptor)) return 'existed';
    await this.#writer.writeBlob('', name, descriptor, bytes, options);
    return 'stored';
  }

  async putManifest(_mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void> {
    if (role === 'root') this.#root = bytes;
    else if (role === 'part') await this.#write(`${hexOf(digestOf(bytes))}.manifest.json`, bytes);
    else throw new TareError('Unsupported', `${this.what} has no room for other manifests beside its image`);
  }

  async putSignatures(signatures: readonly Buffer[], instance?: Digest): Promise<void> {
    if (signatures.length === 0) return;
    const prefix = instance === undefined ? '' : `${hexOf(instance)}-`;
    for (const [index, signature] of signatures.entries()) {
      await this.#write(`${prefix}signature-${index + 1}`, signature);
    }
  }

  async commit(): Promise<void> {
    if (this.#root === undefined) throw new TareError('Internal', `${this.what}: no manifest was written`);
    await this.#markAsOurs();
    await this.#writer.syncFolder('');
    await this.#writer.writeFile('', 'manifest.json', this.#root);
    await this.#writer.syncFolder('');
    const isOurs = (name: string) => /^([0-9a-f]{64}(\.manifest\.json)?|([0-9a-f]{64}-)?signature-\d+)$/.test(name);
    for (const name of this.#writer.names()) {
      if (isOurs(name) && !this.#written.has(name)) this.#writer.remove(name);
    }
  }

  /** From the first file on, so that a next try takes up what this one may leave. */
  #markAsOurs(): Promise<void> {
    this.#marked ??= this.#writer.writeFile('', 'version', Buffer.from(VERSION));
    return this.#marked;
  }

  async #write(name: string, bytes: Buffer): Promise<void> {
    this.#written.add(name);
    await this.#writer.writeFile('', name, bytes);
  }
}
