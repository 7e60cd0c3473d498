import { TareError } from '../../errors/index.ts';
import { StreamSocket } from '../../linux/index.ts';
import { BodyDecoder } from './body-decoder.ts';
import { isChangedBeneath } from './changed-beneath.ts';
import { extractInto } from './extract-stream.ts';
import type { ReceiveRequest } from './receive-tree.ts';

const BLOCK_BYTES = 1024 * 1024;

/** See receiveTree; in a thread of its own. */
export async function receiveTreeHere(request: ReceiveRequest): Promise<void> {
  try {
    await extractInto(request.rootFd, bodyOf(request), request.options);
  } catch (error) {
    // What its code says would be lost on the way to the main thread.
    if (!isChangedBeneath(error)) throw error;
    const message = 'what was there changed while it was copied to: try again when it is at rest';
    throw new TareError('Conflict', message, { cause: error });
  }
}

/** Pieces that are good until the next is asked for: they all have the same memory. */
async function* bodyOf({ socket, state, begun, pending, aborted }: ReceiveRequest): AsyncGenerator<Uint8Array> {
  yield begun;
  const decoder = new BodyDecoder(state);
  const first = Buffer.from(pending);
  yield first.subarray(0, decoder.decode(first));
  const stream = new StreamSocket(socket, () => Atomics.load(aborted, 0) !== 0);
  const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  while (!decoder.isAtEnd) {
    const size = stream.read(block);
    if (size === 0) throw new TareError('InvalidArgument', "the request's body ended early");
    yield block.subarray(0, decoder.decode(block.subarray(0, size)));
  }
}
