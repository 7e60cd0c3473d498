import { posix } from 'node:path';
import type { ChownOpt, FileAction, FileOp, UserOpt } from '../../protocol/index.ts';
import type { ContentSelector } from '../../storage/index.ts';
import { filled, goDigest, goJson, textDigest } from './go-json.ts';

/** The digest of file actions by definition, as BuildKit has it: where something copied lay does not count, but its last name. */
export function fileDigest(op: FileOp, inputCount: number): string {
  const indexes = op.actions.map(({ input, secondaryInput, output }) => [input, secondaryInput, output].map(Number));
  return goDigest({
    Type: 'buildkit.file.v0',
    Actions: op.actions.map((action) => Buffer.from(goJson(documentOf(action, inputCount))).toString('base64')),
    ...(isUsual(indexes) ? {} : { indexes }),
  });
}

/** By which part of an input it counts, where it does by definition. */
export function selectorDigest(selectors: readonly ContentSelector[]): string {
  const paths = selectors.map(({ path }) => Buffer.from(path)).sort((a, b) => Buffer.compare(b, a));
  return textDigest(paths.map((path) => path.toString()).join('\0'));
}

function documentOf({ action, secondaryInput }: FileAction, inputCount: number): Record<string, unknown> {
  switch (action.case) {
    case 'copy': {
      const copy = action.value;
      const isInput = secondaryInput !== -1n && Number(secondaryInput) < inputCount;
      return filled({
        src: isInput ? baseOf(copy.src) : copy.src,
        dest: copy.dest,
        owner: ownerOf(copy.owner),
        mode: copy.mode,
        followSymlink: copy.followSymlink,
        dirCopyContents: copy.dirCopyContents,
        attemptUnpackDockerCompatibility: copy.attemptUnpackDockerCompatibility,
        createDestPath: copy.createDestPath,
        allowWildcard: copy.allowWildcard,
        allowEmptyWildcard: copy.allowEmptyWildcard,
        timestamp: copy.timestamp,
        include_patterns: copy.includePatterns,
        exclude_patterns: copy.excludePatterns,
        alwaysReplaceExistingDestPaths: copy.alwaysReplaceExistingDestPaths,
        modeStr: copy.modeStr,
        required_paths: copy.requiredPaths,
      });
    }
    case 'mkfile': {
      const { path, mode, data, owner, timestamp } = action.value;
      const content = Buffer.from(data).toString('base64');
      return filled({ path, mode, data: content, owner: ownerOf(owner), timestamp });
    }
    case 'mkdir': {
      const { path, mode, makeParents, owner, timestamp } = action.value;
      return filled({ path, mode, makeParents, owner: ownerOf(owner), timestamp });
    }
    case 'symlink': {
      const { oldpath, newpath, owner, timestamp } = action.value;
      return filled({ oldpath, newpath, owner: ownerOf(owner), timestamp });
    }
    case 'rm': {
      const { path, allowNotFound, allowWildcard } = action.value;
      return filled({ path, allowNotFound, allowWildcard });
    }
    default:
      return {};
  }
}

/** Go's path.Base. */
const baseOf = (path: string): string => (path === '' ? '.' : posix.basename(path) || '/');

const ownerOf = (owner: ChownOpt | undefined) =>
  owner && filled({ user: userOf(owner.user), group: userOf(owner.group) });

function userOf(opt: UserOpt | undefined): { User: Record<string, unknown> } | undefined {
  if (opt === undefined) return undefined;
  const { user } = opt;
  if (user.case === 'byName') {
    return { User: { byName: filled({ name: user.value.name, input: user.value.input }) } };
  }
  return { User: filled({ byId: user.case === 'byID' ? user.value : 0 }) };
}

/** One action after the other on the first input, each with the second at most: keys of such do not tell it. */
function isUsual(indexes: readonly (readonly number[])[]): boolean {
  const last = indexes.length - 1;
  return (
    indexes.length > 0 &&
    indexes.every(
      ([input, second, output], at) =>
        input === (at === 0 ? 0 : indexes.length + at - 1) &&
        (second === -1 || second === 1) &&
        output === (at === last ? 0 : -1),
    )
  );
}
