import { TareError } from '../errors/index.ts';
import { readFileInRoot } from '../linux/index.ts';

/** Who a process runs as, in numbers. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  /** The primary group first, as the kernel counts them all the same (CVE-2022-36109). */
  additionalGids: number[];
  /** Home from the passwd entry; `/` when there is none. */
  home: string;
}

/** Reads a file of the container's root; undefined: there is none. */
export type ReadInRoot = (path: string) => Uint8Array | undefined;

const maxFileBytes = 1024 * 1024;
const maxId = 2 ** 31 - 1;

/**
 * Who a container's process is, from the image's own /etc/passwd and /etc/group.
 *
 * @param root the container's root on the host, mounted; the files are read beneath it, at most 1 MiB each, and never
 *   through a device or FIFO
 * @param user `[USER][:GROUP]`, names or numbers; a number is always an id
 * @param groupAdd further groups, names or numbers
 * @throws {TareError} InvalidArgument: no such user or group in the image, an id out of range, a file too long
 */
export function resolveUserIn(root: string, user: string, groupAdd: readonly string[] = []): ResolvedUser {
  return resolveUser((path) => readBounded(root, path), user, groupAdd);
}

function readBounded(root: string, path: string): Uint8Array | undefined {
  try {
    return readFileInRoot(root, path, maxFileBytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new TareError('InvalidArgument', `cannot look up users: ${error.message}`, { cause: error });
  }
}

/** As `resolveUserIn`, with the reading of files left to the caller. */
export function resolveUser(read: ReadInRoot, user: string, groupAdd: readonly string[] = []): ResolvedUser {
  const colon = user.indexOf(':');
  const userPart = colon < 0 ? user : user.slice(0, colon);
  const groupPart = colon < 0 ? '' : user.slice(colon + 1);
  const files = new AccountFiles(read);

  const wantedUid = userPart === '' ? 0 : parseId(userPart);
  const entry = files.user((candidate) =>
    wantedUid === undefined ? candidate.name === userPart : candidate.uid === wantedUid,
  );
  if (entry === undefined && wantedUid === undefined) {
    throw new TareError('InvalidArgument', `unable to find user ${userPart}: no matching entries in passwd file`);
  }
  const uid = entry?.uid ?? inRange(wantedUid!);
  let gid = entry?.gid ?? 0;
  let memberships: number[] = [];
  if (groupPart !== '') gid = groupId(files, groupPart);
  else if (entry !== undefined) memberships = files.groupsOf(entry.name);

  const additionalGids = [gid, ...memberships, ...groupAdd.map((group) => groupId(files, group))];
  return { uid, gid, additionalGids: [...new Set(additionalGids)], home: entry?.home || '/' };
}

function groupId(files: AccountFiles, group: string): number {
  const id = parseId(group);
  if (id !== undefined) return inRange(id);
  const entry = files.group((candidate) => candidate.name === group);
  if (entry === undefined) {
    throw new TareError('InvalidArgument', `unable to find group ${group}: no matching entries in group file`);
  }
  return entry.gid;
}

const parseId = (text: string): number | undefined => (/^[+-]?\d{1,20}$/.test(text) ? Number(text) : undefined);

function inRange(id: number): number {
  if (id >= 0 && id <= maxId) return id;
  throw new TareError('InvalidArgument', `uids and gids must be in range 0-${maxId}, not ${id}`);
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/** The two files, each read once and only when asked for. */
class AccountFiles {
  readonly #read: ReadInRoot;
  #groups: string[] | undefined;

  constructor(read: ReadInRoot) {
    this.#read = read;
  }

  user(matches: (entry: PasswdEntry) => boolean): PasswdEntry | undefined {
    for (const line of linesOf(this.#read('etc/passwd'))) {
      const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
      const entry = { name, uid: entryId(uid), gid: entryId(gid), home: safeHome(home) };
      if (entry.uid >= 0 && entry.gid >= 0 && matches(entry)) return entry;
    }
    return undefined;
  }

  group(matches: (entry: GroupEntry) => boolean): GroupEntry | undefined {
    for (const entry of this.#allGroups()) if (matches(entry)) return entry;
    return undefined;
  }

  groupsOf(user: string): number[] {
    const ids: number[] = [];
    for (const entry of this.#allGroups()) if (entry.members.includes(user)) ids.push(entry.gid);
    return ids;
  }

  *#allGroups(): Generator<GroupEntry> {
    this.#groups ??= linesOf(this.#read('etc/group'));
    for (const line of this.#groups) {
      const [name = '', , gid = '', members = ''] = line.split(':');
      const entry = { name, gid: entryId(gid), members: members === '' ? [] : members.split(',') };
      if (entry.gid >= 0) yield entry;
    }
  }
}

function linesOf(bytes: Uint8Array | undefined): string[] {
  if (bytes === undefined) return [];
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
}

/** -1: not an id, so the line is not an entry. */
function entryId(text: string): number {
  const id = /^\d{1,10}$/.test(text.trim()) ? Number(text) : -1;
  return id <= maxId ? id : -1;
}

// The home becomes an environment variable; one with a NUL would end it early.
const safeHome = (home: string): string => (home.includes('\0') ? '' : home);
