import { randomBytes } from 'node:crypto';
import { TareError } from '../../errors/index.ts';
import type { ChownOpt, FileAction as FileActionMessage, UserOpt } from '../../protocol/index.ts';
import type { FileAction, LayerStore, MadeFile, OpenTree, OwnerName } from '../../storage/index.ts';
import { emptyTree, type Tree } from '../tree.ts';

/** Opens the tree that a reference means: an input of the operation, or what an action made. */
type OpenRef = (ref: bigint) => Promise<number>;

/**
 * The trees that file actions make. An action whose result only the next one changes is done in the same snapshot, so that a
 * chain of actions makes one layer.
 */
export class ChangedTrees implements AsyncDisposable {
  readonly #layers: LayerStore;
  readonly #actions: readonly FileActionMessage[];
  readonly #inputs: readonly Tree[];
  readonly #signal: AbortSignal;
  readonly #made = new Map<number, Promise<Tree>>();
  readonly #opened = new Map<bigint, Promise<OpenTree>>();

  constructor(layers: LayerStore, actions: readonly FileActionMessage[], inputs: readonly Tree[], signal: AbortSignal) {
    this.#layers = layers;
    this.#actions = actions;
    this.#inputs = inputs;
    this.#signal = signal;
  }

  /** The tree after an action. @throws {TareError} InvalidArgument: actions that need each other; what an action met */
  async after(index: number): Promise<Tree> {
    const chain = this.#chainTo(index);
    const known = this.#made.get(index);
    if (known !== undefined) return await known;
    const work = this.#run(chain);
    this.#made.set(index, work);
    return await work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tree of this.#opened.values())
      await tree.then((opened) => opened[Symbol.asyncDispose]()).catch(() => {});
  }

  async #run(chain: readonly number[]): Promise<Tree> {
    const base = await this.#treeOf(this.#actions[chain[0]!]!.input);
    const key = `build-files-${randomBytes(12).toString('hex')}`;
    await this.#layers.prepare(key, base.layers, { isTransient: true, isBare: true });
    try {
      {
        await using root = await this.#layers.openRoot(key, [], { volatile: true });
        for (const index of chain) {
          const action = this.#actions[index]!;
          const open: OpenRef = async (ref) => (ref === action.input ? root.fd : await this.#open(ref));
          const request = { tree: root.fd, actions: [await plainAction(action, open, (ref) => this.#open(ref))] };
          await this.#layers.runFileActions(request, this.#signal);
        }
      }
      return { layers: [...base.layers, await this.#layers.freeze(key)] };
    } catch (error) {
      await this.#layers.remove(key);
      throw error;
    }
  }

  /** Actions that are done in one snapshot, up to this one. */
  #chainTo(index: number): number[] {
    const chain = [index];
    for (;;) {
      const before = Number(this.#actions[chain[0]!]!.input) - this.#inputs.length;
      if (before < 0 || !this.#isStep(before)) return chain;
      if (chain.includes(before)) throw invalid(`action ${before} needs its own result`);
      chain.unshift(before);
    }
  }

  /** Whether nobody but one other action, which changes it further, needs what an action made. */
  #isStep(index: number): boolean {
    const action = this.#actions[index];
    if (action === undefined) throw invalid(`there is no action ${index}`);
    const ref = BigInt(index + this.#inputs.length);
    const uses = this.#actions.flatMap((other) => [other.input, other.secondaryInput]).filter((used) => used === ref);
    return action.output < 0n && uses.length === 1 && this.#actions.some(({ input }) => input === ref);
  }

  async #treeOf(ref: bigint): Promise<Tree> {
    const position = Number(ref);
    if (position < 0) return emptyTree;
    if (position < this.#inputs.length) return this.#inputs[position]!;
    const index = position - this.#inputs.length;
    if (index >= this.#actions.length) throw invalid(`there is no action ${index}`);
    return await this.after(index);
  }

  async #open(ref: bigint): Promise<number> {
    const known = this.#opened.get(ref);
    if (known !== undefined) return (await known).fd;
    // In a client's folder there are no whiteouts: they are refused.
    const work = this.#treeOf(ref).then((tree) =>
      this.#layers.openTree(tree.layers, { isPlain: tree.isRootless === true }),
    );
    this.#opened.set(ref, work);
    return (await work).fd;
  }
}

const invalid = (problem: string): TareError => new TareError('InvalidArgument', `invalid file operation: ${problem}`);

/** @param open for names of users, which the tree that is changed may have @param openSource for what is copied */
async function plainAction(
  { action, secondaryInput }: FileActionMessage,
  open: OpenRef,
  openSource: OpenRef,
): Promise<FileAction> {
  if (action.case === undefined) throw invalid('an action without a kind');
  if (action.case === 'rm') {
    const { path, allowNotFound, allowWildcard } = action.value;
    return { type: 'rm', path, allowsNothing: allowNotFound, allowsWildcard: allowWildcard };
  }
  const { owner, timestamp } = action.value;
  const made = await madeFile(owner, timestamp, open);
  switch (action.case) {
    case 'mkfile':
      return { ...made, type: 'mkfile', path: action.value.path, mode: action.value.mode, data: action.value.data };
    case 'mkdir': {
      const { path, mode, makeParents } = action.value;
      return { ...made, type: 'mkdir', path, mode, makesParents: makeParents };
    }
    case 'symlink':
      return { ...made, type: 'symlink', path: action.value.newpath, target: action.value.oldpath };
    default: {
      const copy = action.value;
      const mode = copy.modeStr !== '' ? copy.modeStr : copy.mode >= 0 ? copy.mode : undefined;
      return {
        ...made,
        ...(mode === undefined ? {} : { mode }),
        // As docker's daemon makes them, whose umask this is; letters say what to change of a source, and these have none.
        ...(typeof mode === 'number' ? { foldersMode: mode & 0o755 } : {}),
        type: 'copy',
        tree: await openSource(secondaryInput),
        source: copy.src,
        destination: copy.dest,
        followsLinks: copy.followSymlink,
        contentsOnly: copy.dirCopyContents,
        unpacks: copy.attemptUnpackDockerCompatibility,
        makesParents: copy.createDestPath,
        allowsWildcard: copy.allowWildcard,
        allowsNothing: copy.allowEmptyWildcard,
        replaces: copy.alwaysReplaceExistingDestPaths,
        includePatterns: copy.includePatterns,
        excludePatterns: copy.excludePatterns,
      };
    }
  }
}

async function madeFile(owner: ChownOpt | undefined, timestamp: bigint, open: OpenRef): Promise<MadeFile> {
  const [user, group] = [await ownerName(owner?.user, open), await ownerName(owner?.group, open)];
  return {
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    // -1: none.
    ...(timestamp >= 0n ? { timeNs: timestamp } : {}),
  };
}

/** @throws {TareError} InvalidArgument: a name where no tree could have it */
async function ownerName(opt: UserOpt | undefined, open: OpenRef): Promise<OwnerName | undefined> {
  switch (opt?.user.case) {
    case 'byID':
      return { id: opt.user.value };
    case 'byName': {
      const { name, input } = opt.user.value;
      if (input < 0n)
        throw invalid(`there are no users where nothing is yet: use the number of ${JSON.stringify(name)}`);
      return { name, tree: await open(input), isOptional: true };
    }
    default:
      return undefined;
  }
}
