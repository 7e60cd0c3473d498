import { readSync, writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  changeMode,
  changeOwner,
  changeOwnerAt,
  changeTimes,
  changeTimesAt,
  fromByteString,
  makeDirectoryAt,
  makeLinkAt,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  OpenFile,
  openAt,
  openAt2,
  readDirectory,
  S_IFDIR,
  S_IFREG,
  SyscallError,
  statusIfAny,
  statusOf,
  toByteString,
  truncate,
} from '../../linux/index.ts';
import { decompress } from '../compression.ts';
import { compileNamePattern, hasWildcard, PatternMatcher } from '../patterns/index.ts';
import { TarParser } from '../tar/index.ts';
import { extractInto } from '../tree/extract-stream.ts';
import { parentOf } from '../tree/path.ts';
import { removeSteps } from '../tree/remove.ts';
import { FileCopier, type FolderDress } from './copy-files.ts';
import type { CopyAction, ExpectAction, FileAction, FileActionRequest, MadeFile } from './file-action.ts';
import { ensureFolder, fromRoot, joined, nameOf, openIfAny, resolved } from './in-root.ts';
import { parseMode } from './mode-change.ts';
import { ownerOf } from './owner.ts';

/** Steps between two looks at whether it is still wanted. */
const TURN_STEPS = 256;
const PIECE_BYTES = 256 * 1024;

const hasCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof SyscallError && codes.includes(error.code);

/**
 * Does actions to a tree, one after the other, by descriptors beneath its root. For threads.
 * @throws {TareError} InvalidArgument, NotFound: naming the path as seen from the root; earlier actions stay done
 */
export async function runFileActionsHere({ tree, actions }: FileActionRequest, signal: AbortSignal): Promise<void> {
  for (const action of actions) {
    if (action.type === 'copy') await copy(tree, action, signal);
    else await turning(steps(tree, action), signal);
  }
}

async function turning(work: Generator<void, void, void>, signal: AbortSignal): Promise<void> {
  let count = 0;
  for (const _ of work) {
    count += 1;
    if (count % TURN_STEPS !== 0) continue;
    await setImmediate(); // a cancellation comes in
    signal.throwIfAborted();
  }
}

function* steps(tree: number, action: Exclude<FileAction, CopyAction>): Generator<void, void, void> {
  if (action.type === 'mkdir') makeFolder(tree, action);
  else if (action.type === 'mkfile') makeFile(tree, action);
  else if (action.type === 'symlink') makeLink(tree, action);
  else if (action.type === 'expect') expectSources(tree, action);
  else yield* remove(tree, action);
}

/** Owner, mode and time of a folder that nothing but a path asks for. */
function dressMade(made: MadeFile, mode: number): (fd: number, name: ByteString) => void {
  const owner = ownerOf(made) ?? { uid: 0, gid: 0 };
  return (fd, name) => {
    using folder = new OpenFile(openAt(fd, name, O_DIRECTORY | O_NOFOLLOW));
    changeOwner(folder.fd, owner.uid, owner.gid);
    changeMode(folder.fd, mode);
    if (made.timeNs !== undefined) changeTimes(folder.fd, made.timeNs, made.timeNs);
  };
}

/** Makes folders, and gives them their times once all that goes into them is made. */
class Parents {
  readonly #tree: number;
  readonly #made: MadeFile;
  readonly dress: (fd: number, name: ByteString) => void;
  readonly #paths: ByteString[] = [];

  constructor(tree: number, made: MadeFile, mode: number) {
    this.#tree = tree;
    this.#made = made;
    this.dress = dressMade(made, mode);
  }

  ensure(path: ByteString): OpenFile {
    return ensureFolder(this.#tree, path, (fd, name, at) => {
      this.dress(fd, name);
      this.#paths.push(at);
    });
  }

  finish(): void {
    const { timeNs } = this.#made;
    if (timeNs === undefined) return;
    for (const path of this.#paths.reverse()) {
      using folder = openIfAny(this.#tree, path, O_DIRECTORY);
      if (folder !== undefined) changeTimesAt(folder.fd, '.', timeNs, timeNs);
    }
  }
}

function makeFolder(tree: number, action: Extract<FileAction, { type: 'mkdir' }>): void {
  const path = fromRoot(toByteString(action.path));
  if (path === '') return;
  const parents = new Parents(tree, action, action.mode & 0o7777);
  if (action.makesParents) {
    parents.ensure(path)[Symbol.dispose]();
    parents.finish();
    return;
  }
  const goal = resolved(tree, path);
  using around = openFolder(tree, parentOf(goal), 'mkdir', path);
  try {
    makeDirectoryAt(around.fd, nameOf(goal), 0o700);
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return;
    throw error;
  }
  dressMade(action, action.mode & 0o7777)(around.fd, nameOf(goal));
}

function makeFile(tree: number, action: Extract<FileAction, { type: 'mkfile' }>): void {
  const path = fromRoot(toByteString(action.path));
  const goal = resolved(tree, path);
  using around = openFolder(tree, parentOf(goal), 'open', path);
  const flags = O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK;
  using existing = openIfAny(around.fd, nameOf(goal));
  if (existing !== undefined && statusOf(existing.fd).type !== S_IFREG) {
    throw new TareError('InvalidArgument', `open /${fromByteString(path)}: it is there and no regular file`);
  }
  using file = new OpenFile(openAt(around.fd, nameOf(goal), flags, 0o600));
  truncate(file.fd, 0);
  for (let done = 0; done < action.data.length; ) done += writeSync(file.fd, action.data, done);
  const owner = ownerOf(action) ?? { uid: 0, gid: 0 };
  changeOwner(file.fd, owner.uid, owner.gid);
  changeMode(file.fd, action.mode & 0o7777);
  if (action.timeNs !== undefined) changeTimes(file.fd, action.timeNs, action.timeNs);
}

function makeLink(tree: number, action: Extract<FileAction, { type: 'symlink' }>): void {
  const path = fromRoot(toByteString(action.path));
  const folder = resolved(tree, parentOf(path));
  using around = openFolder(tree, folder, 'symlink', path);
  try {
    makeLinkAt(toByteString(action.target), around.fd, nameOf(path));
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    throw new TareError('InvalidArgument', `symlink ${action.target} /${fromByteString(path)}: file exists`);
  }
  const owner = ownerOf(action) ?? { uid: 0, gid: 0 };
  changeOwnerAt(around.fd, nameOf(path), owner.uid, owner.gid);
  if (action.timeNs !== undefined) changeTimesAt(around.fd, nameOf(path), action.timeNs, action.timeNs);
}

function* remove(tree: number, action: Extract<FileAction, { type: 'rm' }>): Generator<void, void, void> {
  const path = fromRoot(toByteString(action.path));
  const paths = action.allowsWildcard ? wildcardPaths(tree, path) : [path];
  for (const each of paths) {
    if (each === '') continue;
    using folder = openIfAny(tree, parentOf(each), O_DIRECTORY);
    const status = folder && statusIfAny(folder.fd, nameOf(each));
    if (folder === undefined || status === undefined) {
      if (action.allowsNothing) continue;
      throw new TareError('NotFound', `lstat /${fromByteString(each)}: no such file or directory`);
    }
    yield* removeSteps(folder.fd, nameOf(each));
  }
}

async function copy(tree: number, action: CopyAction, signal: AbortSignal): Promise<void> {
  const rest = { owner: ownerOf(action), timeNs: action.timeNs };
  const destination = fromRoot(toByteString(action.destination));
  const isFolderName = /(^|\/)\.?$/.test(action.destination);
  if (!action.makesParents) {
    using _there = openFolder(tree, parentOf(destination), 'failed to stat', destination);
  }
  const found = sourcesOf(action);
  if (found.length === 0) return;
  const patterns = (list: readonly string[]) => (list.length > 0 ? new PatternMatcher(list) : undefined);
  const mode = action.mode;
  const rules = {
    ...rest,
    mode: mode === undefined ? undefined : typeof mode === 'string' ? parseMode(mode) : () => mode & 0o7777,
    include: patterns(action.includePatterns),
    exclude: patterns(action.excludePatterns),
    replaces: action.replaces,
  };
  const around = new Parents(tree, action, 0o755);
  const { foldersMode } = action;
  const parents = foldersMode === undefined ? around : new Parents(tree, action, foldersMode);
  for (const written of found) {
    const path = action.followsLinks ? resolved(action.tree, written) : written;
    if (action.unpacks && (await unpack(action, path, destination, around))) continue;
    const copier = new FileCopier(tree, rules);
    const goal = { path: destination, isFolder: isFolderName, name: nameOf(written) };
    await turning(copyOne(tree, action, path, goal, copier, parents), signal);
  }
  parents.finish();
  if (around !== parents) around.finish();
}

/**
 * @param destination `isFolder`: it was written with a slash at its end; `name`: of what comes into a folder, '' for the root, which has none.
 * What a link led to has the link's name.
 */
function* copyOne(
  tree: number,
  action: CopyAction,
  source: ByteString,
  destination: { path: ByteString; isFolder: boolean; name: ByteString },
  copier: FileCopier,
  parents: Parents,
): Generator<void, void, void> {
  using from = openFolder(action.tree, parentOf(source), 'lstat', source);
  const name = source === '' ? '.' : nameOf(source);
  const status = statusIfAny(from.fd, name);
  if (status === undefined) throw notThere(source);
  parents.ensure(destination.isFolder ? destination.path : parentOf(destination.path))[Symbol.dispose]();
  const isFolder = status.type === S_IFDIR;
  let goal = resolved(tree, destination.path);
  {
    using there = openIfAny(tree, goal);
    const isThere = there !== undefined;
    const isFolderThere = isThere && statusOf(there.fd).type === S_IFDIR;
    if ((!action.contentsOnly && isFolder && isThere && destination.name !== '') || (!isFolder && isFolderThere)) {
      goal = joined(goal, destination.name);
    }
  }
  if (goal === '') {
    // Into the root itself.
    yield* copier.copy({ fd: from.fd, name }, { fd: tree, name: '.', path: '' });
    return;
  }
  using around = parents.ensure(parentOf(goal));
  const dress = action.contentsOnly ? dressOfContents(action, parents) : undefined;
  yield* copier.copy({ fd: from.fd, name }, { fd: around.fd, name: nameOf(goal), path: goal }, dress);
}

/** A folder of which only the contents are copied gives its time; the rest is as if somebody had made the new one. */
const dressOfContents =
  ({ timeNs, includePatterns }: CopyAction, parents: Parents): FolderDress =>
  ({ fd, name }, isNew, source) => {
    if (isNew) parents.dress(fd, name);
    if (includePatterns.length > 0) return;
    changeTimesAt(fd, name, timeNs ?? source.modifyNs, timeNs ?? source.modifyNs);
  };

/** @returns false: it is no archive */
async function unpack(
  action: CopyAction,
  source: ByteString,
  destination: ByteString,
  parents: Parents,
): Promise<boolean> {
  using found = openIfAny(action.tree, source);
  if (found === undefined || statusOf(found.fd).type !== S_IFREG) return false;
  using file = new OpenFile(openAt(AT_FDCWD, `/proc/self/fd/${found.fd}`, O_RDONLY));
  if (!(await isArchive(file.fd))) return false;
  using target = parents.ensure(destination);
  const owner = action.keepsUnpackedOwners === true ? undefined : ownerOf(action);
  await extractInto(target.fd, contentOf(file.fd), owner === undefined ? {} : { owner });
  return true;
}

async function* contentOf(fd: number): AsyncGenerator<Buffer, void, void> {
  for (let position = 0; ; ) {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    const size = readSync(fd, piece, 0, piece.length, position);
    if (size === 0) return;
    position += size;
    yield piece.subarray(0, size);
  }
}

/** Whether a file, inflated if need be, begins with a tar's entry. */
async function isArchive(fd: number): Promise<boolean> {
  const parser = new TarParser();
  try {
    for await (const piece of decompress(contentOf(fd))) {
      parser.push(piece);
      const step = parser.next();
      if (step !== 'more') return step === 'entry';
    }
  } catch (error) {
    if (error instanceof TareError) return false;
    throw error;
  }
  return false;
}

const notThere = (path: ByteString) =>
  new TareError('NotFound', `lstat /${fromByteString(path)}: no such file or directory`);

function expectSources(tree: number, action: ExpectAction): void {
  let count = 0;
  for (const each of action.sources) {
    for (const written of sourcesOf(each)) {
      const path = each.followsLinks ? resolved(each.tree, written) : written;
      using from = openFolder(each.tree, parentOf(path), 'lstat', path);
      if (path !== '' && statusIfAny(from.fd, nameOf(path)) === undefined) throw notThere(path);
      count += 1;
    }
  }
  if (count < 2) return;
  const destination = resolved(tree, fromRoot(toByteString(action.destination)));
  using there = openIfAny(tree, destination);
  if (there !== undefined && statusOf(there.fd).type !== S_IFDIR) {
    throw new TareError(
      'InvalidArgument',
      `cannot copy ${count} files to ${action.destination}: it is there, and no folder; name a folder, or copy one alone`,
    );
  }
  const parents = new Parents(tree, action, 0o755);
  parents.ensure(destination)[Symbol.dispose]();
  parents.finish();
}

/** As they are written, with patterns replaced by what they take. @throws {TareError} NotFound: nothing, unless that is allowed */
function sourcesOf({
  tree,
  source,
  allowsWildcard,
  allowsNothing = false,
}: Pick<CopyAction, 'tree' | 'source' | 'allowsWildcard'> & { allowsNothing?: boolean }): ByteString[] {
  const written = fromRoot(toByteString(source));
  const found = allowsWildcard ? wildcardPaths(tree, written) : [written];
  if (found.length === 0 && !allowsNothing) throw new TareError('NotFound', `${source} not found`);
  return found;
}

/** Paths that a pattern takes, sorted; links on the way to it lead where they lead inside the root. */
function wildcardPaths(tree: number, pattern: ByteString): ByteString[] {
  if (!hasWildcard(fromByteString(pattern))) return [pattern];
  const parts = pattern.split('/');
  const start = parts.findIndex((part) => hasWildcard(fromByteString(part)));
  const base = parts.slice(0, start).join('/');
  let folders = [base];
  const wanted = parts.slice(start);
  for (const [index, part] of wanted.entries()) {
    const fits = compileNamePattern(fromByteString(part));
    const next: ByteString[] = [];
    for (const folder of folders) {
      using opened = openIfAny(tree, folder, O_DIRECTORY | (index === 0 ? 0 : O_NOFOLLOW));
      if (opened === undefined) continue;
      for (const found of namesIn(opened.fd)) if (fits(fromByteString(found))) next.push(joined(folder, found));
    }
    folders = next.sort();
  }
  return folders;
}

function namesIn(fd: number): ByteString[] {
  using folder = new OpenFile(openAt(fd, '.', O_DIRECTORY));
  return readDirectory(folder.fd).map(({ name }) => name);
}

/** @param doing the word that the error begins with */
function openFolder(tree: number, path: ByteString, doing: string, about: ByteString): OpenFile {
  try {
    return new OpenFile(openAt2(tree, path || '.', O_DIRECTORY));
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error;
    const why = hasCode(error, 'ENOENT') ? 'no such file or directory' : 'not a directory';
    throw new TareError('NotFound', `${doing} /${fromByteString(about)}: ${why}`);
  }
}
