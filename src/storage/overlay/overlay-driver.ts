import { chmodSync, chownSync, closeSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  attachMount,
  FileSystemContext,
  MNT_DETACH,
  mount,
  O_DIRECTORY,
  O_PATH,
  openAt,
  SyscallError,
  toByteString,
  unmount,
  unmountIfMounted,
} from '../../linux/index.ts';
import type { MountOptions } from '../layer-store.ts';
import { makeReadOnly } from '../read-only.ts';
import { type LayerStack, rootOf, type SnapshotDriver } from '../snapshot-driver.ts';

/** The kernel copies mount options into one page. */
const OPTIONS_BYTES = 4095;

/**
 * Snapshots as overlayfs mounts: `diff` is the upper directory, `work` the kernel's, `merged` the mount point.
 *
 * index and metacopy are off so that `diff` holds whole files and can be read without the mount; redirects are neither
 * made nor followed, so that a folder's files are always found under its own name.
 */
export class OverlayDriver implements SnapshotDriver {
  readonly name = 'overlay';
  readonly deletions = 'whiteout';
  readonly #emptyLayer: string;
  readonly #options: string[];

  /** @param emptyLayer an empty folder: overlayfs wants at least one lower layer */
  constructor(emptyLayer: string, userXattrs: boolean) {
    this.#emptyLayer = emptyLayer;
    this.#options = ['index=off', 'metacopy=off', 'redirect_dir=nofollow'];
    if (userXattrs) this.#options.push('userxattr');
  }

  async create(directory: string, stack: LayerStack): Promise<void> {
    for (const name of ['diff', 'work', 'merged']) mkdirSync(join(directory, name), { recursive: true, mode: 0o700 });
    // The upper folder is what the container sees as `/`.
    const { uid, gid, mode } = rootOf(stack);
    chownSync(join(directory, 'diff'), uid, gid);
    chmodSync(join(directory, 'diff'), mode);
  }

  mount(directory: string, stack: LayerStack, { volatile = false, readOnly = false }: MountOptions = {}): string {
    const target = this.root(directory);
    if (!this.isMounted(directory)) this.#mountAt(target, directory, stack, volatile);
    // Also where a crash came between the two.
    if (readOnly) makeReadOnly(target);
    return target;
  }

  open(directory: string, stack: LayerStack, { volatile = false }: MountOptions = {}): number {
    if (this.isMounted(directory)) return openFolder(this.root(directory));
    // Mounted for the moment of opening it: the descriptor keeps the mount when it has no place any more.
    const place = join(directory, 'view');
    mkdirSync(place, { recursive: true, mode: 0o700 });
    this.#mountAt(place, directory, stack, volatile);
    try {
      return openFolder(place);
    } finally {
      unmount(place, MNT_DETACH);
    }
  }

  #mountAt(target: string, directory: string, stack: LayerStack, volatile = false): void {
    const extra = volatile ? [...this.#options, 'volatile'] : this.#options;
    // The kernel's mark of a volatile mount: it refuses the next one, lest a power cut in between went unseen.
    rmSync(join(directory, 'work', 'work', 'incompat'), { recursive: true, force: true });
    const lower = stack.paths.length > 0 ? stack.paths : [this.#emptyLayer];
    mountLayers(target, lower, { upper: this.written(directory), work: join(directory, 'work') }, extra);
  }

  unmount(directory: string): void {
    unmountIfMounted(this.root(directory));
    // A crash between the two lines of `open`.
    unmountIfMounted(join(directory, 'view'));
  }

  isMounted(directory: string): boolean {
    const root = statSync(this.root(directory), { throwIfNoEntry: false });
    return root !== undefined && root.dev !== statSync(directory).dev;
  }

  root(directory: string): string {
    return join(directory, 'merged');
  }

  async changed(directory: string): Promise<string> {
    if (this.isMounted(directory)) {
      throw new TareError('Conflict', `snapshot ${basename(directory)} is mounted: unmount it first`);
    }
    return this.written(directory);
  }

  async show(directory: string, stack: LayerStack, target: string): Promise<void> {
    // Without a folder to write to, overlayfs wants two layers.
    const empty = join(directory, 'empty');
    mkdirSync(empty, { mode: 0o755 });
    const lower = stack.paths.length > 0 ? stack.paths : [this.#emptyLayer];
    mountLayers(target, lower.length > 1 ? lower : [...lower, empty], undefined, this.#options);
  }

  written(directory: string): string {
    return join(directory, 'diff');
  }
}

const openFolder = (path: string): number => openAt(AT_FDCWD, toByteString(path), O_PATH | O_DIRECTORY);

const escaped = (path: string): string => path.replace(/[\\:,]/g, '\\$&');

/** Where writes go; without it the mount is read-only. */
interface Upper {
  upper: string;
  work: string;
}

function mountLayers(
  target: string,
  lower: readonly string[],
  upper: Upper | undefined,
  extra: readonly string[],
): void {
  const options = overlayOptions(lower, upper, extra);
  if (Buffer.byteLength(options) <= OPTIONS_BYTES) mount('overlay', target, 'overlay', 0, options);
  else mountManyLayers(target, lower, upper, extra);
}

function overlayOptions(lower: readonly string[], upper: Upper | undefined, options: readonly string[]): string {
  const layers = `lowerdir=${lower.map(escaped).join(':')}`;
  const folders = upper === undefined ? [] : [`upperdir=${escaped(upper.upper)}`, `workdir=${escaped(upper.work)}`];
  return [layers, ...folders, ...options].join(',');
}

/**
 * Mounts more layers than one page of options holds: through the new mount API (`lowerdir+`, Linux 6.5), or on older
 * kernels with each layer named by a descriptor of ours, which makes its path 17 bytes long.
 */
function mountManyLayers(
  target: string,
  lower: readonly string[],
  upper: Upper | undefined,
  options: readonly string[],
): void {
  const fds: number[] = [];
  // Short, and free of characters that mean something in options.
  const handle = (path: string): string => {
    const fd = openFolder(path);
    fds.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  try {
    const layers = lower.map(handle);
    const handles = upper && { upper: handle(upper.upper), work: handle(upper.work) };
    try {
      const context = new FileSystemContext('overlay');
      fds.push(context.fd);
      for (const layer of layers) context.set('lowerdir+', layer);
      if (handles !== undefined) {
        context.set('upperdir', handles.upper);
        context.set('workdir', handles.work);
      }
      for (const option of options) {
        const [key, value] = option.split('=') as [string, string | undefined];
        if (value === undefined) context.flag(key);
        else context.set(key, value);
      }
      const mountFd = context.create();
      fds.push(mountFd);
      attachMount(mountFd, target);
    } catch (error) {
      // Before 6.5 overlayfs does not know `lowerdir+`.
      if (!(error instanceof SyscallError && error.syscall === 'fsconfig' && error.code === 'EINVAL')) throw error;
      mount('overlay', target, 'overlay', 0, overlayOptions(layers, handles, options));
    }
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}
