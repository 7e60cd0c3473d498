import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { SessionContentStore } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import { content } from '../../../protocol/index.ts';
import type { ServedCall } from './served-call.ts';

const PIECE_BYTES = 1 << 20;

/** One call of containerd's content service on a store of ours. */
export async function serveContent(
  method: 'Info' | 'Read' | 'Write',
  store: SessionContentStore,
  call: ServedCall,
): Promise<void> {
  if (method === 'Info') await tellInfo(store, call);
  else if (method === 'Read') await sendBlob(store, call);
  else await receiveBlob(store, call);
}

async function tellInfo(store: SessionContentStore, call: ServedCall): Promise<void> {
  const { digest } = fromBinary(content.InfoRequestSchema, await call.message());
  const { sizeBytes, labels } = await store.info(digest);
  const info = create(content.InfoSchema, { digest, size: BigInt(sizeBytes), labels: { ...labels } });
  await call.send(toBinary(content.InfoResponseSchema, create(content.InfoResponseSchema, { info })));
}

async function sendBlob(store: SessionContentStore, call: ServedCall): Promise<void> {
  const { digest, offset, size } = fromBinary(content.ReadContentRequestSchema, await call.message());
  let at = Number(offset);
  let left = size > 0n ? Number(size) : Number.POSITIVE_INFINITY;
  for await (const chunk of store.read(digest, at)) {
    for (let start = 0; start < chunk.length && left > 0; start += PIECE_BYTES) {
      const data = chunk.subarray(start, Math.min(start + PIECE_BYTES, start + left));
      const piece = create(content.ReadContentResponseSchema, { offset: BigInt(at), data });
      await call.send(toBinary(content.ReadContentResponseSchema, piece));
      at += data.length;
      left -= data.length;
    }
    if (left <= 0) return;
  }
}

/** A blob in pieces, each of which is answered; it is there once it is committed. */
async function receiveBlob(store: SessionContentStore, call: ServedCall): Promise<void> {
  const requests = messagesOf(call);
  const first = await requests.next();
  if (first.done) return;
  let request = first.value;
  const { ref, expected: digest, total } = request;
  const reply = async (offset: number) => {
    const answer = create(content.WriteContentResponseSchema, {
      ...{ action: request.action, offset: BigInt(offset), total, digest },
    });
    await call.send(toBinary(content.WriteContentResponseSchema, answer));
  };
  let offset = 0;
  async function* pieces(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      if (Number(request.offset) !== offset && request.data.length > 0)
        throw new TareError('InvalidArgument', `blob ${digest}: bytes for ${request.offset} come at ${offset}`);
      if (request.data.length > 0) yield request.data;
      offset += request.data.length;
      if (request.action === content.WriteAction.COMMIT) return;
      await reply(offset);
      const next = await requests.next();
      if (next.done) throw new TareError('Unavailable', `blob ${digest} was not sent to its end`);
      request = next.value;
    }
  }
  await store.write(ref, { digest, sizeBytes: Number(total) }, pieces());
  // A store that has the blob reads nothing of it.
  if (request.action !== content.WriteAction.COMMIT)
    throw new TareError('AlreadyExists', `content ${digest}: already exists`);
  await reply(offset);
}

async function* messagesOf(call: ServedCall): AsyncGenerator<content.WriteContentRequest, void> {
  for await (const batch of call.batches())
    for (const message of batch) yield fromBinary(content.WriteContentRequestSchema, message);
}
