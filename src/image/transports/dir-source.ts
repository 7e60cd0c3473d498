import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, digestOf, hexOf } from '../../storage/index.ts';
import { parseManifest } from '../manifest.ts';
import { fileBlob } from './file-blob.ts';
import { FolderFiles } from './folder-files.ts';
import {
  type BlobRange,
  checkedDocument,
  type ImageDocument,
  type ImageSource,
  requireManifestSize,
} from './image-source.ts';
import { readWhole } from './layout-files.ts';

const MAX_SIGNATURES = 100;
const MAX_SIGNATURE_BYTES = 4 << 20;

/** skopeo's plain folder: `manifest.json`, and blobs by the hex digits of their digest (containers-transports(5), "dir"). */
export class DirSource implements ImageSource {
  readonly what: string;
  readonly #files: FolderFiles;

  constructor(path: string, what: string) {
    this.what = what;
    this.#files = new FolderFiles(path, what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#files[Symbol.dispose]();
  }

  async root(): Promise<ImageDocument> {
    const what = `${this.what}: manifest.json`;
    requireManifestSize(this.#files.size('manifest.json') ?? 0, what);
    const bytes = await readWhole(this.#files, 'manifest.json');
    if (bytes === undefined) throw new TareError('NotFound', `${this.what} has no manifest.json: it holds no image`);
    const { mediaType } = parseManifest(bytes, what);
    return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength }, bytes };
  }

  async manifest(descriptor: Descriptor): Promise<ImageDocument> {
    const name = `${hexOf(descriptor.digest)}.manifest.json`;
    const what = `${this.what}: ${name}`;
    requireManifestSize(this.#files.size(name) ?? 0, what);
    const bytes = await readWhole(this.#files, name);
    if (bytes === undefined) throw new TareError('NotFound', `${this.what}: manifest ${descriptor.digest} is missing`);
    return checkedDocument(bytes, descriptor, what);
  }

  blob(descriptor: Descriptor, range?: BlobRange): AsyncGenerator<Uint8Array, void, void> {
    return fileBlob(this.#files, hexOf(descriptor.digest), descriptor, range);
  }

  async referrers(): Promise<Descriptor[]> {
    return [];
  }

  async tagged(): Promise<ImageDocument | undefined> {
    return undefined;
  }

  async signatures(instance?: Digest): Promise<Buffer[]> {
    const prefix = instance === undefined ? '' : `${hexOf(instance)}-`;
    const signatures: Buffer[] = [];
    while (signatures.length < MAX_SIGNATURES) {
      const name = `${prefix}signature-${signatures.length + 1}`;
      const signature = await readWhole(this.#files, name, MAX_SIGNATURE_BYTES);
      if (signature === undefined) return signatures;
      signatures.push(signature);
    }
    throw new TareError('InvalidArgument', `${this.what}: more than ${MAX_SIGNATURES} signatures`);
  }
}
