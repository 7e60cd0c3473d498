import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  SyscallError,
  toByteString,
} from '../../linux/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { useCacheEntry } from '../cache/entries.ts';
import type { Operation, OperationContext } from '../operation.ts';
import type { Tree } from '../tree.ts';
import { isCommit, isRef, type Remote, remoteOf } from './git/remote.ts';
import { Git } from './git/run-git.ts';
import { type Attributes, refuseUnknown } from './source-attributes.ts';

const GIT_FOLDER = Buffer.from('.git');

/**
 * A repository's files at a commit. What was fetched of the repository stays for the next build; the tree is known by its commit.
 */
export function gitSource(parts: BuilderParts, identifier: string, attributes: Attributes): Operation {
  refuseUnknown('git source', attributes, [
    ...['git.fullurl', 'git.keepgitdir', 'git.authtokensecret', 'git.authheadersecret', 'git.mountsshsock'],
    ...['git.knownsshhosts', 'git.checksum', 'git.skipsubmodules'],
  ]);
  const remote = remoteOf(identifier, attributes);
  let found: Found | undefined;
  return {
    recordType: 'source.git.checkout',
    description: `git snapshot for ${remote.shown}`,
    usesSecrets: [remote.tokenSecret, remote.headerSecret, remote.sshAgent].some((id) => id !== undefined),
    cacheMap: async (context) => {
      found = await find(parts, remote, context);
      const { commit, name } = found;
      const { subdirectory, keepsGitDirectory, skipsSubmodules } = remote;
      const kept = keepsGitDirectory && name !== undefined ? [name] : [];
      const digest = digestOf(
        JSON.stringify(['git', commit, subdirectory, keepsGitDirectory, skipsSubmodules, ...kept]),
      );
      return { digest, dependencies: [], material: { kind: 'git', ref: remote.shown, digest: commit } };
    },
    run: async (_inputs, context) => {
      found ??= await find(parts, remote, context);
      return [await checkOut(parts, remote, found, context)];
    },
  };
}

/** What a name of the remote's stands for. */
interface Found {
  commit: string;
  /** The tag where it is an annotated one, else the commit. */
  object: string;
  /** Of a branch or a tag, in full; undefined: it was asked for as a commit, or in another way. */
  name: string | undefined;
}

/** @throws {TareError} NotFound; InvalidArgument: it is not the commit, or the annotated tag, that is wanted */
async function find(parts: BuilderParts, remote: Remote, context: OperationContext): Promise<Found> {
  const { checksum, ref } = remote;
  const found = isCommit(ref)
    ? { commit: ref, object: ref, name: undefined }
    : await askForCommit(parts, remote, context);
  const { commit, object } = found;
  if (checksum !== undefined && !commit.startsWith(checksum) && !object.startsWith(checksum))
    throw new TareError('InvalidArgument', `expected checksum to match ${checksum}, got ${commit} (${remote.shown})`);
  return found;
}

async function askForCommit(parts: BuilderParts, remote: Remote, context: OperationContext): Promise<Found> {
  await using git = await Git.open(parts, remote, context);
  const wanted = remote.ref === '' ? 'HEAD' : remote.ref;
  const answer = await git.run(['ls-remote', '--symref', '--', remote.url, wanted, `${wanted}^{}`]);
  const digests = new Map<string, string>();
  for (const line of answer.split('\n')) {
    const [digest = '', name] = line.split('\t');
    if (name !== undefined && isCommit(digest)) digests.set(name, digest);
  }
  // An annotated tag is an object of its own; its commit is beside it.
  const names = [wanted, `refs/heads/${wanted}`, `refs/tags/${wanted}`, `refs/${wanted}`];
  const name = names.find((one) => digests.has(one));
  if (name === undefined)
    throw new TareError('NotFound', `repository does not contain ref ${remote.ref || 'HEAD'} (${remote.shown})`);
  const object = digests.get(name)!;
  const commit = digests.get(`${name}^{}`) ?? object;
  const inFull = /^ref: (\S+)\tHEAD$/m.exec(name === 'HEAD' ? answer : '')?.[1] ?? name;
  context.progress.log(1, Buffer.from(`${commit}\t${inFull}\n`));
  return { commit, object, name: /^refs\/(?:heads|tags)\//.test(inFull) && isRef(inFull) ? inFull : undefined };
}

/** Fetches a commit into the repository that is kept for its remote, and makes a layer of its files. */
async function checkOut(
  parts: BuilderParts,
  remote: Remote,
  { commit, name }: Found,
  context: OperationContext,
): Promise<Tree> {
  const id = `git-${createHash('sha256').update(remote.url).digest('hex').slice(0, 32)}`;
  using _alone = await parts.locks.acquire(`build ${id}`, context.signal);
  const entry = {
    id,
    type: 'source.git.checkout',
    description: `shared git repo for ${remote.shownUrl}`,
    folder: join('sources', id),
  } as const;
  using use = await useCacheEntry(parts, entry);
  mkdirSync(use.path, { recursive: true, mode: 0o700 });
  await using git = await Git.open(parts, remote, context);
  const repository = join(use.path, 'repository.git');
  await clearLeftovers(use.path, repository);
  const keptName = remote.keepsGitDirectory ? name : undefined;
  // With an annotated tag comes an object that its commit alone does not bring.
  const kept = keptName?.startsWith('refs/tags/') ? `refs/tare/${commit}-${keptName}` : `refs/tare/${commit}`;
  if (!(await hasCommit(git, repository, kept))) {
    // What was cut off in the middle is begun anew.
    if (!existsSync(join(repository, 'HEAD'))) {
      await rm(repository, { recursive: true, force: true });
      await git.run(['init', '--bare', '--quiet', '--', repository]);
    }
    await fetchCommit(git, { repository, remote, commit, name, kept });
  }
  const key = `build-${id}`;
  await parts.layers.remove(key);
  await parts.layers.prepare(key, [], { isTransient: true, isBare: true });
  await using undo = new AsyncDisposableStack();
  undo.defer(() => parts.layers.remove(key));
  const work = await mkdtemp(join(use.path, 'work-'));
  undo.defer(() => rm(work, { recursive: true, force: true }));
  await fillWorkTree(git, { repository, work, kept, keptName, commit, remote });
  await moveInto(work, remote.subdirectory, parts.layers.files(key));
  const layer = await parts.layers.freeze(key);
  await use.record({ sizeBytes: await git.sizeOf(repository) });
  return { layers: [layer] };
}

/** What a git left that was killed: its locks would keep the next one out. Nobody else is at work here. */
async function clearLeftovers(folder: string, repository: string): Promise<void> {
  const remove = (path: string) => rm(path, { recursive: true, force: true });
  for (const name of await readdir(folder)) if (/^(work-|index\.tmp)/.test(name)) await remove(join(folder, name));
  if (!existsSync(repository)) return;
  for (const name of await readdir(repository)) if (name.endsWith('.lock')) await remove(join(repository, name));
  const refs = join(repository, 'refs');
  for (const name of existsSync(refs) ? await readdir(refs, { recursive: true }) : [])
    if (name.endsWith('.lock')) await remove(join(refs, name));
  const packs = join(repository, 'objects', 'pack');
  for (const name of existsSync(packs) ? await readdir(packs) : [])
    if (name.startsWith('tmp_')) await remove(join(packs, name));
}

async function hasCommit(git: Git, repository: string, kept: string): Promise<boolean> {
  if (!existsSync(join(repository, 'HEAD'))) return false;
  return await git.succeeds(['--git-dir', repository, 'cat-file', '-e', `${kept}^{tree}`]);
}

interface Fetch {
  repository: string;
  remote: Remote;
  commit: string;
  name: string | undefined;
  kept: string;
}

async function fetchCommit(git: Git, { repository, remote, commit, name, kept }: Fetch): Promise<void> {
  const fetch = (...what: string[]) =>
    git.run(['--git-dir', repository, 'fetch', '--quiet', '--no-tags', '--force', '--update-shallow', ...what]);
  const named = remote.ref === '' || isCommit(remote.ref) ? commit : (name ?? remote.ref);
  try {
    await fetch('--depth=1', '--', remote.url, `${named}:${kept}`);
  } catch (error) {
    git.signal.throwIfAborted();
    if (named !== commit) throw error;
    // A server that shows only what has a name: all of that, then.
    await git.run(['--git-dir', repository, 'fetch', '--quiet', '--force', '--', remote.url, '+refs/*:refs/remote/*']);
    await git.run(['--git-dir', repository, 'update-ref', kept, commit]);
  }
  const actual = (await git.run(['--git-dir', repository, 'rev-parse', '--verify', `${kept}^{commit}`])).trim();
  if (actual === commit) return;
  await git.run(['--git-dir', repository, 'update-ref', '-d', kept]);
  throw new TareError('Conflict', `${remote.shown} moved from ${commit} to ${actual} while it was fetched: try again`);
}

interface WorkTree {
  repository: string;
  work: string;
  kept: string;
  /** The branch or tag that its `.git` knows. */
  keptName: string | undefined;
  commit: string;
  remote: Remote;
}

async function fillWorkTree(git: Git, { repository, work, kept, keptName, commit, remote }: WorkTree): Promise<void> {
  const hasSubmodules =
    !remote.skipsSubmodules && (await git.succeeds(['--git-dir', repository, 'cat-file', '-e', `${kept}:.gitmodules`]));
  if (!remote.keepsGitDirectory && !hasSubmodules) {
    const index = { GIT_INDEX_FILE: join(work, '..', 'index.tmp') };
    await rm(index.GIT_INDEX_FILE, { force: true });
    await git.run(['--git-dir', repository, '--work-tree', work, 'checkout', '--quiet', '--force', kept, '--', '.'], {
      env: index,
      cwd: work,
    });
    await rm(index.GIT_INDEX_FILE, { force: true });
    return;
  }
  const local = { cwd: work };
  await git.run(['init', '--quiet', '--', work], local);
  const what = keptName === undefined ? kept : `${kept}:${keptName}`;
  const alone = ['--no-tags', '--depth=1', '--update-head-ok'];
  await git.run(['fetch', '--quiet', ...alone, '--', repository, what], { ...local, protocols: 'file' });
  await git.run(['checkout', '--quiet', '--force', '--detach', commit], local);
  await git.run(['remote', 'add', '--', 'origin', remote.shownUrl], local);
  if (hasSubmodules) await git.run(['submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1'], local);
  if (remote.keepsGitDirectory) {
    await rm(join(work, '.git', 'FETCH_HEAD'), { force: true });
    return;
  }
  await removeGitFolders(Buffer.from(work));
}

/** Also those of submodules: git keeps no file of that name itself. */
async function removeGitFolders(folder: Buffer): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
    const path = Buffer.concat([folder, Buffer.from('/'), entry.name]);
    if (entry.name.equals(GIT_FOLDER)) await rm(path, { recursive: true, force: true });
    else if (entry.isDirectory()) await removeGitFolders(path);
  }
}

/** Makes a folder of the work tree the root of a layer. */
async function moveInto(work: string, subdirectory: string, target: string): Promise<void> {
  const source = subdirectory === '' ? work : join(work, subdirectory);
  if (subdirectory !== '') {
    using root = new OpenFile(openAt(AT_FDCWD, toByteString(work), O_DIRECTORY));
    try {
      using _folder = new OpenFile(
        openAt2(root.fd, toByteString(subdirectory), O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS),
      );
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      throw new TareError('NotFound', `the repository has no folder ${JSON.stringify(subdirectory)}`, { cause: error });
    }
  }
  await chmod(source, 0o755);
  await rmdir(target);
  await rename(source, target);
}
