import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TareError } from '../../errors/index.ts';
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
  statusAt,
  statusOf,
  toByteString,
  unmountIfMounted,
} from '../../linux/index.ts';
import type { MountOptions } from '../layer-store.ts';
import { layChanges, openFolder as openFolderBeneath } from '../layers/lay-changes.ts';
import { MergedFolder } from '../layers/merged-folder.ts';
import { openStack } from '../layers/stack.ts';
import { isMountPoint, makeReadOnly } from '../read-only.ts';
import { type LayerStack, rootOf, type SnapshotDriver } from '../snapshot-driver.ts';
import { compareTrees } from '../tree/compare.ts';
import { type CopiedLinks, copyEntry, copyStatus, openFolder } from '../tree/copy.ts';
import { paced } from '../tree/pace.ts';
import { parentOf } from '../tree/path.ts';
import { removeSteps } from '../tree/remove.ts';
import type { Place } from '../tree/side.ts';

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

  async changed(directory: string, stack: LayerStack): Promise<string> {
    if (isMountPoint(this.root(directory))) {
      throw new TareError('Conflict', `snapshot ${basename(directory)} is mounted: unmount it first`);
    }
    // With nothing below all of it is new.
    if (stack.paths.length === 0) return this.root(directory);
    using parent = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
    // What a crash left.
    await paced(removeSteps(parent.fd, 'changed'));
    await mkdir(join(directory, 'changed'), { mode: 0o700 });
    using layers = openStack(stack);
    using root = new OpenFile(openFolder(parent.fd, 'root'));
    using target = new OpenFile(openFolder(parent.fd, 'changed'));
    const below = new MergedFolder(layers.fds, this.#opaque);
    const changes = compareTrees(root.fd, below, { deletions: 'absence', opaque: this.#opaque });
    await paced(layChanges(target.fd, changes, (path) => placeIn(root.fd, path)));
    copyStatus({ fd: root.fd, name: '.' }, { fd: target.fd, name: '.' }, statusOf(root.fd));
    return join(directory, 'changed');
  }

  async show(directory: string, stack: LayerStack, target: string): Promise<void> {
    await this.create(directory, stack);
    mount(this.root(directory), target, '', MS_BIND);
    makeReadOnly(target);
  }

  written(directory: string): string {
    return this.root(directory);
  }
}

/** Where a path of a tree that nobody changes lies. */
function placeIn(rootFd: number, path: ByteString): Disposable & Place {
  const parent = openFolderBeneath(rootFd, parentOf(path));
  const name = path.slice(path.lastIndexOf('/') + 1);
  return {
    fd: parent.fd,
    path: name,
    status: statusAt(parent.fd, name),
    [Symbol.dispose]: () => parent[Symbol.dispose](),
  };
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
