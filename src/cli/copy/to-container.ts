import type { BigIntStats } from 'node:fs';
import { createReadStream, lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { kindOf, TareError } from '../../errors/index.ts';
import { segment } from '../each.ts';
import { openInput } from '../stream/files.ts';
import { END_OF_TAR, type TarEntry, tarHeader, tarPadding } from '../stream/tar.ts';
import type { Client } from '../transport/client.ts';
import { containerStat } from './container-stat.ts';
import { asksForContents, type CopyEnd, localSource, placeCopy } from './paths.ts';

export interface CopyOptions {
  client: Client;
  /** Ask the engine to keep owner and group. */
  archive: boolean;
  followLink: boolean;
}

/** @param source a local path, or `-` for a tar on standard input. @throws {TareError} */
export async function copyToContainer(
  options: CopyOptions,
  source: string,
  target: { container: string; path: string },
): Promise<void> {
  const { client } = options;
  const destination = await containerDestination(client, target);
  let folder: string;
  let body: AsyncIterable<Uint8Array>;
  if (source === '-') {
    if (!destination.isFolder)
      throw new TareError('InvalidArgument', `destination "${target.container}:${target.path}" must be a directory`);
    folder = destination.path;
    body = openInput('-');
  } else {
    const { stat, path, base } = localSource(source, options.followLink);
    const place = placeCopy({ path: source, exists: true, isFolder: stat.isDirectory() }, destination);
    folder = place.folder;
    body = tarOf(path, place.base ?? (asksForContents(source) ? '.' : base));
  }
  await client.stream('PUT', `/containers/${segment(target.container)}/archive`, {
    query: { path: folder, noOverwriteDirNonDir: true, copyUIDGID: options.archive },
    headers: { 'content-type': 'application/x-tar' },
    body,
  });
}

/** A link at the end is followed once, as docker does. What is not there may be about to be made. */
async function containerDestination(client: Client, target: { container: string; path: string }): Promise<CopyEnd> {
  let { path } = target;
  try {
    let stat = await containerStat(client, target.container, path);
    if (stat.isLink) {
      path = posix.isAbsolute(stat.linkTarget) ? stat.linkTarget : posix.join(posix.dirname(path), stat.linkTarget);
      stat = await containerStat(client, target.container, path);
    }
    return { path, exists: true, isFolder: stat.isFolder };
  } catch (error) {
    // The container itself may be what is missing; unpacking would say so, but only after the upload.
    if (kindOf(error) !== 'NotFound') throw error;
    await client.json('GET', `/containers/${segment(target.container)}/json`);
    return { path, exists: false, isFolder: false };
  }
}

/** A file or a whole folder as a tar whose names begin with `base`. Sockets are left out. */
async function* tarOf(path: string, base: string): AsyncGenerator<Uint8Array> {
  // Device and inode of files with several names → the name they went out under.
  const linked = new Map<string, string>();
  yield* entriesOf(path, base, linked);
  yield END_OF_TAR;
}

async function* entriesOf(path: string, name: string, linked: Map<string, string>): AsyncGenerator<Uint8Array> {
  const stat = lstatSync(path, { bigint: true });
  const entry = entryOf(path, name, stat);
  if (!entry) return;
  if (entry.type === 'directory') {
    yield tarHeader(entry);
    for (const child of readdirSync(path).sort()) yield* entriesOf(join(path, child), posix.join(name, child), linked);
    return;
  }
  if (entry.type === 'file' && stat.nlink > 1n) {
    const key = `${stat.dev}:${stat.ino}`;
    const first = linked.get(key);
    if (first !== undefined) {
      yield tarHeader({ ...entry, type: 'hardlink', linkTarget: first, sizeBytes: 0 });
      return;
    }
    linked.set(key, name);
  }
  yield tarHeader(entry);
  if (entry.type === 'file') yield* content(path, entry.sizeBytes);
}

/** @throws {TareError} Conflict: the file has another size than before */
async function* content(path: string, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let sent = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    sent += chunk.length;
    if (sent > sizeBytes) break;
    yield chunk;
  }
  if (sent !== sizeBytes)
    throw new TareError('Conflict', `${path} changed while it was read: copy it again when nobody writes to it`);
  yield tarPadding(sizeBytes);
}

function entryOf(path: string, name: string, stat: BigIntStats): TarEntry | undefined {
  const common = {
    name,
    sizeBytes: 0,
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    modifiedSeconds: Number(stat.mtimeNs / 1_000_000_000n),
  };
  if (stat.isFile()) return { ...common, type: 'file', sizeBytes: Number(stat.size) };
  if (stat.isDirectory()) return { ...common, name: `${name}/`, type: 'directory' };
  if (stat.isSymbolicLink()) return { ...common, type: 'symlink', linkTarget: readlinkSync(path) };
  if (stat.isFIFO()) return { ...common, type: 'fifo' };
  if (stat.isCharacterDevice() || stat.isBlockDevice()) {
    const { major, minor } = deviceNumber(statSync(path).rdev);
    return { ...common, type: stat.isBlockDevice() ? 'block' : 'character', major, minor };
  }
  return undefined;
}

/** Linux's 64-bit dev_t. */
function deviceNumber(rdev: number): { major: number; minor: number } {
  const device = BigInt(rdev);
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)),
    minor: Number((device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffffffffn)),
  };
}
