import type { FileAction, FileActionCopy, FileOp, UserOpt } from '../../protocol/index.ts';
import { type ContentSelector, hasWildcard } from '../../storage/index.ts';
import { outermost } from './outermost.ts';

/**
 * What file actions use of each input, by its position: what they copy from it, and the lists of users that names are looked up
 * in. An input that is changed counts as a whole, by its own keys, and is not among them.
 */
export function fileSelectors(op: FileOp, inputCount: number): ReadonlyMap<number, readonly ContentSelector[]> {
  const selectors = new Map<number, ContentSelector[]>();
  const changed = new Set<number>();
  const add = (input: bigint, selector: ContentSelector): void => {
    const position = Number(input);
    if (position < 0 || position >= inputCount) return;
    const known = selectors.get(position);
    if (known === undefined) selectors.set(position, [selector]);
    else known.push(selector);
  };
  for (const action of op.actions) {
    changed.add(Number(action.input));
    for (const { name, path } of ownersOf(action)) add(name.input, { path, followsLinks: true, allowsNothing: true });
    if (action.action.case === 'copy') add(action.secondaryInput, selectorOf(action.action.value));
  }
  for (const position of changed) selectors.delete(position);
  return selectors;
}

const selectorOf = (copy: FileActionCopy): ContentSelector => ({
  path: copy.src,
  isWildcard: copy.allowWildcard,
  allowsNothing: copy.allowWildcard && copy.allowEmptyWildcard && hasWildcard(copy.src),
  followsLinks: copy.followSymlink,
  includePatterns: copy.includePatterns,
  excludePatterns: copy.excludePatterns,
  requiredPaths: copy.requiredPaths,
});

/** The names of owners in an action, and where they are looked up. */
function ownersOf({ action }: FileAction): { name: { name: string; input: bigint }; path: string }[] {
  const owner = action.case === undefined || action.case === 'rm' ? undefined : action.value.owner;
  const named = (opt: UserOpt | undefined, path: string) =>
    opt?.user.case === 'byName' ? [{ name: opt.user.value, path }] : [];
  return [...named(owner?.user, '/etc/passwd'), ...named(owner?.group, '/etc/group')];
}

/** Each once, and none that lies in another; by path. Filtered ones stay as they are. */
export function distinctSelectors(selectors: readonly ContentSelector[]): ContentSelector[] {
  const isPlain = ({ path, isWildcard, includePatterns = [], excludePatterns = [] }: ContentSelector) =>
    !(isWildcard && hasWildcard(path)) && includePatterns.length + excludePatterns.length === 0;
  const plain = [false, true].flatMap((follows) => {
    const same = selectors.filter((one) => isPlain(one) && (one.followsLinks ?? false) === follows);
    const paths = new Map(same.map((one) => [one.path, one]));
    return outermost(paths.keys())
      .map((path) => paths.get(path)!)
      .sort(byPath);
  });
  // Of equal paths the first stays first.
  return [...plain, ...selectors.filter((one) => !isPlain(one))].sort(byPath);
}

const byPath = (a: ContentSelector, b: ContentSelector): number =>
  Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
