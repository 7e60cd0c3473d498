import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { SessionContentStore } from '../../../build/index.ts';
import { kindOf, TareError } from '../../../errors/index.ts';
import { content } from '../../../protocol/index.ts';
import type { CallHeaders, GrpcCall } from './grpc-call.ts';

const service = '/containerd.services.content.v1.Content';
const PIECE_BYTES = 1 << 20;

/** A store of blobs at a client, by containerd's content service. */
export class RemoteContentStore implements SessionContentStore {
  readonly #call: (path: string, request: Uint8Array, headers: CallHeaders) => Promise<Uint8Array>;
  readonly #open: (path: string, headers: CallHeaders) => GrpcCall;
  readonly #headers: CallHeaders;

  constructor(
    call: (path: string, request: Uint8Array, headers: CallHeaders) => Promise<Uint8Array>,
    open: (path: string, headers: CallHeaders) => GrpcCall,
    storeID: string,
  ) {
    this.#call = call;
    this.#open = open;
    this.#headers = { 'buildkit-attachable-store-id': storeID };
  }

  async info(digest: string) {
    const request = toBinary(content.InfoRequestSchema, create(content.InfoRequestSchema, { digest }));
    const answer = await this.#call(`${service}/Info`, request, this.#headers);
    const { info } = fromBinary(content.InfoResponseSchema, answer);
    if (!info) throw new TareError('NotFound', `the client has no blob ${digest}`);
    return { digest: info.digest, sizeBytes: Number(info.size), labels: info.labels };
  }

  async *read(digest: string, offset = 0): AsyncGenerator<Uint8Array, void> {
    using call = this.#open(`${service}/Read`, this.#headers);
    const request = create(content.ReadContentRequestSchema, { digest, offset: BigInt(offset) });
    await call.send(toBinary(content.ReadContentRequestSchema, request));
    call.end();
    for await (const batch of call.batches())
      for (const message of batch) yield fromBinary(content.ReadContentResponseSchema, message).data;
  }

  async write(
    ref: string,
    expected: { digest: string; sizeBytes: number },
    bytes: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    using call = this.#open(`${service}/Write`, this.#headers);
    const answers = call.batches();
    const ask = async (action: content.WriteAction, offset: number, data?: Uint8Array) => {
      const request = create(content.WriteContentRequestSchema, {
        ...{ action, ref, total: BigInt(expected.sizeBytes), expected: expected.digest, offset: BigInt(offset) },
        ...(data && { data }),
      });
      await call.send(toBinary(content.WriteContentRequestSchema, request));
      const { value } = await answers.next();
      if (!value?.[0]) throw new TareError('Unavailable', 'the client ended while a blob was sent to it');
      return fromBinary(content.WriteContentResponseSchema, value[0]);
    };
    try {
      await ask(content.WriteAction.STAT, 0);
      let offset = 0;
      for await (const chunk of bytes) {
        for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
          const piece = chunk.subarray(at, at + PIECE_BYTES);
          await ask(content.WriteAction.WRITE, offset, piece);
          offset += piece.length;
        }
      }
      await ask(content.WriteAction.COMMIT, offset);
      call.end();
      while (!(await answers.next()).done);
    } catch (error) {
      if (kindOf(error) !== 'AlreadyExists') throw error;
    }
  }
}
