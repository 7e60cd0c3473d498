/** A part of a tree. */
export interface ContentSelector {
  /** From the tree's root. */
  path: string;
  /** The path is a pattern; none taken is an error unless `allowsNothing`. */
  isWildcard?: boolean;
  allowsNothing?: boolean;
  /** A link at the path means what it leads to. */
  followsLinks?: boolean;
  /** As in `.dockerignore`, against paths beneath the path; none: all. */
  includePatterns?: readonly string[];
  excludePatterns?: readonly string[];
  /** Beneath the path; each has to be there. */
  requiredPaths?: readonly string[];
}

/** What of a tree is to be digested, by a thread. */
export interface ContentRequest {
  /** Topmost first: the files in overlayfs' form, and where digests of them are remembered. */
  layers: readonly { files: string; index: string }[];
  userXattrs: boolean;
  /** Owner and permissions of the root; undefined: they do not count. */
  root: { mode: number; uid: number; gid: number } | undefined;
  selectors: readonly ContentSelector[];
}
