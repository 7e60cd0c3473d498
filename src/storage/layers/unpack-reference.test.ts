import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_RDONLY,
  OpenFile,
  openAt,
  S_IFCHR,
  S_IFDIR,
  toByteString,
} from '../../linux/index.ts';
import { scratch } from '../scratch.fixture.ts';
import { defaultLimits } from '../tree/budget.ts';
import { removeTreeSync } from '../tree/remove.ts';
import { type ListedNode, listTree } from '../tree-listing.fixture.ts';
import { type ForeignEntry, foreignArchive, foreignArchives } from './foreign-archive.fixture.ts';
import { GnuTar } from './gnu-tar.fixture.ts';
import { unpackLayer } from './unpack.ts';

const given = process.env['TARE_ARCHIVES'];
const runs = Number(given ?? 300);
// `make test` repeats itself, `make soak` looks for what nobody has met.
const seed = Number(process.env['TARE_SEED'] ?? (given === undefined ? 1 : Date.now() % 1e9));

/**
 * Where the engine means to differ from GNU tar, and nowhere else:
 *
 * - `..` in the path of an entry or hard link is taken lexically, as docker does, not through links; so is all of a hard link's target;
 * - what leads out of the root by `..` is refused, GNU tar (in its root) stays in the root;
 * - a folder gives way to anything that is put in its place, GNU tar refuses when it is not empty, and
 *   leaves one that is a hard link to itself (GnuTar.extract);
 * - folders that no entry names are of root, 0755 and of 1970; GNU tar's are of now, and may have their folder's group;
 * - a folder has the mode that its entry says; GNU tar's may keep a set-group-id bit that it inherited;
 * - whiteouts become overlayfs' own, which GNU tar knows nothing of (`translated`). Where a layer names a folder both by
 *   itself and through a link, only one of the names makes it opaque, so that is not compared.
 */
function cleaned(path: string, always: boolean): string | undefined {
  if (!always && !path.split('/').includes('..')) return path;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined && !path.startsWith('/')) return undefined;
  }
  // A slash at the end makes a file a folder.
  return (parts.join('/') || '.') + (path.endsWith('/') ? '/' : '');
}

/** GNU tar forgets the attributes of a folder called `a/.`, and takes a root called `.` and `/` for two folders. */
const folderName = (path: string): string => (/^[./]+$/.test(path) ? '.' : path.replace(/(\/\.?)+$/, ''));

/** The archive as GNU tar is to see it; undefined: the engine has to refuse it. */
function forReference(entries: readonly ForeignEntry[]): ForeignEntry[] | undefined {
  const result: ForeignEntry[] = [];
  for (const entry of entries) {
    const path = cleaned(entry.path, false);
    const target = entry.kind === 'hardlink' ? cleaned(entry.target, true)?.replace(/\/$/, '') : entry.target;
    if (path === undefined || target === undefined) return undefined;
    // GNU tar takes a root that is a hard link to itself.
    if (entry.kind === 'hardlink' && folderName(path) === '.') return undefined;
    result.push({ ...entry, path: entry.kind === 'directory' ? folderName(path) : path, target });
  }
  return result;
}

const OPAQUE = { 'trusted.overlay.opaque': Buffer.from('y').toString('hex') };
const WHITEOUT = 'whiteout';
const S_ISGID = 0o2000;
const impliedFolder = { mode: 0o755, uid: 0, gid: 0 };

/** GNU tar's tree with its `.wh.` files turned into what they mean (image-spec, layer.md). */
function translated(tree: Map<string, ListedNode>): Map<string, ListedNode | typeof WHITEOUT> {
  const result = new Map<string, ListedNode | typeof WHITEOUT>(tree);
  for (const [path, node] of tree) {
    const slash = path.lastIndexOf('/') + 1;
    const name = path.slice(slash);
    if (!name.startsWith('.wh.')) continue;
    result.delete(path);
    const folder = path.slice(0, Math.max(0, slash - 1));
    const hidden = path.slice(0, slash) + name.slice('.wh.'.length);
    const of = name === '.wh..wh..opq' ? folder : hidden;
    const there = tree.get(of);
    if (there === undefined) result.set(of, WHITEOUT);
    else if (there.type === S_IFDIR) there.xattrs = { ...there.xattrs, ...OPAQUE };
    if (node.type === S_IFDIR) throw new Error(`the generator made a folder ${path}`);
  }
  return result;
}

/** A whiteout counts for the name it was written with: not for the same folder by way of a link. */
const goesThroughLinks = (entries: readonly ForeignEntry[]): boolean =>
  entries.some(({ kind }) => kind === 'link') && entries.some(({ path }) => path.includes('.wh.'));

function forgetOpaque(tree: Map<string, ListedNode | typeof WHITEOUT>): void {
  for (const node of tree.values()) if (node !== WHITEOUT) delete node.xattrs['trusted.overlay.opaque'];
}

/**
 * An entry that lies behind a link and comes in its place (`c` to `/`, then `c/c`): the engine puts it where the link led,
 * GNU tar removes the link and looks for the path again.
 */
const mayReplaceItsWay = (entries: readonly ForeignEntry[]): boolean => {
  const links = new Set<string>();
  return entries.some(({ kind, path }) => {
    const parts = path.split('/').filter((part) => !/^\.*$/.test(part));
    const last = parts.pop() ?? '';
    const replaces = links.has(last) && parts.includes(last);
    if (kind === 'link') links.add(last);
    return replaces;
  });
};

/** Both trees, with what is meant to differ taken out. */
function compared(
  ours: Map<string, ListedNode>,
  reference: Map<string, ListedNode | typeof WHITEOUT>,
  { startedNs, knowsFolderTimes }: { startedNs: bigint; knowsFolderTimes: boolean },
): { ours: Record<string, unknown>; reference: Record<string, unknown> } {
  // Times of archives here are long ago or far ahead.
  const isNew = (time: bigint): boolean => time >= startedNs && time < startedNs + 60_000_000_000n;
  const isImplied = (path: string): boolean => {
    const [mine, theirs] = [ours.get(path), reference.get(path)];
    return mine?.type === S_IFDIR && mine.modifyNs === 0n && typeof theirs === 'object' && isNew(theirs.modifyNs);
  };
  const inheritsGroupBit = (path: string): boolean => {
    const [mine, theirs] = [ours.get(path), reference.get(path)];
    const folder = reference.get(path.slice(0, Math.max(0, path.lastIndexOf('/'))));
    if (typeof theirs !== 'object' || typeof folder !== 'object' || theirs.type !== S_IFDIR) return false;
    return (folder.mode & theirs.mode & S_ISGID) !== 0 && ((mine?.mode ?? 0) & S_ISGID) === 0;
  };
  const plain = (tree: Map<string, ListedNode | typeof WHITEOUT>, isReference: boolean): Record<string, unknown> => {
    const result: Record<string, unknown> = {};
    const first = new Map<string, string>();
    for (const path of [...tree.keys()].sort()) {
      const node = tree.get(path)!;
      if (node === WHITEOUT || (node.type === S_IFCHR && node.device === '0:0')) {
        result[path] = WHITEOUT;
        continue;
      }
      // A marker may have been the first name of a file.
      if (!first.has(node.sameAs)) first.set(node.sameAs, path);
      const mode = isReference && inheritsGroupBit(path) ? node.mode & ~S_ISGID : node.mode;
      const same = { ...node, mode, sameAs: first.get(node.sameAs) };
      const isUnknown = node.type === S_IFDIR && (!knowsFolderTimes || (path === '' && isNew(node.modifyNs)));
      if (isImplied(path)) result[path] = { ...same, modifyNs: 'implied', ...(isReference ? impliedFolder : {}) };
      else result[path] = { ...same, modifyNs: isUnknown ? 'unknown' : node.modifyNs };
    }
    return result;
  };
  return { ours: plain(ours, false), reference: plain(reference, true) };
}

test(
  `${runs} archives give the tree that GNU tar makes of them, and touch nothing else (seed ${seed})`,
  async () => {
    using dir = scratch();
    mkdirSync(join(dir.path, 'reference'));
    await using reference = new GnuTar(join(dir.path, 'reference'));
    const ours = join(dir.path, 'ours');
    const diff = join(ours, 'diff');
    const outside = join(ours, 'outside');
    mkdirSync(outside, { recursive: true });
    for (const name of ['a', 'b', 'c', 'canary']) {
      mkdirSync(join(ours, name));
      for (const file of ['a', 'b', 'c', 'canary']) {
        writeFileSync(join(ours, name, file), file);
        if (name === 'a') writeFileSync(join(outside, file), file);
      }
    }
    const blob = join(dir.path, 'blob');
    const host = readdirSync('/').join();
    using folder = new OpenFile(openAt(AT_FDCWD, toByteString(ours), O_DIRECTORY));
    // The folder's own time changes with each root that is made in it.
    const guarded = () => new Map([...listTree(ours, ['diff'])].filter(([path]) => path !== ''));
    const before = guarded();
    const counts = { same: 0, refused: 0, odd: 0 };

    const property = fc.asyncProperty(foreignArchives(outside), async (entries) => {
      // File systems count time in ticks of a few milliseconds.
      const startedNs = BigInt(Date.now() - 100) * 1_000_000n;
      mkdirSync(diff);
      chmodSync(diff, 0o755);
      try {
        writeFileSync(blob, foreignArchive(entries));
        using file = new OpenFile(openAt(AT_FDCWD, toByteString(blob), O_RDONLY));
        const request = { compression: 'none', directory: diff, userXattrs: false, limits: defaultLimits } as const;
        const failure = await unpackLayer({ ...request, blob: { fd: file.fd } }).then(
          () => undefined,
          (error: unknown) => error,
        );
        expect(guarded()).toEqual(before);
        if (failure !== undefined) {
          expect(failure).toBeInstanceOf(TareError);
          expect(failure).toMatchObject({ kind: 'InvalidArgument' });
        }
        const asReference = forReference(entries);
        if (asReference === undefined) {
          expect(failure).toBeDefined();
          return;
        }
        const { isSound, knowsFolderTimes } = await reference.extract(asReference);
        const mine = listTree(diff);
        const wanted = translated(listTree(reference.root, [GnuTar.mountPoint]));
        if (goesThroughLinks(entries)) for (const tree of [mine, wanted]) forgetOpaque(tree);
        const both = compared(mine, wanted, { startedNs, knowsFolderTimes });
        const said = `ours: ${failure ?? 'unpacked'}; GNU tar: ${isSound ? 'unpacked' : reference.said}`;
        if (
          mayReplaceItsWay(entries) &&
          !isDeepStrictEqual([failure === undefined, both.ours], [isSound, both.reference])
        ) {
          counts.odd += 1;
          return;
        }
        expect({ isSound: failure === undefined, said }).toEqual({ isSound, said });
        if (failure === undefined) expect(both.ours).toEqual(both.reference);
        counts[failure === undefined ? 'same' : 'refused'] += 1;
      } finally {
        removeTreeSync(folder.fd, 'diff');
      }
    });
    await fc.assert(property, {
      numRuns: runs,
      seed,
      interruptAfterTimeLimit: 3_600_000,
      markInterruptAsFailure: true,
    });
    expect(readdirSync('/').join()).toBe(host);
    // Archives that are mostly refused would show little.
    expect(counts.same, JSON.stringify(counts)).toBeGreaterThan(runs / 4);
    expect(counts.odd, JSON.stringify(counts)).toBeLessThan(runs / 15);
  },
  60_000 + runs * 200,
);
