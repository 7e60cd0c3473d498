import { type ContentStore, detectCompression } from '../storage/index.ts';
import { archiveName } from './archive-names.ts';
import type { ArchiveBlob, ArchiveSource } from './archive-source.ts';
import { requireNamedDigest } from './tar-source.ts';
import { FolderFiles } from './transports/folder-files.ts';
import { readWhole } from './transports/layout-files.ts';

// What tells a compression.
const SNIFF_BYTES = 6;

/** An OCI layout or an unpacked docker archive in a folder. Only the files that an image needs are read. */
export class DirectorySource implements ArchiveSource, Disposable {
  readonly what: string;
  readonly #files: FolderFiles;
  readonly #content: ContentStore;
  readonly #blobs = new Map<string, Promise<ArchiveBlob | undefined>>();

  /** @throws {TareError} NotFound, InvalidArgument: the folder */
  constructor(path: string, content: ContentStore) {
    this.what = path;
    this.#content = content;
    this.#files = new FolderFiles(path);
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }

  text(name: string): Promise<Buffer | undefined> {
    return readWhole(this.#files, name);
  }

  blob(name: string): Promise<ArchiveBlob | undefined> {
    let blob = this.#blobs.get(name);
    if (blob === undefined) {
      blob = this.#store(name);
      this.#blobs.set(name, blob);
    }
    return blob;
  }

  async #store(name: string): Promise<ArchiveBlob | undefined> {
    const sizeBytes = this.#files.size(name);
    if (sizeBytes === undefined) return undefined;
    let head = Buffer.alloc(0);
    await using writer = await this.#content.writer({ sizeBytes });
    for await (const chunk of this.#files.open(name)) {
      if (head.length < SNIFF_BYTES) head = Buffer.concat([head, chunk.subarray(0, SNIFF_BYTES)]);
      await writer.write(chunk);
    }
    const { digest } = await writer.commit();
    requireNamedDigest(archiveName(name, this.what), digest, this.what);
    return { digest, sizeBytes, compression: detectCompression(head) };
  }
}
