/**
 * Who is to own what an action makes: a number, or a name in a tree's /etc/passwd or /etc/group. Of an optional name that is not there, a user is
 * root, and a group the user's own.
 */
export type OwnerName = { id: number } | { name: string; tree: number; isOptional?: boolean };

/** What all actions that make something say of it. */
export interface MadeFile {
  /** Neither: root's, or as the copied file has it. */
  user?: OwnerName;
  group?: OwnerName;
  /** Nanoseconds since the epoch; none: now, or as the copied file has it. */
  timeNs?: bigint;
}

export interface CopyAction extends MadeFile {
  type: 'copy';
  /** Descriptor of the root that it copies from. */
  tree: number;
  source: string;
  destination: string;
  /** Permissions, or a change of them as chmod takes it; none: as they are. */
  mode?: number | string;
  /** Of folders that are made for it and are no copies; default 0755. */
  foldersMode?: number;
  /** A link as the source means what it leads to. */
  followsLinks: boolean;
  /** Of a folder what is in it, not itself. */
  contentsOnly: boolean;
  /** An archive, compressed or not, is unpacked. */
  unpacks: boolean;
  /** What is unpacked is whose its archive says, whoever else is to own what is copied. */
  keepsUnpackedOwners?: boolean;
  /** Missing folders on the way to the destination are made. */
  makesParents: boolean;
  allowsWildcard: boolean;
  allowsNothing: boolean;
  /** What stands in the way is removed, whatever it is. */
  replaces: boolean;
  /** As in `.dockerignore`, against paths beneath the source; none: all. */
  includePatterns: readonly string[];
  excludePatterns: readonly string[];
}

/**
 * Looks for all that copies are to take, before the first of them changes anything. Where several go is a folder from then on, however it is
 * written.
 */
export interface ExpectAction extends MadeFile {
  type: 'expect';
  sources: readonly Pick<CopyAction, 'tree' | 'source' | 'followsLinks' | 'allowsWildcard'>[];
  destination: string;
}

/** What is done to a tree. Paths are seen from its root, wherever links in it lead. */
export type FileAction =
  | CopyAction
  | ExpectAction
  | ({ type: 'mkfile'; path: string; mode: number; data: Uint8Array } & MadeFile)
  | ({ type: 'mkdir'; path: string; mode: number; makesParents: boolean } & MadeFile)
  | ({ type: 'symlink'; path: string; target: string } & MadeFile)
  | { type: 'rm'; path: string; allowsNothing: boolean; allowsWildcard: boolean };

/** Actions for a thread, one after the other. */
export interface FileActionRequest {
  /** Descriptor of the root of the tree that is changed. */
  tree: number;
  actions: readonly FileAction[];
}
