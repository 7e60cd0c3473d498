import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { AT_FDCWD, type ByteString, O_DIRECTORY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import { digestFound, type FollowedBlob, readFollowed } from '../blob-growth.ts';
import { decompress, detectCompression } from '../compression.ts';
import type { DiffID } from '../digest.ts';
import type { Compression } from '../layer-store.ts';
import { TarParser } from '../tar/index.ts';
import { type ArchiveLimits, ByteBudget } from '../tree/budget.ts';
import { TreeExtractor } from '../tree/extract.ts';
import type { UnpackedLayer } from './layer-record.ts';
import { WhiteoutTranslator } from './whiteouts.ts';

/** Bytes read at a time. */
const PIECE_BYTES = 256 * 1024;

export interface UnpackRequest {
  /** The stored layer, or one that still comes. */
  blob: FollowedBlob;
  /** Undefined: told by its first bytes. */
  compression: Compression | undefined;
  /** An existing, empty folder. */
  directory: string;
  /** Mark with user.overlay.* (inside a user namespace). */
  userXattrs: boolean;
  limits: ArchiveLimits;
}

/**
 * Unpacks one layer into a folder in overlayfs' form, hashing the uncompressed bytes meanwhile. Memory stays flat.
 *
 * @throws {TareError} InvalidArgument: malformed or hostile, naming the entry; the folder is left half full
 */
export async function unpackLayer(request: UnpackRequest, signal?: AbortSignal): Promise<UnpackedLayer> {
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(request.directory), O_DIRECTORY));
  const whiteouts = new WhiteoutTranslator(root.fd, request.userXattrs);
  const budget = new ByteBudget(request.limits);
  const implied = new Set<ByteString>();
  const result: UnpackedLayer = { diffID: '' as DiffID, sizeBytes: 0, implied: [], root: undefined };
  using extractor: TreeExtractor = new TreeExtractor(root.fd, {
    budget,
    intercept: (header, path) => {
      if (path === '' && header.type === 'directory') result.root = header;
      return whiteouts.take(header, path, extractor);
    },
    onImpliedDirectory: (path) => implied.add(path),
  });
  const parser = new TarParser();
  let stored = 0;
  let inflated = 0;

  const consume = (): boolean => {
    for (;;) {
      switch (parser.next()) {
        case 'more':
          return true;
        case 'entry':
          extractor.entry(parser.header);
          result.sizeBytes += parser.header.sizeBytes;
          break;
        case 'data':
          extractor.data(parser.chunk, parser.offset);
          break;
        case 'entryEnd':
          extractor.endEntry();
          break;
        case 'finished':
          return false;
      }
    }
  };

  const compression = request.compression ?? (await compressionOf(request.blob, signal));
  // The uncompressed bytes of an uncompressed blob are hashed by whoever writes it. What it is said to be says nothing.
  const isHashed = compression === 'none' && request.blob.state !== undefined;
  const hash = isHashed ? undefined : createHash('sha256');
  const counted = (async function* () {
    // What was read is used up before more is.
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    for (;;) {
      const size = await readFollowed(request.blob, piece, stored, signal);
      if (size === 0) return;
      stored += size;
      yield piece.subarray(0, size);
      // Reading never waits by itself: let a cancellation come in.
      await setImmediate();
    }
  })();
  let isReading = consume();
  for await (const chunk of decompress(counted, compression)) {
    signal?.throwIfAborted();
    inflated += chunk.length;
    if (compression !== 'none') budget.inflated(stored, inflated);
    hash?.update(chunk);
    // What follows the end of the archive is padding, but counts in the diffID.
    if (!isReading) continue;
    parser.push(chunk);
    isReading = consume();
  }
  if (isReading) {
    parser.end();
    consume();
  }
  whiteouts.finish();
  extractor.finish();
  result.diffID = (hash === undefined ? digestFound(request.blob) : `sha256:${hash.digest('hex')}`) as DiffID;
  for (const path of whiteouts.replaced) implied.delete(path);
  result.implied = [...implied].sort();
  if (result.root) result.root = { uid: result.root.uid, gid: result.root.gid, mode: result.root.mode };
  return result;
}

async function compressionOf(blob: FollowedBlob, signal: AbortSignal | undefined): Promise<Compression> {
  const head = Buffer.alloc(6);
  let length = 0;
  for (let size = -1; size !== 0 && length < head.length; length += size) {
    size = await readFollowed(blob, head.subarray(length), length, signal);
  }
  return detectCompression(head.subarray(0, length));
}
