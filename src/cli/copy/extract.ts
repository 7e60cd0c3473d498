import {
  chmodSync,
  closeSync,
  constants,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { type ReadEntry, readTar } from '../stream/tar-reader.ts';

/**
 * Unpacks a container's tar into a folder of ours. The archive is hostile: names that climb out are refused, and no symbolic link
 * below the folder is ever followed, wherever it came from.
 *
 * @param rename the first part of names that is replaced; `to` undefined: nothing is
 * @throws {TareError} InvalidArgument: such a name, a folder where a file is to go or the other way round
 */
export async function extract(
  body: AsyncIterable<Uint8Array>,
  folder: string,
  rename: { from: string; to: string | undefined },
): Promise<void> {
  /** Folders get their times and rights when nothing is written to them any more. */
  const folders: { path: string; entry: ReadEntry }[] = [];
  for await (const entry of readTar(body)) {
    const parts = placeOf(entry.name, rename);
    const path = join(folder, ...parts);
    if (parts.length === 0) {
      if (entry.type !== 'directory') throw refuse(entry, 'it stands where the folder itself is');
      continue;
    }
    makeParents(folder, parts);
    const existing = lstatSync(path, { throwIfNoEntry: false });
    if (existing && existing.isDirectory() !== (entry.type === 'directory')) {
      if (existing.isDirectory()) throw refuse(entry, `cannot overwrite the folder ${path} with what is none`);
      throw refuse(entry, `cannot overwrite ${path}, which is no folder, with a folder`);
    }
    if (existing && !existing.isDirectory()) rmSync(path);
    switch (entry.type) {
      case 'directory':
        if (!existing) mkdirSync(path, { mode: 0o700 });
        folders.push({ path, entry });
        continue;
      case 'file':
        await writeFile(path, entry);
        break;
      case 'symlink':
        symlinkSync(entry.linkTarget, path);
        break;
      case 'hardlink': {
        const target = placeOf(entry.linkTarget, rename);
        noLinksAbove(folder, target, entry);
        linkSync(join(folder, ...target), path);
        continue;
      }
      default:
        // Devices and pipes of a container have no business on the host.
        process.stderr.write(`tare: ${entry.name} is a ${entry.type} and was left out\n`);
        continue;
    }
    lutimesSync(path, entry.modifiedSeconds, entry.modifiedSeconds);
  }
  for (const { path, entry } of folders.reverse()) {
    chmodSync(path, entry.mode & 0o1777);
    lutimesSync(path, entry.modifiedSeconds, entry.modifiedSeconds);
  }
}

/** Parts of the path below the folder. @throws {TareError} InvalidArgument: it would lead out */
function placeOf(name: string, rename: { from: string; to: string | undefined }): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0'))
    throw new TareError('InvalidArgument', `the archive holds the path ${JSON.stringify(name)}, which leads out of it`);
  if (rename.to === undefined) return parts;
  // The contents of `a/.` or of the root have no name of their own in front.
  if (rename.from === '.' || rename.from === '/') return [rename.to, ...parts];
  return parts.length > 0 ? [rename.to, ...parts.slice(1)] : parts;
}

/** Makes folders that the archive has no entries for. @throws {TareError} InvalidArgument: a link or a file is in the way */
function makeParents(folder: string, parts: readonly string[]): void {
  let path = folder;
  for (const part of parts.slice(0, -1)) {
    path = join(path, part);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat) mkdirSync(path, { mode: 0o755 });
    else if (!stat.isDirectory())
      throw new TareError(
        'InvalidArgument',
        `the archive wants to write below ${path}, which is ${stat.isSymbolicLink() ? 'a symbolic link' : 'no folder'}`,
      );
  }
}

function noLinksAbove(folder: string, parts: readonly string[], entry: ReadEntry): void {
  let path = folder;
  for (const part of parts) {
    path = join(path, part);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat) throw refuse(entry, `it is a link to ${entry.linkTarget}, which is not there`);
    if (stat.isSymbolicLink())
      throw refuse(entry, `it is a link to ${entry.linkTarget}, which leads through a symbolic link`);
  }
}

async function writeFile(path: string, entry: ReadEntry): Promise<void> {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  const descriptor = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    for await (const chunk of entry.content)
      for (let at = 0; at < chunk.length; ) at += writeSync(descriptor, chunk, at);
  } finally {
    closeSync(descriptor);
  }
  // Not set-user-id: the file is ours now, and its program the container's.
  chmodSync(path, entry.mode & 0o777);
}

function refuse(entry: ReadEntry, why: string): TareError {
  return new TareError('InvalidArgument', `cannot unpack ${JSON.stringify(entry.name)}: ${why}`);
}
