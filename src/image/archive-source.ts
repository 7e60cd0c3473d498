import type { Compression, Digest } from '../storage/index.ts';

/** A file of an archive that lies in the content store now. */
export interface ArchiveBlob {
  digest: Digest;
  sizeBytes: number;
  compression: Compression;
}

/** An image archive, whatever it came in: the files that describe it, and blobs by their name in it. */
export interface ArchiveSource {
  /** Names the archive in errors. */
  readonly what: string;
  /** A describing file, such as `index.json`; undefined when there is none. */
  text(name: string): Promise<Uint8Array | undefined>;
  /**
   * A file as a blob of the content store; undefined when there is none.
   * @throws {TareError} InvalidArgument: the name leaves the archive, or says a digest that its content has not
   */
  blob(name: string): Promise<ArchiveBlob | undefined>;
}

/** Files that are read whole. Every other file goes to the content store as it comes. */
export const describingFiles: readonly string[] = ['index.json', 'oci-layout', 'manifest.json', 'repositories'];
export const MAX_DESCRIPTION_BYTES = 16 << 20;

/** The digest in a name such as `blobs/sha256/0123…`. */
export function digestInName(name: string): Digest | undefined {
  const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
  return hex === undefined ? undefined : (`sha256:${hex}` as Digest);
}

export const blobName = (digest: Digest): string => `blobs/${digest.replace(':', '/')}`;
