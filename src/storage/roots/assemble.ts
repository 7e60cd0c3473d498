import { closeSync, existsSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_REC,
  makeDirectoryAt,
  mount,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  OpenFile,
  openAt,
  openAt2,
  S_IFDIR,
  S_IFMT,
  SyscallError,
  setMountAttributes,
  statusOf,
  toByteString,
  unshareMountNamespace,
} from '../../linux/index.ts';
import { snapshotDriver } from '../drivers.ts';
import type { OpenRoot, RootBind } from '../layer-store.ts';
import { cleanPath, parentOf } from '../tree/path.ts';
import { openBeneath } from '../volumes/beneath.ts';
import { runInThread } from '../worker.ts';
import type { AssembleRequest } from './assemble-request.ts';

interface Assembled {
  rootFd: number;
  namespaceFd: number;
}

/**
 * Opens a snapshot with its binds in place, as its container would see them, in a mount namespace that ends with the
 * returned resource: no other process sees these mounts, and the kernel drops them when we die.
 */
export async function assembleRoot(request: AssembleRequest): Promise<OpenRoot> {
  // The namespace lives on by its descriptor when the thread has ended; threads share their descriptors.
  const { rootFd, namespaceFd } = await runInThread<Assembled>('assemble', { type: 'assemble', request });
  return {
    fd: rootFd,
    [Symbol.dispose]: () => {
      closeSync(rootFd);
      closeSync(namespaceFd);
    },
  };
}

/** The worker's half: from here on the calling thread is in a namespace of its own. */
export function assembleHere(request: AssembleRequest): Assembled {
  const namespaceFd = unshareMountNamespace();
  try {
    const path = snapshotDriver(request.driver, request).mount(request.directory, request.stack);
    const rootFd = openAt(AT_FDCWD, toByteString(path), O_PATH | O_DIRECTORY);
    try {
      const outermostFirst = [...request.binds].sort((a, b) => a.destination.length - b.destination.length);
      for (const bind of outermostFirst) attach(rootFd, bind);
      return { rootFd, namespaceFd };
    } catch (error) {
      closeSync(rootFd);
      throw error;
    }
  } catch (error) {
    closeSync(namespaceFd);
    throw error;
  }
}

function attach(rootFd: number, { source, subpath, destination, readOnly }: RootBind): void {
  using opened = openSource(source, subpath);
  // A source that is gone stops the container's next start, not a look at its files.
  if (opened === undefined) return;
  const path = cleanPath(toByteString(destination)) ?? '';
  if (path === '') return;
  {
    const isFolder = (statusOf(opened.fd).mode & S_IFMT) === S_IFDIR;
    using target = new OpenFile(openOrMake(rootFd, path, isFolder));
    mount(`/proc/self/fd/${opened.fd}`, `/proc/self/fd/${target.fd}`, '', MS_BIND | MS_REC);
  }
  if (!readOnly) return;
  using mounted = new OpenFile(openAt2(rootFd, path, O_PATH));
  setMountAttributes(mounted.fd, { set: MOUNT_ATTR_RDONLY }, { recursive: true });
}

function openSource(source: string, subpath: string): OpenFile | undefined {
  if (!existsSync(source)) return undefined;
  if (subpath === '') return new OpenFile(openAt(AT_FDCWD, toByteString(source), O_PATH));
  try {
    return new OpenFile(openBeneath(source, subpath));
  } catch (error) {
    if (error instanceof TareError) return undefined;
    throw error;
  }
}

/** A mount point, made as the runtime would make it. */
function openOrMake(rootFd: number, path: ByteString, isFolder: boolean): number {
  try {
    return openAt2(rootFd, path, O_PATH);
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === 'ENOENT')) throw error;
  }
  using parent = new OpenFile(
    parentOf(path) === '' ? openAt2(rootFd, '.', O_PATH) : openOrMake(rootFd, parentOf(path), true),
  );
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (isFolder) {
    makeDirectoryAt(parent.fd, name, 0o755);
    return openAt(parent.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  }
  return openAt(parent.fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o644);
}
