import { closeSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  fromByteString,
  O_DIRECTORY,
  O_PATH,
  openAt,
  readLinkAt,
  SyscallError,
  toByteString,
} from '../linux/index.ts';
import { resolveUserIn } from '../runtime/index.ts';
import type { LayerStore, OpenRoot, RootBind } from '../storage/index.ts';
import { isContainerAlive } from './liveness.ts';
import { holdSources } from './mount-sources.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, MountPoint } from './types.ts';

/** Where the files of one container are. */
export interface ContainerRoot {
  /** For messages. */
  id: string;
  /** A process of the container, 0 when none runs now. While one does, its own view of the tree is used. */
  pid(): number;
  readonlyRoot: boolean;
  mounts: readonly Pick<MountPoint, 'destination' | 'readWrite'>[];
  /** What is mounted in it when it runs, kept ready until disposal. */
  hold(): Promise<AsyncDisposable & { binds: RootBind[] }>;
  /** Opens the root filesystem by itself, with these binds (see LayerStore.openRoot). */
  open(binds: readonly RootBind[]): Promise<OpenRoot>;
  /** Whom copied files belong to when the client asks for the container's own user. @param root a path */
  owner(root: string): { uid: number; gid: number };
}

/** Where the files of a recorded container are. */
export function rootOf(
  parts: Pick<EngineParts, 'images' | 'layers' | 'locks' | 'volumes'>,
  record: ContainerRecord,
): ContainerRoot {
  return {
    id: record.id,
    pid: () => (isContainerAlive(record) ? record.state.pid : 0),
    readonlyRoot: record.host.readonlyRootfs,
    mounts: record.mounts,
    hold: () => holdSources(parts, record),
    open: (binds) => openTogether(parts.layers, record.id, binds),
    owner: (root) => resolveUserIn(root, record.config.user),
  };
}

interface Shared {
  root: Promise<OpenRoot>;
  users: number;
}

/** Roots that are open now, by what they were opened with. */
const shared = new WeakMap<LayerStore, Map<string, Shared>>();

/** One mount for all who look at a container at the same time: overlayfs promises nothing to two with one upper folder. */
async function openTogether(layers: LayerStore, id: string, binds: readonly RootBind[]): Promise<OpenRoot> {
  const roots = shared.get(layers) ?? new Map<string, Shared>();
  shared.set(layers, roots);
  const key = JSON.stringify([id, binds]);
  const one: Shared = roots.get(key) ?? { root: layers.openRoot(id, binds), users: 0 };
  roots.set(key, one);
  one.users += 1;
  let isOpen = true;
  const release = (root?: OpenRoot): void => {
    if (!isOpen) return;
    isOpen = false;
    one.users -= 1;
    if (one.users > 0) return;
    roots.delete(key);
    root?.[Symbol.dispose]();
  };
  try {
    const root = await one.root;
    return { fd: root.fd, [Symbol.dispose]: () => release(root) };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Opens the tree as the container sees it, volumes and binds in place: through a running process, which also sees what
 * was mounted since; else put together anew.
 */
export async function openView(where: ContainerRoot): Promise<OpenRoot> {
  const pid = where.pid();
  if (pid > 0) {
    try {
      const fd = openAt(AT_FDCWD, `/proc/${pid}/root`, O_PATH | O_DIRECTORY);
      // Asked again: had it ended in between, the number, and the root that was opened, could be any other process's.
      if (where.pid() === pid) return { fd, [Symbol.dispose]: () => closeSync(fd) };
      closeSync(fd);
    } catch (error) {
      // It ended since the record was read.
      if (!(error instanceof SyscallError && /^(ENOENT|ESRCH)$/.test(error.code))) throw error;
    }
  }
  // The view has copies of the mounts, which last when ours are given back.
  await using held = await where.hold();
  return await where.open(held.binds);
}

/**
 * The path of an open file as the container would say it.
 *
 * @param rootFd the container's root folder
 */
export function pathInside(rootFd: number, fd: number): string {
  const root = kernelPath(rootFd);
  const path = kernelPath(fd);
  if (root === '/') return path;
  return path.startsWith(`${root}/`) ? path.slice(root.length) : '/';
}

const kernelPath = (fd: number): string => {
  const link: ByteString = readLinkAt(AT_FDCWD, toByteString(`/proc/self/fd/${fd}`));
  return fromByteString(link);
};

/** Refuses to write where the container itself may not. @param path resolved, as the container says it */
export function requireWritable(where: ContainerRoot, path: string): void {
  const holders = where.mounts.filter(({ destination }) => path === destination || path.startsWith(`${destination}/`));
  const innermost = holders.sort((a, b) => b.destination.length - a.destination.length)[0];
  if (innermost?.readWrite === false) {
    throw new TareError('Forbidden', `mounted volume is marked read-only: ${innermost.destination}`);
  }
  if (innermost === undefined && where.readonlyRoot) {
    throw new TareError('Forbidden', 'container rootfs is marked read-only');
  }
}
