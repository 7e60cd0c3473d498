import { createHash, type Hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  fromByteString,
  getXattrAt,
  listXattrsAt,
  O_DIRECTORY,
  OpenFile,
  openAt,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  toByteString,
} from '../../linux/index.ts';
import { fromRoot, joined } from '../file-actions/in-root.ts';
import { hasWildcard, namePattern, PathPatterns, type PatternState } from '../file-actions/path-pattern.ts';
import { type MergedEntry, MergedFolder } from '../layers/merged-folder.ts';
import { opaqueAttribute } from '../layers/whiteouts.ts';
import { parentOf } from '../tree/path.ts';
import type { ContentRequest, ContentSelector } from './content-selector.ts';
import { FileDigests } from './file-digests.ts';

/** Links in a row before they count as a loop. */
const LINKS = 40;
const TURN_STEPS = 256;

/** A folder of the tree, or an entry that is none. */
type Found = { path: ByteString; folder: MergedFolder | undefined; entry: MergedEntry | undefined };

/**
 * A digest of parts of a tree: of names beneath each part, types, modes, owners, attributes, targets of links and contents; not
 * of times, nor of what the part itself is called. Equal parts of other trees have the same.
 *
 * @throws {TareError} NotFound: a part is not there
 */
export async function contentDigestHere(request: ContentRequest, signal: AbortSignal): Promise<string> {
  using opened = new DisposableStack();
  const digests = new Map<number, FileDigests>();
  const fds = request.layers.map(({ files, index }) => {
    const { fd } = opened.use(new OpenFile(openAt(AT_FDCWD, toByteString(files), O_DIRECTORY)));
    digests.set(fd, new FileDigests(index));
    return fd;
  });
  const root = new MergedFolder(fds, opaqueAttribute(request.userXattrs));
  const tree = new DigestedTree(root, digests);
  const hash = createHash('sha256');
  let count = 0;
  for (const selector of request.selectors) {
    for (const _ of tree.select(selector, hash)) {
      count += 1;
      if (count % TURN_STEPS !== 0) continue;
      await setImmediate(); // a cancellation comes in
      signal.throwIfAborted();
    }
  }
  for (const known of digests.values()) known.save();
  return `sha256:${hash.digest('hex')}`;
}

class DigestedTree {
  readonly #root: MergedFolder;
  readonly #digests: ReadonlyMap<number, FileDigests>;

  constructor(root: MergedFolder, digests: ReadonlyMap<number, FileDigests>) {
    this.#root = root;
    this.#digests = digests;
  }

  *select(selector: ContentSelector, hash: Hash): Generator<void, void, void> {
    const path = fromRoot(toByteString(selector.path));
    const patterns = (list: readonly string[] | undefined) => (list?.length ? new PathPatterns(list) : undefined);
    const rules = { include: patterns(selector.includePatterns), exclude: patterns(selector.excludePatterns) };
    const isPattern = selector.isWildcard === true && hasWildcard(fromByteString(path));
    const found = isPattern ? this.#matches(path, selector) : [this.#find(path, selector.followsLinks === true)];
    if (found.length === 0 && !selector.allowsNothing) throw notFound(path);
    for (const required of selector.requiredPaths ?? []) {
      const beneath = fromRoot(joined(path, toByteString(required)));
      this.#find(beneath, false);
    }
    field(hash, String(found.length));
    for (const each of found) {
      // Which of several it is decides its name at the destination.
      field(hash, isPattern ? each.path.slice(each.path.lastIndexOf('/') + 1) : '');
      if (each.entry === undefined) yield* this.#children(each.folder!, '', hash, rules, undefined, undefined);
      else yield* this.#entry(each.entry, '', hash, rules, undefined, undefined);
    }
  }

  /** @throws {TareError} NotFound */
  #find(path: ByteString, followsLast: boolean): Found {
    let now = path;
    for (let links = 0; links <= LINKS; links += 1) {
      const next = this.#step(now, followsLast);
      if (next === undefined) throw notFound(path);
      if (typeof next !== 'string') return next;
      now = next;
    }
    throw notFound(path);
  }

  /** @returns a path in which the first link is replaced by where it leads */
  #step(path: ByteString, followsLast: boolean): Found | ByteString | undefined {
    if (path === '') return { path, folder: this.#root, entry: undefined };
    const parts = path.split('/');
    let folder: MergedFolder | undefined = this.#root;
    let entry: MergedEntry | undefined;
    for (const [index, name] of parts.entries()) {
      entry = folder?.lookup(name);
      if (entry === undefined) return undefined;
      const isLast = index === parts.length - 1;
      if (entry.status.type === S_IFLNK && (!isLast || followsLast)) {
        const target = readLinkAt(entry.layerFd, entry.path);
        const base = target.startsWith('/') ? target : joined(parentOf(entry.path), target);
        return fromRoot([base, ...parts.slice(index + 1)].join('/'));
      }
      folder = entry.folder;
    }
    return { path, folder, entry };
  }

  #matches(pattern: ByteString, { followsLinks = false }: ContentSelector): Found[] {
    const parts = pattern.split('/');
    const start = parts.findIndex((part) => hasWildcard(fromByteString(part)));
    const base = parts.slice(0, start).join('/');
    let places: { path: ByteString; folder: MergedFolder | undefined }[];
    try {
      places = [{ path: base, folder: this.#find(base, true).folder }];
    } catch {
      return [];
    }
    for (const part of parts.slice(start)) {
      const name = namePattern(fromByteString(part));
      places = places.flatMap(({ path, folder }) =>
        (folder?.entries() ?? [])
          .filter((entry) => name.test(fromByteString(entry.name)))
          .map((entry) => ({ path: joined(path, entry.name), folder: entry.folder })),
      );
    }
    return places.map(({ path }) => ({ ...this.#find(path, followsLinks), path }));
  }

  *#entry(
    entry: MergedEntry,
    path: ByteString,
    hash: Hash,
    rules: Rules,
    include: PatternState | undefined,
    exclude: PatternState | undefined,
  ): Generator<void, boolean, void> {
    const text = fromByteString(path);
    const included = path === '' ? undefined : rules.include?.take(text, include);
    const excluded = path === '' ? undefined : rules.exclude?.take(text, exclude);
    const isTaken = included?.isTaken !== false && excluded?.isTaken !== true;
    if (entry.status.type !== S_IFDIR) {
      if (isTaken) this.#tell(entry, path, hash);
      yield;
      return isTaken;
    }
    if (excluded?.isTaken === true && !rules.exclude!.hasExceptions) return false;
    const inner = createHash('sha256');
    const isAny = yield* this.#children(entry.folder!, path, inner, rules, included?.state, excluded?.state);
    if (!isTaken && !isAny) return false;
    this.#tell(entry, path, hash);
    hash.update(inner.digest());
    return true;
  }

  *#children(
    folder: MergedFolder,
    path: ByteString,
    hash: Hash,
    rules: Rules,
    include: PatternState | undefined,
    exclude: PatternState | undefined,
  ): Generator<void, boolean, void> {
    let isAny = false;
    for (const entry of folder.entries()) {
      if (yield* this.#entry(entry, joined(path, entry.name), hash, rules, include, exclude)) isAny = true;
    }
    return isAny;
  }

  #tell({ status, layerFd, path: place }: MergedEntry, path: ByteString, hash: Hash): void {
    field(hash, path.slice(path.lastIndexOf('/') + 1));
    field(hash, `${status.mode} ${status.uid} ${status.gid} ${status.deviceMajor}:${status.deviceMinor}`);
    for (const key of listXattrsAt(layerFd, place)) {
      if (/^(trusted|user)\.overlay\.|^security\.selinux$/.test(key)) continue;
      const value = getXattrAt(layerFd, place, key);
      if (value !== undefined) field(hash, `${key}=${value.toString('latin1')}`);
    }
    if (status.type === S_IFLNK) field(hash, readLinkAt(layerFd, place));
    if (status.type === S_IFREG) hash.update(this.#digests.get(layerFd)!.of(layerFd, place, status));
    field(hash, '');
  }
}

interface Rules {
  include: PathPatterns | undefined;
  exclude: PathPatterns | undefined;
}

/** With its length, so that no two lists of fields give the same bytes. */
function field(hash: Hash, text: ByteString): void {
  hash.update(`${text.length}:${text}`, 'latin1');
}

const notFound = (path: ByteString): TareError =>
  new TareError('NotFound', `${JSON.stringify(`/${fromByteString(path)}`)}: not found`);
