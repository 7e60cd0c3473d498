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
  /** How often each tree is changed or copied from. */
  readonly #uses = new Map<bigint, number>();
  /** Trees that an action changes. */
  readonly #changed = new Set<bigint>();
  readonly #opened = new Map<bigint, Promise<OpenTree>>();

  /** @throws {TareError} InvalidArgument: an action that needs its own result or a later one's */
  constructor(layers: LayerStore, actions: readonly FileActionMessage[], inputs: readonly Tree[], signal: AbortSignal) {
    this.#layers = layers;
    this.#actions = actions;
    this.#inputs = inputs;
    this.#signal = signal;
    for (const [index, action] of actions.entries()) {
      for (const ref of [action.input, action.secondaryInput, ...ownerRefs(action)])
        if (ref >= BigInt(inputs.length + index))
          throw invalid(`action ${index} needs ${ref}, which is not made before it`);
      for (const ref of [action.input, action.secondaryInput]) this.#uses.set(ref, (this.#uses.get(ref) ?? 0) + 1);
      this.#changed.add(action.input);
    }
  }

  /** The tree after an action. @throws what an action met */
  async after(index: number): Promise<Tree> {
    const known = this.#made.get(index);
    if (known !== undefined) return await known;
    // Not at once: trees that are made of each other may be more than a stack is deep.
    const work = Promise.resolve().then(() => this.#run(this.#chainTo(index)));
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
    for (let before = this.#madeBy(index); this.#isStep(before); before = this.#madeBy(before)) chain.push(before);
    return chain.reverse();
  }

  /** The action that made what one changes; below 0: it is an input. */
  #madeBy(index: number): number {
    return Number(this.#actions[index]!.input) - this.#inputs.length;
  }

  /** Whether nobody but one other action, which changes it further, needs what an action made. */
  #isStep(index: number): boolean {
    const ref = BigInt(index + this.#inputs.length);
    return index >= 0 && this.#actions[index]!.output < 0n && this.#uses.get(ref) === 1 && this.#changed.has(ref);
  }

  async #treeOf(ref: bigint): Promise<Tree> {
    const position = Number(ref);
    if (position < 0) return emptyTree;
    if (position < this.#inputs.length) return this.#inputs[position]!;
    return await this.after(position - this.#inputs.length);
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

/** Trees in which an action looks up names of users. */
function ownerRefs({ action }: FileActionMessage): bigint[] {
  const owner = action.case === undefined || action.case === 'rm' ? undefined : action.value.owner;
  return [owner?.user, owner?.group].flatMap((opt) => (opt?.user.case === 'byName' ? [opt.user.value.input] : []));
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
