import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  AT_FDCWD,
  getXattrAt,
  listXattrsAt,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  OpenFile,
  openAt,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  statusAt,
  toByteString,
} from '../linux/index.ts';

/** All that can be said of a name in a tree. */
export interface ListedNode {
  type: number;
  mode: number;
  uid: number;
  gid: number;
  modifyNs: bigint;
  /** `major:minor` of a device. */
  device: string;
  /** Target of a link, digest of a file. */
  content: string;
  xattrs: Record<string, string>;
  /** The first path, in order, of the same file: hard links show the same. */
  sameAs: string;
}

/** Every name of a tree by its path, '' the root, in order. @param skip names in the root that are not looked at */
export function listTree(root: string, skip: readonly string[] = []): Map<string, ListedNode> {
  const nodes = new Map<string, ListedNode>();
  const first = new Map<bigint, string>();
  const visit = (dirfd: number, name: string, path: string): void => {
    const { type, mode, uid, gid, modifyNs, deviceMajor, deviceMinor, inode } = statusAt(dirfd, name);
    if (!first.has(inode)) first.set(inode, path);
    const attributes = listXattrsAt(dirfd, name)
      .sort()
      .map((key) => [key, getXattrAt(dirfd, name, key)?.toString('hex') ?? '']);
    const node: ListedNode = {
      ...{ type, mode: mode & 0o7777, uid, gid, modifyNs, device: `${deviceMajor}:${deviceMinor}`, content: '' },
      ...{ xattrs: Object.fromEntries(attributes) as Record<string, string>, sameAs: first.get(inode) as string },
    };
    nodes.set(path, node);
    if (type === S_IFLNK) node.content = readLinkAt(dirfd, name);
    if (type === S_IFREG) {
      using file = new OpenFile(openAt(dirfd, name, O_RDONLY | O_NOFOLLOW));
      node.content = createHash('sha256').update(readFileSync(file.fd)).digest('hex');
    }
    if (type !== S_IFDIR) return;
    using folder = new OpenFile(openAt(dirfd, name, O_DIRECTORY | O_NOFOLLOW));
    for (const entry of readDirectory(folder.fd).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (path !== '' || !skip.includes(entry.name)) {
        visit(folder.fd, entry.name, path === '' ? entry.name : `${path}/${entry.name}`);
      }
    }
  };
  using top = new OpenFile(openAt(AT_FDCWD, toByteString(root), O_DIRECTORY));
  visit(top.fd, '.', '');
  return nodes;
}
