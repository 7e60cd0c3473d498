import { ByteBudget, decompress } from '../storage/index.ts';

/**
 * The bytes of a stream that may be compressed as a whole (gzip, zstd, bzip2, xz), guarded against bombs.
 *
 * @throws {TareError} InvalidArgument: damaged, or it inflates beyond reason
 */
export async function* decompressed(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const budget = new ByteBudget();
  let stored = 0;
  let inflated = 0;
  const counted = async function* () {
    for await (const chunk of input) {
      stored += chunk.byteLength;
      yield chunk;
    }
  };
  for await (const chunk of decompress(counted())) {
    inflated += chunk.byteLength;
    budget.inflated(stored, inflated);
    yield chunk;
  }
}
