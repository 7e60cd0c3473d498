import { kindOf, TareError } from '../errors/index.ts';
import type { BlobReader, Descriptor } from '../storage/index.ts';

/**
 * Whether a blob is stored. One that is here was compared with its digest, but not with what this descriptor says of it.
 *
 * @param what names the document of the descriptor in errors
 * @throws {TareError} InvalidArgument: it is of another size
 */
export async function isStored(
  content: Pick<BlobReader, 'info'>,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  what: string,
): Promise<boolean> {
  let sizeBytes: number;
  try {
    ({ sizeBytes } = await content.info(digest));
  } catch (error) {
    if (kindOf(error) === 'NotFound') return false;
    throw error;
  }
  if (sizeBytes === size) return true;
  throw new TareError('InvalidArgument', `${what}: blob ${digest} has ${sizeBytes} bytes, its descriptor says ${size}`);
}
