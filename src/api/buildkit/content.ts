import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { BuildHistory } from '../../build/index.ts';
import type { BuildService } from '../../engine/index.ts';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { content } from '../../protocol/index.ts';
import type { Digest } from '../../storage/index.ts';

/** Clients in Go take 4 MiB in a message. */
const MAX_PIECE_BYTES = 1 << 20;
const LIST_SIZE = 100;
const NOT_FOUND = 5;

/** `containerd.services.content.v1.Content`, to be read from: what records of builds name lies there. */
export function contentService(builds: BuildService): Partial<ServiceImpl<typeof content.Content>> {
  const store = async (): Promise<BuildHistory['content']> => (await builds.history()).content;
  return {
    info: async ({ digest }) => {
      const blob = await found((await store()).info(checked(digest)));
      return create(content.InfoResponseSchema, { info: infoOf(blob) });
    },

    async *list({ filters }) {
      if (filters.length > 0) throw new TareError('Unsupported', 'blobs are listed without filters');
      let info: content.Info[] = [];
      for await (const blob of (await store()).walk()) {
        info.push(infoOf(blob));
        if (info.length < LIST_SIZE) continue;
        yield create(content.ListContentResponseSchema, { info });
        info = [];
      }
      if (info.length > 0) yield create(content.ListContentResponseSchema, { info });
    },

    async *read({ digest, offset, size }) {
      const blobs = await store();
      const { sizeBytes } = await found(blobs.info(checked(digest)));
      let position = Number(offset);
      const end = size > 0n ? position + Number(size) : sizeBytes;
      if (position < 0 || end > sizeBytes)
        throw new TareError('InvalidArgument', `bytes ${position} to ${end} of ${digest}, which has ${sizeBytes}`);
      for await (const chunk of blobs.open(checked(digest), position)) {
        const wanted = chunk.subarray(0, Math.min(chunk.length, end - position));
        for (let at = 0; at < wanted.length; at += MAX_PIECE_BYTES) {
          const data = wanted.subarray(at, at + MAX_PIECE_BYTES);
          yield create(content.ReadContentResponseSchema, { offset: BigInt(position), data });
          position += data.length;
        }
        if (position >= end) return;
      }
    },

    listStatuses: () => create(content.ListStatusesResponseSchema),
  };
}

function infoOf({ digest, sizeBytes, modifiedMs }: { digest: string; sizeBytes: number; modifiedMs: number }) {
  const time = timestampFromMs(Math.trunc(modifiedMs));
  return create(content.InfoSchema, { digest, size: BigInt(sizeBytes), createdAt: time, updatedAt: time });
}

/** @throws {TareError} InvalidArgument */
function checked(digest: string): Digest {
  if (/^sha256:[0-9a-f]{64}$/.test(digest)) return digest as Digest;
  throw new TareError('InvalidArgument', `invalid digest ${JSON.stringify(digest)}`);
}

/** Clients tell a blob that is not there by the code. */
async function found<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    const { ConnectError } = await import('@connectrpc/connect');
    throw new ConnectError(messageOf(error), NOT_FOUND);
  }
}
