import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { kindOf, TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  fromByteString,
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
import { type MergedEntry, MergedFolder } from '../layers/merged-folder.ts';
import { opaqueAttribute } from '../layers/whiteouts.ts';
import { compileNamePattern, type FolderMatch, hasWildcard, PatternMatcher } from '../patterns/index.ts';
import { parentOf } from '../tree/path.ts';
import type { ContentRequest, ContentSelector } from './content-selector.ts';
import { digestHex, entryHeader, rootDigest } from './entry-digest.ts';
import { FileDigests } from './file-digests.ts';

/** Links in a row before they count as a loop. */
const LINKS = 40;
const TURN_STEPS = 256;
const NOTHING = digestHex(Buffer.alloc(0));

/** A folder of the tree, or an entry that is none. */
type Found = { path: ByteString; folder: MergedFolder | undefined; entry: MergedEntry | undefined };

/** The steps towards a digest, so that others get their turn. */
type Steps<T> = Generator<void, T, void>;

/**
 * A digest of parts of a tree: of names beneath each part, types, modes, owners, attributes, targets of links and contents; not
 * of times, nor of what a part without a pattern is itself called. Equal parts of other trees have the same, and BuildKit's has
 * (cache/contenthash), so that caches can be exchanged.
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
  const tree = new DigestedTree(root, request.root === undefined ? NOTHING : rootDigest(request.root), digests);
  const parts: string[] = [];
  let count = 0;
  for (const selector of request.selectors) {
    const steps = tree.digest(selector);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) {
      count += 1;
      if (count % TURN_STEPS !== 0) continue;
      await setImmediate(); // a cancellation comes in
      signal.throwIfAborted();
    }
    parts.push(step.value);
  }
  for (const known of digests.values()) known.save();
  return digestHex(Buffer.from(parts.join('\0')));
}

/** A path that filters or a pattern took. */
interface Taken {
  path: ByteString;
  entry: MergedEntry;
  /** A folder around it is taken. */
  isInner: boolean;
  digest: string;
}

/** A folder among whose contents something may be taken: then it is, too. */
interface Parent {
  isTaken: boolean;
  take(): void;
}

class DigestedTree {
  readonly #root: MergedFolder;
  readonly #rootHeader: string;
  readonly #digests: ReadonlyMap<number, FileDigests>;

  constructor(root: MergedFolder, rootHeader: string, digests: ReadonlyMap<number, FileDigests>) {
    this.#root = root;
    this.#rootHeader = rootHeader;
    this.#digests = digests;
  }

  *digest(selector: ContentSelector): Steps<string> {
    const path = fromRoot(toByteString(selector.path));
    for (const required of selector.requiredPaths ?? []) {
      this.#find(fromRoot(joined(path, toByteString(required))), false);
    }
    const { includePatterns = [], excludePatterns = [], followsLinks = false, allowsNothing = false } = selector;
    const isPattern = selector.isWildcard === true && hasWildcard(fromByteString(path));
    const isFiltered = includePatterns.length + excludePatterns.length > 0;
    if (!isPattern && !isFiltered) {
      // An empty tree has a root without anything.
      if (path === '' && this.#root.layerFds.length === 0) return NOTHING;
      return yield* this.#whole(allowsNothing ? this.#findAny(path, followsLinks) : this.#find(path, followsLinks));
    }
    const places = isPattern ? this.#matches(path) : [{ ...this.#find(path, false), path }];
    if (places.length === 0 && !allowsNothing) throw notFound(path);
    const patterns = (list: readonly string[]) => (list.length > 0 ? new PatternMatcher(list) : undefined);
    const rules = { include: patterns(includePatterns), exclude: patterns(excludePatterns) };
    const taken: Taken[] = [];
    for (const place of places) {
      if (place.entry !== undefined) yield* this.#take(place.entry, place.path, '', rules, undefined, [], taken);
      else yield* this.#takeFrom(place.folder!, '', '', rules, undefined, [], taken);
    }
    // Links inside a folder that is taken are taken as such.
    for (const one of taken.filter(({ entry, isInner }) => followsLinks && !isInner && entry.status.type === S_IFLNK)) {
      one.digest = yield* this.#whole(this.#find(one.path, true));
    }
    const [first, ...more] = taken;
    if (first === undefined) return NOTHING;
    if (more.length === 0 && nameOf(path) === nameOf(first.path)) return first.digest;
    const words = taken.map((one) => `${nameOf(one.path)}${one.digest}`);
    return digestHex(Buffer.from(words.join('\0'), 'latin1'));
  }

  *#whole(found: Found | undefined): Steps<string> {
    if (found === undefined) return NOTHING;
    if (found.entry === undefined) return yield* this.#folder(found.folder!, this.#rootHeader);
    return yield* this.#entry(found.entry);
  }

  *#entry(entry: MergedEntry): Steps<string> {
    yield;
    return entry.folder === undefined ? this.#header(entry) : yield* this.#folder(entry.folder, this.#header(entry));
  }

  *#folder(folder: MergedFolder, header: string): Steps<string> {
    const hash = createHash('sha256').update('\0').update(header);
    for (const entry of folder.entries()) {
      hash.update(`\0${entry.name}`, 'latin1').update(yield* this.#entry(entry));
    }
    return `sha256:${hash.digest('hex')}`;
  }

  /** Of the entry itself; of a file with its content. */
  #header(entry: MergedEntry): string {
    if (entry.status.type !== S_IFREG) return digestHex(entryHeader(entry));
    return `sha256:${this.#digests.get(entry.layerFd)!.of(entry).toString('hex')}`;
  }

  /** @param beneath the path from the place where the filters begin */
  *#take(
    entry: MergedEntry,
    path: ByteString,
    beneath: ByteString,
    rules: Rules,
    around: RuleStates | undefined,
    parents: readonly Parent[],
    taken: Taken[],
  ): Steps<void> {
    yield;
    const text = fromByteString(beneath);
    const included = rules.include?.enter(around?.include, text);
    const excluded = rules.exclude?.enter(around?.exclude, text);
    const self: Parent = {
      isTaken: false,
      take: () => {
        if (self.isTaken) return;
        self.isTaken = true;
        taken.push({ path, entry, isInner: parents.length > 0, digest: this.#header(entry) });
      },
    };
    if (included?.isMatched !== false && excluded?.isMatched !== true) {
      for (const parent of parents) parent.take();
      self.take();
    }
    if (entry.status.type !== S_IFDIR) return;
    if (excluded?.isMatched === true && !rules.exclude!.hasExceptions) return;
    const states = { include: included, exclude: excluded };
    yield* this.#takeFrom(entry.folder!, path, beneath, rules, states, [...parents, self], taken);
  }

  *#takeFrom(
    folder: MergedFolder,
    path: ByteString,
    beneath: ByteString,
    rules: Rules,
    around: RuleStates | undefined,
    parents: readonly Parent[],
    taken: Taken[],
  ): Steps<void> {
    for (const entry of folder.entries()) {
      const [whole, inner] = [joined(path, entry.name), joined(beneath, entry.name)];
      yield* this.#take(entry, whole, inner, rules, around, parents, taken);
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

  #findAny(path: ByteString, followsLast: boolean): Found | undefined {
    try {
      return this.#find(path, followsLast);
    } catch (error) {
      if (kindOf(error) === 'NotFound') return undefined;
      throw error;
    }
  }

  /** What a pattern takes, links as such. */
  #matches(pattern: ByteString): Found[] {
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
      const fits = compileNamePattern(fromByteString(part));
      places = places.flatMap(({ path, folder }) =>
        (folder?.entries() ?? [])
          .filter((entry) => fits(fromByteString(entry.name)))
          .map((entry) => ({ path: joined(path, entry.name), folder: entry.folder })),
      );
    }
    return places.map(({ path }) => ({ ...this.#find(path, false), path }));
  }
}

interface Rules {
  include: PatternMatcher | undefined;
  exclude: PatternMatcher | undefined;
}

interface RuleStates {
  include: FolderMatch | undefined;
  exclude: FolderMatch | undefined;
}

const nameOf = (path: ByteString): ByteString => path.slice(path.lastIndexOf('/') + 1);

const notFound = (path: ByteString): TareError =>
  new TareError('NotFound', `${JSON.stringify(`/${fromByteString(path)}`)}: not found`);
