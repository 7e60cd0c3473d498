import { TareError } from '../../../errors/index.ts';
import {
  type ByteString,
  fromByteString,
  isDeviceNumber,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  toByteString,
} from '../../../linux/index.ts';
import type { SentEntry } from '../../session.ts';

/** The kernel's PATH_MAX, with its final NUL. */
const MAX_PATH_BYTES = 4095;
const MAX_XATTR_BYTES = 64 * 1024;
const MAX_ID = 0xffff_fffe;

/** An entry that was checked: what it says can be made below a root. */
export interface CheckedEntry {
  path: ByteString;
  /** `mode & S_IFMT` */
  type: number;
  /** Without the type. */
  permissions: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  modifiedNs: bigint;
  /** Of a symbolic or, for a regular file, of a hard link. */
  target: ByteString | undefined;
  deviceMajor: number;
  deviceMinor: number;
  xattrs: readonly (readonly [ByteString, Uint8Array])[];
}

const types = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK]);

/**
 * Order in which folders are sent: a name before what is in it, siblings by their bytes. So `/` comes before every other byte.
 * @returns below 0: `a` comes first
 */
export function comparePaths(a: ByteString, b: ByteString): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const [x, y] = [a.charCodeAt(index), b.charCodeAt(index)];
    if (x === y) continue;
    if (x === SLASH) return -1;
    if (y === SLASH) return 1;
    return x - y;
  }
  return a.length - b.length;
}
const SLASH = 0x2f;

/** Checks what a client says of its folder, one entry after the other. It is hostile. */
export class EntryChecker {
  /** Open folders on the way to the last entry. */
  readonly #folders: ByteString[] = [];
  #last: ByteString = '';

  /** @throws {TareError} InvalidArgument: the path and what is wrong with it */
  check(entry: SentEntry): CheckedEntry {
    const path = checkPath(entry.path);
    const type = entry.mode & S_IFMT;
    if (!types.has(type)) throw refused(entry.path, `its mode ${entry.mode.toString(8)} is of no known type`);
    this.checkPlace(path, type === S_IFDIR);
    return {
      ...{ path, type, permissions: entry.mode & 0o7777 },
      uid: checkID(entry, entry.uid),
      gid: checkID(entry, entry.gid),
      sizeBytes: checkSize(entry),
      modifiedNs: entry.modifiedNs,
      target: this.#target(entry, type),
      ...checkDevice(entry),
      xattrs: checkXattrs(entry),
    };
  }

  /**
   * Of an entry that was checked before, whether it may come here.
   * @throws {TareError} InvalidArgument: the path and what is wrong with it
   */
  checkPlace(path: ByteString, isFolder: boolean): void {
    if (comparePaths(this.#last, path) >= 0)
      throw refused(fromByteString(path), `it comes after ${JSON.stringify(this.#last)}`);
    const slash = path.lastIndexOf('/');
    const parent = slash === -1 ? '' : path.slice(0, slash);
    while (this.#folders.length > 0 && this.#folders.at(-1) !== parent) this.#folders.pop();
    if (parent !== '' && this.#folders.length === 0)
      throw refused(fromByteString(path), 'its folder was not sent before it');
    this.#last = path;
    if (isFolder) this.#folders.push(path);
  }

  #target(entry: SentEntry, type: number): ByteString | undefined {
    const { linkname = '' } = entry;
    if (type === S_IFLNK) {
      if (linkname === '' || linkname.includes('\0')) throw refused(entry.path, 'it is a link without a target');
      const target = toByteString(linkname);
      if (target.length > MAX_PATH_BYTES) throw refused(entry.path, 'it is a link to a path that is too long');
      return target;
    }
    if (type !== S_IFREG || linkname === '') return undefined;
    const target = checkPath(linkname);
    if (comparePaths(target, this.#last) >= 0)
      throw refused(entry.path, `it is a hard link to ${JSON.stringify(linkname)}, which comes after it`);
    return target;
  }
}

function checkPath(text: string): ByteString {
  const path = toByteString(text);
  if (path === '' || path.length > MAX_PATH_BYTES || path.includes('\0') || !text.isWellFormed())
    throw refused(text, `want 1 to ${MAX_PATH_BYTES} bytes without NUL`);
  if (unclean.test(path)) throw refused(text, 'want a clean path, relative to the folder that is sent');
  return path;
}
const unclean = /^\/|\/\/|\/$|(?:^|\/)\.\.?(?:\/|$)/;

function checkID(entry: SentEntry, id: number): number {
  if (Number.isInteger(id) && id >= 0 && id <= MAX_ID) return id;
  throw refused(entry.path, `its owner ${id} is no user or group id`);
}

function checkSize({ path, sizeBytes }: SentEntry): number {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes >= 0) return sizeBytes;
  throw refused(path, `its size ${sizeBytes} is none`);
}

function checkDevice({ path, deviceMajor = 0, deviceMinor = 0 }: SentEntry) {
  if (isDeviceNumber(deviceMajor, deviceMinor)) return { deviceMajor, deviceMinor };
  throw refused(path, `there is no device ${deviceMajor}:${deviceMinor}`);
}

// Attributes of overlayfs would change what layers show.
const isOverlays = (attribute: string): boolean => /^(trusted|user)\.overlay\./.test(attribute);

function checkXattrs({ path, xattrs }: SentEntry): CheckedEntry['xattrs'] {
  if (xattrs === undefined) return none;
  const kept = Object.entries(xattrs).filter(([name]) => !isOverlays(name));
  if (kept.length === 0) return none;
  const bytes = kept.reduce((total, [name, value]) => total + name.length + value.length, 0);
  if (bytes > MAX_XATTR_BYTES || kept.some(([name]) => name === '' || name.length > 255 || name.includes('\0')))
    throw refused(path, 'its extended attributes are too large, or have no name');
  return kept.map(([name, value]) => [toByteString(name), value] as const).sort(([a], [b]) => (a < b ? -1 : 1));
}
const none: CheckedEntry['xattrs'] = [];

export const refused = (path: string, problem: string): TareError =>
  new TareError('InvalidArgument', `the folder that was sent: ${JSON.stringify(path.slice(0, 300))}: ${problem}`);
