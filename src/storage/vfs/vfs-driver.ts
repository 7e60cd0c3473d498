import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AT_FDCWD,
  type ByteString,
  changeMode,
  changeOwner,
  changeTimesAt,
  MS_BIND,
  mount,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  toByteString,
  unmountIfMounted,
} from '../../linux/index.ts';
import type { MountOptions } from '../layer-store.ts';
import { MergedFolder } from '../layers/merged-folder.ts';
import { openStack } from '../layers/stack.ts';
import { isMountPoint, makeReadOnly } from '../read-only.ts';
import { type LayerStack, rootOf, type SnapshotDriver } from '../snapshot-driver.ts';
import { type CopiedLinks, copyEntry, openFolder } from '../tree/copy.ts';
import { paced } from '../tree/pace.ts';
import { removeSteps } from '../tree/remove.ts';

/** Snapshots as whole copies, for file systems that overlayfs cannot use as its upper layer. Slow, large, and sure. */
export class VfsDriver implements SnapshotDriver {
  readonly name = 'vfs';
  readonly deletions = 'absence';
  readonly #opaque: ByteString;

  /** @param opaque the attribute that marks opaque folders in the layers */
  constructor(opaque: ByteString) {
    this.#opaque = opaque;
  }

  async create(directory: string, stack: LayerStack): Promise<void> {
    using parent = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
    // A copy that a crash cut short.
    await paced(removeSteps(parent.fd, 'root'));
    await mkdir(join(directory, 'root'), { mode: 0o700 });
    using layers = openStack(stack);
    using root = new OpenFile(openFolder(parent.fd, 'root'));
    const links: CopiedLinks = new Map();
    await paced(copyMerged(new MergedFolder(layers.fds, this.#opaque), root.fd, root.fd, links));
    const { uid, gid, mode } = rootOf(stack);
    changeOwner(root.fd, uid, gid);
    changeMode(root.fd, mode);
  }

  mount(directory: string, _stack: LayerStack, { readOnly = false }: MountOptions = {}): string {
    const root = this.root(directory);
    if (readOnly) {
      // Over itself: the folder stays writable to us, the mount is not.
      if (!isMountPoint(root)) mount(root, root, '', MS_BIND);
      makeReadOnly(root);
    }
    return root;
  }

  unmount(directory: string): void {
    unmountIfMounted(this.root(directory));
  }

  open(directory: string): number {
    return openAt(AT_FDCWD, toByteString(this.root(directory)), O_PATH | O_DIRECTORY);
  }

  isMounted(directory: string): boolean {
    return existsSync(this.root(directory));
  }

  root(directory: string): string {
    return join(directory, 'root');
  }

  written(directory: string): string {
    return this.root(directory);
  }
}

function* copyMerged(
  folder: MergedFolder,
  toFd: number,
  rootFd: number,
  links: CopiedLinks,
): Generator<void, void, void> {
  for (const { name, status, layerFd, path, folder: inner } of folder.entries()) {
    const from = { fd: layerFd, name: path, status };
    yield* copyEntry(from, { fd: toFd, name }, links, { fd: rootFd, path, space: String(layerFd) });
    if (inner === undefined) continue;
    {
      using to = new OpenFile(openFolder(toFd, name));
      yield* copyMerged(inner, to.fd, rootFd, links);
    }
    // Filling a folder changed its time.
    changeTimesAt(toFd, name, status.accessNs, status.modifyNs);
  }
}
