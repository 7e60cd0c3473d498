import { mkdirSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { MS_BIND, MS_REC, mount, S_IFDIR, SyscallError, statusOf, unmountIfMounted } from '../../linux/index.ts';
import { CacheSharingOpt, type Mount, MountType } from '../../protocol/index.ts';
import type { SpecMount } from '../../runtime/index.ts';
import { copyUp, type LayerStore } from '../../storage/index.ts';
import type { EntryParts } from '../cache/entries.ts';
import type { BuildSession } from '../session.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { type CacheMountRequest, type CacheSharing, type HeldCaches, holdCaches } from './cache-mounts.ts';
import { openInRoot } from './mount-targets.ts';
import { writeSecret } from './secrets.ts';
import { serveAgent } from './ssh-agents.ts';
import { MOUNTS } from './step-folder.ts';

const EMPTY = -1n;
const SKIPPED = -1n;
const ROOT = '/';

/** What a step's mounts are made with. */
export interface StepMountDeps {
  entries: EntryParts;
  layers: LayerStore;
  /** Of the step; keys of its snapshots begin with it. */
  id: string;
  /** Folder in memory, the step's own: its mounts and secrets lie there, and a crash leaves them to `reconcileSteps`. */
  directory: string;
  sessions(): readonly BuildSession[];
  /** A snapshot of somebody's that is the root, and stays his; undefined: a new one over the root's input. */
  rootSnapshot?: string | undefined;
  signal: AbortSignal;
}

/** A result of a step. */
type StepOutput = { index: number } & MountFiles;

/** The files of a mount: a tree that stays as it is, or one that the step may change. */
export type MountFiles = { tree: Tree } | { base: Tree; snapshot: string };

/** What a step's mounts came to. */
export interface PreparedMounts {
  root: { snapshot: string; isReadOnly: boolean };
  /** All but the root. */
  mounts: readonly SpecMount[];
  outputs: readonly StepOutput[];
  /** By the position of the mount; undefined: it shows no tree. */
  files: readonly (MountFiles | undefined)[];
  /** Locks on its caches. */
  lockFds: readonly number[];
}

/**
 * Makes the sources of a step's mounts. What they need afterwards is undone by the stack.
 *
 * @param cwd where relative targets begin
 * @throws {TareError} InvalidArgument, NotFound: a mount that makes no sense, or whose source is not there
 */
export async function prepareMounts(
  deps: StepMountDeps,
  mounts: readonly Mount[],
  inputs: readonly Tree[],
  cwd: string,
  undo: AsyncDisposableStack,
): Promise<PreparedMounts> {
  const step = new MountMaker(deps, inputs, cwd, undo);
  await step.holdCaches(mounts);
  for (const [index, one] of mounts.entries()) await step.add(one, index);
  if (step.root === undefined) throw new TareError('InvalidArgument', 'a command has no root: want a mount at /');
  // Parents first; a later one at the same place hides the former, as in BuildKit.
  const last = new Map(step.mounts.map((one) => [one.destination, one]));
  const files = mounts.map((_, index) => step.files.get(index));
  return { root: step.root, mounts: [...last.values()], outputs: step.outputs, files, lockFds: step.lockFds };
}

class MountMaker {
  root: PreparedMounts['root'] | undefined;
  readonly mounts: SpecMount[] = [];
  readonly outputs: StepOutput[] = [];
  readonly files = new Map<number, MountFiles>();
  readonly #deps: StepMountDeps;
  readonly #inputs: readonly Tree[];
  readonly #cwd: string;
  readonly #undo: AsyncDisposableStack;
  #caches: HeldCaches | undefined;
  readonly #cacheRequests = new Map<Mount, CacheMountRequest>();

  constructor(deps: StepMountDeps, inputs: readonly Tree[], cwd: string, undo: AsyncDisposableStack) {
    this.#deps = deps;
    this.#inputs = inputs;
    this.#cwd = cwd;
    this.#undo = undo;
  }

  get lockFds(): readonly number[] {
    return this.#caches?.lockFds ?? [];
  }

  async holdCaches(mounts: readonly Mount[]): Promise<void> {
    for (const one of mounts) {
      if (one.mountType === MountType.CACHE) this.#cacheRequests.set(one, await this.#cacheRequest(one));
    }
    const requests = [...this.#cacheRequests.values()];
    if (requests.length === 0) return;
    const { entries, signal } = this.#deps;
    this.#caches = this.#undo.use(await holdCaches(entries, requests, signal));
  }

  async add(one: Mount, index: number): Promise<void> {
    const destination = posix.resolve(ROOT, this.#cwd, one.dest);
    if (one.dest === ROOT) return await this.#addRoot(one, index);
    if (destination === ROOT)
      throw new TareError('InvalidArgument', `invalid mount target ${JSON.stringify(one.dest)}`);
    switch (one.mountType) {
      case MountType.BIND:
        return await this.#addBind(one, index, destination);
      case MountType.CACHE:
        return this.#addCache(one, index, destination);
      case MountType.TMPFS: {
        const sizeBytes = one.TmpfsOpt?.size ?? 0n;
        const options = ['exec', 'suid', 'dev', ...(sizeBytes > 0n ? [`size=${sizeBytes}`] : [])];
        const isShm = destination === '/dev/shm';
        this.mounts.push({
          ...{ type: 'tmpfs', source: 'tmpfs', destination, readOnly: one.readonly },
          options: isShm ? ['mode=1777', ...options.slice(3)] : options,
        });
        return;
      }
      case MountType.SECRET: {
        if (one.secretOpt === undefined) throw missing(one, 'secret options');
        const path = join(this.#deps.directory, 'secrets', String(index));
        if (!(await writeSecret(this.#deps.sessions, one.secretOpt, path))) return;
        const restrictions = ['nosuid', 'nodev', 'noexec'];
        this.mounts.push({ type: 'bind', source: path, destination, readOnly: true, isFile: true, restrictions });
        return;
      }
      case MountType.SSH: {
        if (one.SSHOpt === undefined) throw missing(one, 'SSH options');
        const path = join(this.#deps.directory, 'ssh', String(index));
        const agent = await serveAgent(this.#deps.sessions, one.SSHOpt, path);
        if (agent === undefined) return;
        this.#undo.use(agent);
        this.mounts.push({ type: 'bind', source: path, destination, readOnly: true, isFile: true });
        return;
      }
      default:
        throw new TareError('InvalidArgument', `mount ${one.dest}: unknown type ${one.mountType}`);
    }
  }

  async #addRoot(one: Mount, index: number): Promise<void> {
    if (one.mountType !== MountType.BIND) {
      throw new TareError('InvalidArgument', `invalid mount type ${MountType[one.mountType]} for /`);
    }
    if (this.root !== undefined) throw new TareError('InvalidArgument', 'a command has two roots');
    const given = this.#deps.rootSnapshot;
    if (given !== undefined) {
      this.root = { snapshot: given, isReadOnly: one.readonly };
      return;
    }
    const base = this.#input(one) ?? emptyTree;
    const snapshot = await this.#snapshot(base, index);
    this.root = { snapshot, isReadOnly: one.readonly };
    this.#keep(one, index, { base, snapshot });
  }

  async #addBind(one: Mount, index: number, destination: string): Promise<void> {
    const input = this.#input(one);
    if (one.readonly && input !== undefined) {
      this.#keep(one, index, { tree: input });
      this.#bind(await this.#view(input, index), one, index, destination);
      return;
    }
    const base = input ?? emptyTree;
    const snapshot = await this.#snapshot(base, index);
    this.#keep(one, index, { base, snapshot });
    this.#bind(this.#deps.layers.mount(snapshot, { volatile: true }), one, index, destination);
  }

  #addCache(one: Mount, index: number, destination: string): void {
    const input = this.#input(one);
    const { path } = this.#caches!.of(this.#cacheRequests.get(one)!);
    if (input !== undefined) this.#keep(one, index, { tree: input });
    // What it began with was copied from there already.
    this.#bind(path, input === undefined ? one : { ...one, selector: '' }, index, destination);
  }

  #keep(one: Mount, index: number, files: MountFiles): void {
    this.files.set(index, files);
    if (one.output !== SKIPPED) this.outputs.push({ index: Number(one.output), ...files });
  }

  async #cacheRequest(one: Mount): Promise<CacheMountRequest> {
    if (one.cacheOpt === undefined) throw missing(one, 'cache options');
    const sharing = sharings[one.cacheOpt.sharing];
    if (sharing === undefined) throw missing(one, 'a way of sharing that there is');
    const common = { id: one.cacheOpt.ID || one.dest, sharing, target: one.dest };
    const input = this.#input(one);
    if (input === undefined) return { ...common, base: undefined };
    const selector = posix.resolve(ROOT, one.selector);
    const part = { path: selector, followsLinks: true };
    // Another base is another cache, and an equal one made again the same.
    const key = await this.#deps.layers.contentDigest(input.layers, [part], { signal: this.#deps.signal });
    const fill = async (folder: string): Promise<void> => {
      const path = join(this.#deps.directory, 'base');
      mkdirSync(path, { recursive: true, mode: 0o700 });
      await using _shown = await this.#deps.layers.mountTree(input.layers, path);
      if (await copyUp(path, selector, folder)) return;
      throw new TareError('NotFound', `mount ${one.dest}: no folder ${JSON.stringify(selector)} in its source`);
    };
    return { ...common, base: { key, fill } };
  }

  /** Binds a folder, or what a mount selects of it, whoever may write to it meanwhile. */
  #bind(folder: string, one: Mount, index: number, destination: string): void {
    const common = { type: 'bind' as const, destination, readOnly: one.readonly };
    const selector = posix.resolve(ROOT, one.selector);
    if (selector === ROOT) {
      this.mounts.push({ ...common, source: folder });
      return;
    }
    using opened = openSelected(folder, selector, one.dest);
    const isFile = statusOf(opened.fd).type !== S_IFDIR;
    const source = join(this.#folder(MOUNTS), `${index}.part`);
    if (isFile) writeFileSync(source, '', { mode: 0o600 });
    else mkdirSync(source, { mode: 0o700 });
    this.#undo.defer(() => void unmountIfMounted(source));
    // The descriptor stands for what was resolved: no path is looked up again.
    mount(`/proc/self/fd/${opened.fd}`, source, '', MS_BIND | MS_REC);
    this.mounts.push({ ...common, source, isFile });
  }

  #input(one: Mount): Tree | undefined {
    if (one.input === EMPTY) return undefined;
    const input = this.#inputs[Number(one.input)];
    if (input === undefined) throw new TareError('InvalidArgument', `mount ${one.dest}: missing input ${one.input}`);
    return input;
  }

  async #snapshot(base: Tree, index: number): Promise<string> {
    const { layers, id } = this.#deps;
    const key = `${id}.${index}`;
    this.#undo.defer(() => layers.remove(key));
    await layers.prepare(key, base.layers, { isTransient: true, isBare: true });
    return key;
  }

  async #view(tree: Tree, index: number): Promise<string> {
    const path = join(this.#folder(MOUNTS), String(index));
    mkdirSync(path, { mode: 0o700 });
    this.#undo.use(await this.#deps.layers.mountTree(tree.layers, path));
    return path;
  }

  #folder(name: string): string {
    const path = join(this.#deps.directory, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }
}

const sharings: Readonly<Record<number, CacheSharing>> = {
  [CacheSharingOpt.SHARED]: 'shared',
  [CacheSharingOpt.PRIVATE]: 'private',
  [CacheSharingOpt.LOCKED]: 'locked',
};

const missing = (one: Mount, what: string): TareError =>
  new TareError('InvalidArgument', `mount ${one.dest}: want ${what}`);

function openSelected(folder: string, selector: string, target: string) {
  try {
    return openInRoot(folder, selector);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw new TareError('NotFound', `mount ${target}: ${JSON.stringify(selector)}: not found in its source`, {
      cause: error,
    });
  }
}
