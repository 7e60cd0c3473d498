import { encodeHeader, endOfArchive, padding, readTar } from '../../storage/index.ts';

/**
 * A layer's tar with no entry modified later than a time. Equal trees give equal bytes, whoever packed them.
 *
 * @param latestMs milliseconds since 1970
 * @throws {TareError} InvalidArgument: malformed or truncated
 */
export async function* rewriteTimes(
  tar: AsyncIterable<Uint8Array>,
  latestMs: number,
): AsyncGenerator<Uint8Array, void, void> {
  const latestNs = BigInt(latestMs) * 1_000_000n;
  for await (const { header, body } of readTar(tar)) {
    const modifyNs = header.modifyNs > latestNs ? latestNs : header.modifyNs;
    yield encodeHeader({ ...header, modifyNs });
    if (header.type !== 'file') continue;
    for await (const chunk of body) yield chunk;
    yield padding(header.sizeBytes);
  }
  yield endOfArchive();
}
