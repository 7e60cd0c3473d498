import { type ByteString, cString, quoted } from './byte-string.ts';
import { SyscallError } from './ffi.ts';
import { S_IFLNK, statusOf } from './file-status.ts';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, OpenFile, openAt, readLinkAt } from './files.ts';

/** As many as the kernel follows on one way (path_resolution(7)). */
const MAX_LINKS = 40;
const ELOOP = 40;

/**
 * What openat2 does with RESOLVE_IN_ROOT, a step at a time. The kernel gives up on a `..` (EAGAIN) while anything on the machine is
 * renamed or mounted; a container that does so without end would else keep us out of itself.
 *
 * Each step is an open folder and its parent on the way is the folder that we came from, so `..` cannot be led astray.
 *
 * @param rootFd stays the caller's
 * @throws {SyscallError} as openat2 does
 */
export function resolveInRoot(rootFd: number, path: ByteString, flags: number, mode: number): number {
  using folders = new Way(rootFd);
  const waiting = partsOf(path);
  for (let links = 0; ; ) {
    const name = waiting.pop();
    if (name === undefined) return openAt(folders.fd, '.', flags, mode);
    if (name === '.') continue;
    if (name === '..') {
      folders.leave();
      continue;
    }
    const isLast = waiting.length === 0;
    if (isLast && (flags & O_NOFOLLOW) !== 0) return openAt(folders.fd, name, flags, mode);
    const target = targetOf(folders.fd, name);
    if (target !== undefined) {
      links += 1;
      if (links > MAX_LINKS) throw new SyscallError('openat2', ELOOP, quoted(path));
      if (target.startsWith('/')) folders.leaveAll();
      waiting.push(...partsOf(target));
    } else if (isLast) {
      // A link that came meanwhile is refused, not followed.
      return openAt(folders.fd, name, flags | O_NOFOLLOW, mode);
    } else folders.enter(name);
  }
}

/** The last first. What ends in a slash is a folder: its last part is the folder itself. */
const partsOf = (path: ByteString): ByteString[] =>
  (path.endsWith('/') ? `${path}.` : path)
    .split('/')
    .filter((part) => part !== '')
    .reverse();

/** @returns undefined: no link, or nothing there yet */
function targetOf(fd: number, name: ByteString): ByteString | undefined {
  cString(name, 'openat2');
  let opened: number;
  try {
    opened = openAt(fd, name, O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
  using node = new OpenFile(opened);
  return statusOf(node.fd).type === S_IFLNK ? readLinkAt(node.fd, '') : undefined;
}

/** The open folders from the root to where we are. */
class Way implements Disposable {
  readonly #rootFd: number;
  readonly #folders: OpenFile[] = [];

  constructor(rootFd: number) {
    this.#rootFd = rootFd;
  }

  get fd(): number {
    return this.#folders.at(-1)?.fd ?? this.#rootFd;
  }

  enter(name: ByteString): void {
    this.#folders.push(new OpenFile(openAt(this.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)));
  }

  /** The root is its own parent. */
  leave(): void {
    this.#folders.pop()?.[Symbol.dispose]();
  }

  leaveAll(): void {
    while (this.#folders.length > 0) this.leave();
  }

  [Symbol.dispose](): void {
    this.leaveAll();
  }
}
