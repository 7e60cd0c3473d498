import { posix } from 'node:path';
import { create } from '@bufbuild/protobuf';
import {
  type ChownOpt,
  ChownOptSchema,
  type FileAction,
  FileActionCopySchema,
  FileActionMkDirSchema,
  FileActionMkFileSchema,
  FileActionRmSchema,
  FileActionSchema,
  FileActionSymlinkSchema,
  FileOpSchema,
  NamedUserOptSchema,
  type UserOpt,
  UserOptSchema,
} from '../../protocol/index.ts';
import { type Output, present, type Vertex, type VertexNotes } from './vertex.ts';

/** A user or group by number, or by its name in the tree that is changed. */
export type Owner = number | string;

export interface Ownership {
  user?: Owner | undefined;
  group?: Owner | undefined;
}

/** Nanoseconds since the epoch; undefined: now, or what the source has. */
type Timestamp = bigint | undefined;

/** What changes a tree. Paths are absolute in it. */
export type FileChange =
  | {
      kind: 'copy';
      from: Output | undefined;
      source: string;
      /** With a slash at its end it is a folder to copy into. */
      destination: string;
      owner?: Ownership | undefined;
      /** A number of nine or twelve bits, or symbols such as `u+rwX`. */
      mode?: number | string | undefined;
      followsLinks?: boolean;
      /** Of a folder its content is copied. */
      copiesContent?: boolean;
      unpacks?: boolean;
      createsDestination?: boolean;
      allowsWildcard?: boolean;
      allowsEmptyWildcard?: boolean;
      includePatterns?: readonly string[];
      excludePatterns?: readonly string[];
      requiredPaths?: readonly string[];
      timestamp?: Timestamp;
    }
  | {
      kind: 'mkfile';
      path: string;
      mode: number;
      content: Uint8Array;
      owner?: Ownership | undefined;
      timestamp?: Timestamp;
    }
  | {
      kind: 'mkdir';
      path: string;
      mode: number;
      makesParents?: boolean;
      owner?: Ownership | undefined;
      timestamp?: Timestamp;
    }
  | { kind: 'rm'; path: string; allowsAbsence?: boolean; allowsWildcard?: boolean }
  | { kind: 'symlink'; target: string; path: string; owner?: Ownership | undefined; timestamp?: Timestamp };

/** Changes a tree, one change after the other, as one vertex. @param base undefined: the empty tree */
export function file(base: Output | undefined, changes: readonly FileChange[], notes: VertexNotes = {}): Output {
  const copies = changes.flatMap((change) => (change.kind === 'copy' ? [change] : []));
  const capabilities = ['file.base'];
  if (
    copies.some(({ includePatterns = [], excludePatterns = [] }) => includePatterns.length + excludePatterns.length > 0)
  ) {
    capabilities.push('file.copy.includeexcludepatterns');
  }
  if (copies.some(({ mode }) => typeof mode === 'string')) capabilities.push('file.copy.modestring');
  if (copies.some(({ requiredPaths = [] }) => requiredPaths.length > 0)) capabilities.push('file.copy.requiredpaths');
  if (changes.some(({ kind }) => kind === 'symlink')) capabilities.push('file.symlink.create');
  const vertex: Vertex = {
    inputs: present([base, ...copies.map(({ from }) => from)]),
    notes,
    capabilities,
    platform: 'none',
    encode: (table) => {
      // All inputs are numbered before any action is: an action's result counts on from the number of inputs.
      const baseIndex = table.indexOf(base);
      const secondary = changes.map((change) => (change.kind === 'copy' ? table.indexOf(change.from) : -1n));
      const inputs = table.size;
      return {
        case: 'file',
        value: create(FileOpSchema, {
          actions: changes.map((change, i) =>
            create(FileActionSchema, {
              input: i === 0 ? baseIndex : BigInt(inputs + i - 1),
              secondaryInput: secondary[i]!,
              output: i === changes.length - 1 ? 0n : -1n,
              action: encodeChange(change, baseIndex),
            }),
          ),
        }),
      };
    },
  };
  return { vertex, index: 0 };
}

function encodeChange(change: FileChange, base: bigint): FileAction['action'] {
  const common = (owned: { owner?: Ownership | undefined; timestamp?: Timestamp }) => ({
    ...(owned.owner === undefined ? {} : { owner: encodeOwnership(owned.owner, base) }),
    timestamp: owned.timestamp ?? -1n,
  });
  switch (change.kind) {
    case 'copy':
      return {
        case: 'copy',
        value: create(FileActionCopySchema, {
          src: cleanPath(change.source, false),
          dest: cleanPath(change.destination, true),
          // BuildKit's own clients leave it zero where letters say it.
          mode: typeof change.mode === 'string' ? 0 : (change.mode ?? -1),
          modeStr: typeof change.mode === 'string' ? change.mode : '',
          followSymlink: change.followsLinks === true,
          dirCopyContents: change.copiesContent === true,
          attemptUnpackDockerCompatibility: change.unpacks === true,
          createDestPath: change.createsDestination === true,
          allowWildcard: change.allowsWildcard === true,
          allowEmptyWildcard: change.allowsEmptyWildcard === true,
          includePatterns: [...(change.includePatterns ?? [])],
          excludePatterns: [...(change.excludePatterns ?? [])],
          requiredPaths: [...(change.requiredPaths ?? [])],
          ...common(change),
        }),
      };
    case 'mkfile':
      return {
        case: 'mkfile',
        value: create(FileActionMkFileSchema, {
          path: cleanPath(change.path, false),
          mode: change.mode,
          data: change.content,
          ...common(change),
        }),
      };
    case 'mkdir':
      return {
        case: 'mkdir',
        value: create(FileActionMkDirSchema, {
          path: cleanPath(change.path, false),
          mode: change.mode,
          makeParents: change.makesParents === true,
          ...common(change),
        }),
      };
    case 'rm':
      return {
        case: 'rm',
        value: create(FileActionRmSchema, {
          path: cleanPath(change.path, false),
          allowNotFound: change.allowsAbsence === true,
          allowWildcard: change.allowsWildcard === true,
        }),
      };
    case 'symlink':
      return {
        case: 'symlink',
        value: create(FileActionSymlinkSchema, {
          oldpath: change.target,
          newpath: cleanPath(change.path, false),
          ...common(change),
        }),
      };
  }
}

/**
 * An absolute path without `.`, `..` and doubled slashes.
 * @param keepsEnd whether a slash, or `/.`, at its end stays: it says that a folder is meant
 */
export function cleanPath(path: string, keepsEnd: boolean): string {
  const clean = posix.join('/', path === '' ? '.' : path).replace(/(?<=.)\/$/, '');
  if (!keepsEnd) return clean;
  if (path.endsWith('/')) return clean.endsWith('/') ? clean : `${clean}/`;
  if (path.endsWith('/.')) return clean === '/' ? '/.' : `${clean}/.`;
  return clean;
}

const encodeOwnership = ({ user, group }: Ownership, base: bigint): ChownOpt =>
  create(ChownOptSchema, {
    ...(user === undefined ? {} : { user: encodeOwner(user, base) }),
    ...(group === undefined ? {} : { group: encodeOwner(group, base) }),
  });

const encodeOwner = (owner: Owner, base: bigint): UserOpt =>
  create(UserOptSchema, {
    user:
      typeof owner === 'number'
        ? { case: 'byID', value: owner }
        : { case: 'byName', value: create(NamedUserOptSchema, { name: owner, input: base }) },
  });
