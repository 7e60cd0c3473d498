import { TareError } from '../../errors/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import { abortable, digestOfAll } from './hashed-bytes.ts';
import type { BlobRange } from './image-source.ts';
import type { LayoutFiles } from './layout-files.ts';

/**
 * A blob's bytes out of the file that holds it. They are not compared with its digest.
 *
 * @param name undefined: no file is said to hold it
 * @throws {TareError} NotFound: there is no such file; InvalidArgument: it has another size
 */
export async function* fileBlob(
  files: LayoutFiles,
  name: string | undefined,
  descriptor: Descriptor,
  { offset, signal }: BlobRange = {},
): AsyncGenerator<Uint8Array, void, void> {
  const sizeBytes = name === undefined ? undefined : files.size(name);
  if (name === undefined || sizeBytes === undefined) throw missingBlob(descriptor, files.what);
  if (sizeBytes !== descriptor.size) {
    throw new TareError(
      'InvalidArgument',
      `${files.what}: blob ${descriptor.digest} has ${sizeBytes} bytes, its descriptor says ${descriptor.size}`,
    );
  }
  yield* abortable(files.open(name, offset), signal);
}

/** Whether a file is there and is the blob, byte for byte. */
export async function isFileBlob(files: LayoutFiles, name: string, { digest, size }: Descriptor): Promise<boolean> {
  return files.size(name) === size && (await digestOfAll(files.open(name))) === digest;
}

export const missingBlob = ({ digest, mediaType }: Descriptor, what: string): TareError =>
  new TareError('NotFound', `${what}: blob ${digest} (${mediaType}) is missing`);
