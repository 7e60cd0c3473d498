import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseIgnoreFile } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  O_DIRECTORY,
  O_NONBLOCK,
  O_RDONLY,
  OpenFile,
  openAt,
  openAt2,
  SyscallError,
  toByteString,
  unlinkAt,
} from '../../linux/index.ts';
import { extractInto, PatternMatcher, removeTree } from '../../storage/index.ts';
import type { EngineParts } from '../parts.ts';
import { builderFolders } from './build-cache.ts';
import { untilAborted } from './until-aborted.ts';

const IGNORE_FILE = '.dockerignore';
/** Of a Dockerfile, or an ignore file. */
const MAX_FILE_BYTES = 16 << 20;

/** A context that came as an archive. Disposing removes it. */
export interface UnpackedContext extends AsyncDisposable {
  /** By the names that the frontend knows. The Dockerfile is called so, wherever it was. */
  folders: { context: string; dockerfile: string };
}

export type ContextParts = Pick<EngineParts, 'config' | 'locks'>;

/**
 * Unpacks a context, compressed or not, whatever it is: no entry gets out of its folder. Devices and pipes are left out. Who sends an
 * archive has applied its ignore file; all that is left to do of it is to take away the Dockerfile and the ignore file itself, if it names them.
 *
 * @param path of the Dockerfile in it
 * @throws {TareError} InvalidArgument: a malformed archive, an empty Dockerfile; Internal: there is no Dockerfile
 */
export async function unpackContext(
  parts: ContextParts,
  archive: AsyncIterable<Uint8Array>,
  path: string,
  signal: AbortSignal,
): Promise<UnpackedContext> {
  const id = randomUUID();
  await using undo = new AsyncDisposableStack();
  undo.use(parts.locks.tryAcquire(lockOf(id)));
  const place = join(contextsOf(parts), id);
  const folders = { context: join(place, 'context'), dockerfile: join(place, 'dockerfile') };
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  undo.defer(() => removeContext(parts, id));
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(folders.context), O_DIRECTORY));
  await extractInto(root.fd, untilAborted(archive, signal), {
    owner: { uid: process.geteuid!(), gid: process.getegid!() },
    intercept: ({ type }) => type === 'character' || type === 'block' || type === 'fifo',
  });
  const { name, bytes } = await readDockerfile(root.fd, path);
  await applyIgnoreFile(root.fd, name);
  await writeFile(join(folders.dockerfile, 'Dockerfile'), bytes);
  // The frontend takes this one for the context's.
  await writeFile(join(folders.dockerfile, `Dockerfile${IGNORE_FILE}`), '');
  const owned = undo.move();
  return { folders, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Removes what processes left that died. */
export async function removeAbandonedContexts(parts: ContextParts & Pick<EngineParts, 'onError'>): Promise<void> {
  const directory = contextsOf(parts);
  if (!existsSync(directory)) return;
  for (const id of readdirSync(directory)) {
    using lock = parts.locks.tryAcquire(lockOf(id));
    if (lock === undefined) continue;
    try {
      await removeContext(parts, id);
    } catch (error) {
      parts.onError(`context ${id} of a build`, error);
    }
  }
}

async function removeContext(parts: ContextParts, id: string): Promise<void> {
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(contextsOf(parts)), O_DIRECTORY));
  await removeTree(folder.fd, toByteString(id));
}

const contextsOf = ({ config }: ContextParts): string => join(builderFolders(config).directory, 'contexts');
const lockOf = (id: string): string => `build-context:${id}`;

/** In docker's words, which clients know. */
async function readDockerfile(rootFd: number, path: string): Promise<{ name: string; bytes: Uint8Array }> {
  const name = clean(path);
  if (name === undefined)
    throw new TareError('Internal', `forbidden path outside the build context: ${path} (): name a file in the context`);
  const names = name === 'Dockerfile' ? [name, 'dockerfile'] : [name];
  for (const each of names) {
    const bytes = await read(rootFd, each);
    if (bytes === undefined) continue;
    if (bytes.length === 0) throw new TareError('InvalidArgument', `the Dockerfile (${name}) cannot be empty`);
    return { name: each, bytes };
  }
  throw new TareError('Internal', `Cannot locate specified Dockerfile: ${name}`);
}

/** Relative, without `.` and `..`; undefined: it leads out. */
function clean(path: string): string | undefined {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts.join('/');
}

/** @returns undefined: there is none */
async function read(rootFd: number, path: string): Promise<Uint8Array | undefined> {
  let fd: number;
  try {
    fd = openAt2(rootFd, toByteString(path), O_RDONLY | O_NONBLOCK);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code)) return undefined;
    throw error;
  }
  using found = new OpenFile(fd);
  await using file = await open(`/proc/self/fd/${found.fd}`, 'r');
  const status = await file.stat();
  if (!status.isFile()) return undefined;
  if (status.size > MAX_FILE_BYTES)
    throw new TareError('InvalidArgument', `${path} has ${status.size} bytes: at most ${MAX_FILE_BYTES} are read`);
  return await file.readFile();
}

async function applyIgnoreFile(rootFd: number, dockerfile: string): Promise<void> {
  const bytes = await read(rootFd, IGNORE_FILE);
  if (bytes === undefined) return;
  const ignored = new PatternMatcher(parseIgnoreFile(bytes));
  for (const path of [IGNORE_FILE, dockerfile]) if (ignored.matches(path)) removeFile(rootFd, toByteString(path));
}

function removeFile(rootFd: number, path: ByteString): void {
  const slash = path.lastIndexOf('/');
  using parent = new OpenFile(openAt2(rootFd, slash < 0 ? '.' : path.slice(0, slash), O_DIRECTORY));
  unlinkAt(parent.fd, path.slice(slash + 1));
}
