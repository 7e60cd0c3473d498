import { mkdir } from 'node:fs/promises';
import type { SentEntry, SentFolder } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { AT_FDCWD, O_DIRECTORY, OpenFile, openAt, S_IFMT, S_IFREG, toByteString } from '../../linux/index.ts';
import {
  encodeHeader,
  endOfArchive,
  extractInto,
  packedTypes,
  padding,
  type TarEntryType,
} from '../../storage/index.ts';

/**
 * Puts what a builder sends into a folder of the user's, beside what is there. All of it becomes his own, whatever it was in the
 * image. Whatever paths and links are sent, nothing is written outside of the folder.
 */
export async function fillFolder(directory: string, sent: SentFolder, signal: AbortSignal): Promise<void> {
  await mkdir(directory, { recursive: true });
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
  const owner = { uid: process.geteuid!(), gid: process.getegid!() };
  await extractInto(root.fd, archiveOf(sent, signal), { owner });
}

/** The way into a folder that takes hostile paths is one that archives go, too. */
async function* archiveOf(sent: SentFolder, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let index = -1;
  for await (const entry of sent.entries) {
    index += 1;
    signal.throwIfAborted();
    const type = entry.mode & S_IFMT;
    const isHardLink = type === S_IFREG && entry.linkname !== undefined && entry.linkname !== '';
    const sizeBytes = type === S_IFREG && !isHardLink ? entry.sizeBytes : 0;
    yield headerOf(entry, isHardLink ? 'hardlink' : typeOf(entry), sizeBytes);
    if (sizeBytes === 0) continue;
    yield* exactly(sent.read(index), sizeBytes, entry.path);
    yield padding(sizeBytes);
  }
  yield endOfArchive();
}

function typeOf({ mode, path }: SentEntry): TarEntryType {
  const type = packedTypes[mode & S_IFMT];
  if (type !== undefined) return type;
  throw new TareError('InvalidArgument', `${JSON.stringify(path)} of the result is of no type that a folder can hold`);
}

const headerOf = (entry: SentEntry, type: TarEntryType, sizeBytes: number): Buffer =>
  encodeHeader({
    path: toByteString(entry.path),
    type,
    mode: entry.mode & 0o7777,
    sizeBytes,
    modifyNs: entry.modifiedNs,
    linkTarget: toByteString(entry.linkname ?? ''),
    deviceMajor: entry.deviceMajor ?? 0,
    deviceMinor: entry.deviceMinor ?? 0,
    xattrs: new Map(Object.entries(entry.xattrs ?? {}).map(([key, value]) => [toByteString(key), Buffer.from(value)])),
  });

async function* exactly(bytes: AsyncIterable<Uint8Array>, size: number, path: string): AsyncGenerator<Uint8Array> {
  let left = size;
  for await (const chunk of bytes) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0)
    throw new TareError(
      'InvalidArgument',
      `${JSON.stringify(path)} of the result has other than the ${size} bytes that were said`,
    );
}
