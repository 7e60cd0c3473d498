import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { control } from '../../protocol/index.ts';
import type { BlobIngester, BlobReader, BlobWriter, Digest } from '../../storage/index.ts';
import type { BuildProgress } from '../progress.ts';
import { statusMessage } from './status-message.ts';

export const LOG_TYPE = 'application/vnd.buildkit.status.v0';
/** Of what is kept of one build; output that comes later is left out. */
const MAX_LOG_BYTES = 64 << 20;
const MAX_MESSAGE_BYTES = 64 << 20;
const PREFIX_BYTES = 4;

/** A build's progress while it is written into a blob: messages, each with its length (32 bits, little end first) before it. */
export class StatusLog implements AsyncDisposable {
  readonly steps = { cached: 0, completed: 0, total: 0, warnings: 0 };
  readonly #writer: BlobWriter;
  readonly #vertices = new Map<string, { isCached: boolean; isCompleted: boolean }>();
  #sizeBytes = 0;

  private constructor(writer: BlobWriter) {
    this.#writer = writer;
  }

  static async open(content: BlobIngester): Promise<StatusLog> {
    return new StatusLog(await content.writer());
  }

  async add(progress: Required<BuildProgress>): Promise<void> {
    const kept = { ...progress, logs: this.#sizeBytes > MAX_LOG_BYTES ? [] : progress.logs };
    this.#count(kept);
    const message = toBinary(control.StatusResponseSchema, statusMessage(kept));
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32LE(message.length);
    this.#sizeBytes += PREFIX_BYTES + message.length;
    await this.#writer.write(Buffer.concat([prefix, message]));
  }

  /** @returns what was written */
  async commit(): Promise<{ digest: Digest; sizeBytes: number }> {
    return await this.#writer.commit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }

  #count({ vertices, warnings }: Required<BuildProgress>): void {
    this.steps.warnings += warnings.length;
    for (const { digest, isCached, completedMs } of vertices) {
      const seen = this.#vertices.get(digest) ?? { isCached: false, isCompleted: false };
      if (!this.#vertices.has(digest)) this.steps.total += 1;
      if (isCached && !seen.isCached) this.steps.cached += 1;
      if (completedMs !== undefined && !seen.isCompleted) this.steps.completed += 1;
      this.#vertices.set(digest, {
        isCached: seen.isCached || isCached,
        isCompleted: seen.isCompleted || completedMs !== undefined,
      });
    }
  }
}

/** The messages of such a blob, one at a time. @throws {TareError} NotFound: no such blob; Internal: it is none of these */
export async function* readStatusLog(
  content: BlobReader,
  digest: Digest,
): AsyncGenerator<control.StatusResponse, void> {
  let pieces: Uint8Array[] = [];
  let have = 0;
  let wanted = PREFIX_BYTES;
  let isPrefix = true;
  for await (const chunk of content.open(digest)) {
    pieces.push(chunk);
    have += chunk.length;
    while (have >= wanted) {
      const bytes = pieces.length === 1 ? Buffer.from(pieces[0]!) : Buffer.concat(pieces);
      const part = bytes.subarray(0, wanted);
      pieces = [bytes.subarray(wanted)];
      have -= wanted;
      if (isPrefix) {
        wanted = part.readUInt32LE();
        if (wanted > MAX_MESSAGE_BYTES) throw damaged(digest);
      } else {
        yield fromBinary(control.StatusResponseSchema, part);
        wanted = PREFIX_BYTES;
      }
      isPrefix = !isPrefix;
    }
  }
  if (have > 0 || !isPrefix) throw damaged(digest);
}

const damaged = (digest: Digest) => new TareError('Internal', `the blob ${digest} is no log of a build`);
