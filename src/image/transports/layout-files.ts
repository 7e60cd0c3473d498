import { TareError } from '../../errors/index.ts';

/** The files of an image layout or archive, wherever they lie: read by name, from any place in them. All of it is foreign. */
export interface LayoutFiles extends Disposable {
  /** Names the folder or archive in errors. */
  readonly what: string;
  /**
   * Size of a regular file; undefined: there is none.
   * @throws {TareError} InvalidArgument: the name leads outside, or to something that is no regular file
   */
  size(name: string): number | undefined;
  /**
   * A file's bytes from `offset`.
   * @throws {TareError} as `size`; NotFound: there is none
   */
  open(name: string, offset?: number): AsyncIterable<Uint8Array>;
}

const MAX_DESCRIBING_BYTES = 16 << 20;

/**
 * A small file whole; undefined: there is none.
 * @throws {TareError} InvalidArgument: larger than `limitBytes`
 */
export async function readWhole(
  files: LayoutFiles,
  name: string,
  limitBytes = MAX_DESCRIBING_BYTES,
): Promise<Buffer | undefined> {
  const sizeBytes = files.size(name);
  if (sizeBytes === undefined) return undefined;
  if (sizeBytes > limitBytes) {
    throw new TareError(
      'InvalidArgument',
      `${files.what}: ${name} has ${sizeBytes} bytes, at most ${limitBytes} are allowed`,
    );
  }
  const parts: Buffer[] = [];
  let readBytes = 0;
  for await (const chunk of files.open(name)) {
    readBytes += chunk.byteLength;
    // It may have grown since its size was asked for.
    if (readBytes > limitBytes) throw new TareError('InvalidArgument', `${files.what}: ${name} grows while it is read`);
    parts.push(Buffer.from(chunk));
  }
  return Buffer.concat(parts);
}
