import {
  type ByteString,
  O_DIRECTORY,
  O_NOFOLLOW,
  OpenFile,
  openAt,
  readDirectory,
  removeDirectoryAt,
  renameAt,
  S_IFDIR,
  SyscallError,
  statusAt,
  unlinkAt,
} from '../../linux/index.ts';
import { paced } from './pace.ts';

/** Deeper folders are moved up and emptied later, so that no depth exhausts descriptors or the stack. */
const DEPTH_LIMIT = 64;

const hasCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SyscallError && codes.includes(error.code);

/**
 * Removes a name and all beneath it, never following a link. Yields after each removed entry, so that the caller
 * decides how long to go on at a time. A missing name is no error: repeating is safe, also beside another remover.
 */
export function* removeSteps(dirfd: number, name: ByteString): Generator<void, void, void> {
  const waiting = [name];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    yield* remove(dirfd, next, { topFd: dirfd, waiting }, 0);
  }
}

/** Where folders go that lie too deep. */
interface Lift {
  topFd: number;
  waiting: ByteString[];
}

let lifted = 0;

function* remove(dirfd: number, name: ByteString, lift: Lift, depth: number): Generator<void, void, void> {
  try {
    if (!isFolder(dirfd, name)) {
      unlinkAt(dirfd, name);
    } else if (depth === DEPTH_LIMIT) {
      lifted += 1;
      const place = `.removing-${process.pid}-${lifted}`;
      renameAt(dirfd, name, lift.topFd, place);
      lift.waiting.push(place);
    } else {
      using directory = new OpenFile(openAt(dirfd, name, O_DIRECTORY | O_NOFOLLOW));
      for (const entry of readDirectory(directory.fd)) yield* remove(directory.fd, entry.name, lift, depth + 1);
      removeDirectoryAt(dirfd, name);
    }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  yield;
}

const isFolder = (dirfd: number, name: ByteString): boolean => statusAt(dirfd, name).type === S_IFDIR;

/** All at once: for a worker, or for trees known to be small. */
export function removeTreeSync(dirfd: number, name: ByteString): void {
  for (const _ of removeSteps(dirfd, name));
}

/** In slices, so that the event loop goes on. */
export async function removeTree(dirfd: number, name: ByteString): Promise<void> {
  await paced(removeSteps(dirfd, name));
}
