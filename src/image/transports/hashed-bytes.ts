import { createHash, type Hash } from 'node:crypto';
import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, DigestMismatch } from '../../storage/index.ts';

/**
 * Passes bytes on and compares them, at their end, with the descriptor that named them.
 *
 * @param hash of the bytes before these, for a stream that begins in the middle
 * @throws {DigestMismatch} after the last byte; InvalidArgument: too many or too few
 */
export async function* verified(
  bytes: AsyncIterable<Uint8Array>,
  descriptor: Pick<Descriptor, 'digest' | 'size'>,
  what: string,
  hash: Hash = createHash('sha256'),
  offset = 0,
): AsyncGenerator<Uint8Array, void, void> {
  let position = offset;
  for await (const chunk of bytes) {
    position += chunk.byteLength;
    if (position > descriptor.size) {
      throw new TareError('InvalidArgument', `${what} is longer than the ${descriptor.size} bytes of its descriptor`);
    }
    hash.update(chunk);
    yield chunk;
  }
  if (position < descriptor.size) {
    throw new TareError(
      'InvalidArgument',
      `${what} has ${position} bytes, its descriptor says ${descriptor.size}: it is truncated`,
    );
  }
  const actual = `sha256:${hash.digest('hex')}` as Digest;
  if (actual !== descriptor.digest) throw new DigestMismatch(what, descriptor.digest, actual);
}

/** The same bytes, until somebody says stop. @throws the signal's reason */
export async function* abortable(
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of bytes) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

/** The digest of bytes that are too many to be held. */
export async function digestOfAll(bytes: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) hash.update(chunk);
  return `sha256:${hash.digest('hex')}` as Digest;
}
