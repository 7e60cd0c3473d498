import { execFileSync } from 'node:child_process';
import { chmodSync, lchownSync, linkSync, lutimesSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DiskChange, DiskNode } from './disk-recording.ts';

/** A number from 0 to 1, without 1. */
export type Random = () => number;

const PAGE = 4096;

/**
 * What a disk may hold after power went, by the promises of POSIX and no more:
 *
 * - what came before a sync of the file, the folder or the file system is there;
 * - of the rest, a folder's names changed up to some point, each folder by itself; a move happens in both folders or in none;
 * - of what was written to a file any pages may be there, and where they are not the file may be short, or hold zeros;
 * - modes, owners, times and attributes may be there or not.
 *
 * @param at how many changes were made when power went
 * @returns for each of them, whether it reached the disk, and for writes which pages
 */
export function survivors(changes: readonly DiskChange[], at: number, random: Random): Map<DiskChange, Survivor> {
  const made = changes.slice(0, at);
  const synced = syncedOf(made);
  // Now and then nothing but what was synced, and now and then everything: then only the moment counts.
  const mood = random();
  const chance = mood < 0.2 ? 0 : mood < 0.4 ? 1 : random();
  const happens = () => random() < chance;
  const cutOf = () => (happens() ? at : chance === 0 ? -1 : Math.floor(random() * at));
  const cuts = new Map<DiskNode, number>();
  for (const change of made) {
    if ('folders' in change) for (const folder of change.folders) if (!cuts.has(folder)) cuts.set(folder, cutOf());
  }
  const fates = new Map<DiskNode, 'whole' | 'short' | 'zeros' | 'pages'>();
  const fateOf = (node: DiskNode) => {
    const fate =
      fates.get(node) ?? (happens() ? 'whole' : (['short', 'zeros', 'pages'] as const)[Math.floor(random() * 3)]!);
    fates.set(node, fate);
    return fate;
  };
  const shortAt = new Map<DiskNode, number>();
  const survived = new Map<DiskChange, Survivor>();
  for (const [index, change] of made.entries()) {
    if (synced.has(change)) survived.set(change, 'whole');
    else if ('folders' in change) {
      if (change.folders.every((folder) => index <= cuts.get(folder)!)) survived.set(change, 'whole');
      // What comes after it in these folders is lost as well.
      else for (const folder of change.folders) cuts.set(folder, Math.min(cuts.get(folder)!, index - 1));
    } else if (change.kind === 'write' || change.kind === 'truncate') {
      const { node } = change;
      const fate = fateOf(node);
      if (fate === 'short') {
        if (!shortAt.has(node)) shortAt.set(node, happens() ? index : Math.floor(random() * at));
        if (index < shortAt.get(node)!) survived.set(change, 'whole');
      } else if (fate === 'whole' || change.kind === 'truncate') survived.set(change, 'whole');
      else if (fate === 'zeros') survived.set(change, { pages: () => false });
      else {
        const kept = new Map<number, boolean>();
        const pages = (page: number): boolean => {
          if (!kept.has(page)) kept.set(page, random() < 0.5);
          return kept.get(page)!;
        };
        survived.set(change, { pages });
      }
    } else if (change.kind !== 'sync' && happens()) survived.set(change, 'whole');
  }
  return survived;
}

/** Whole, or a write of which some pages are there, and zeros in the others' place. */
export type Survivor = 'whole' | { pages: (page: number) => boolean };

/** The changes that a later sync made last. */
function syncedOf(made: readonly DiskChange[]): Set<DiskChange> {
  const synced = new Set<DiskChange>();
  const nodes = new Set<DiskNode>();
  let isAll = false;
  // Backwards: a change of a folder that lasts makes every earlier one of the same folder last.
  for (const change of made.toReversed()) {
    if (change.kind === 'sync') {
      if (change.node === undefined) isAll = true;
      else nodes.add(change.node);
    } else if ('folders' in change) {
      if (!isAll && !change.folders.some((folder) => nodes.has(folder))) continue;
      synced.add(change);
      for (const folder of change.folders) nodes.add(folder);
    } else if (isAll || nodes.has(change.node)) synced.add(change);
  }
  return synced;
}

interface Built extends Pick<DiskNode, 'mode' | 'uid' | 'gid' | 'modifySeconds' | 'bytes'> {
  xattrs: Map<string, Buffer>;
  names: Map<string, DiskNode>;
}

/**
 * Writes what survived to a new folder.
 *
 * @param leftOut names of files that are not worth having: what a program maps into memory is not recorded
 */
export function writeDisk(
  root: DiskNode,
  survived: ReadonlyMap<DiskChange, Survivor>,
  path: string,
  leftOut: RegExp,
): void {
  const state = new Map<DiskNode, Built>();
  const of = (node: DiskNode): Built => {
    let built = state.get(node);
    if (built === undefined) {
      const { mode, uid, gid, modifySeconds, bytes, names, xattrs } = node;
      built = { mode, uid, gid, modifySeconds, bytes, names: new Map(names), xattrs: new Map(xattrs) };
      state.set(node, built);
    }
    return built;
  };
  for (const [change, how] of survived) {
    if (change.kind === 'name') of(change.folders[0]).names.set(change.name, change.node);
    else if (change.kind === 'unname') of(change.folders[0]).names.delete(change.name);
    else if (change.kind === 'move') {
      of(change.folders[0]).names.delete(change.from);
      of(change.folders[1]).names.set(change.name, change.node);
    } else if (change.kind === 'write') of(change.node).bytes = written(of(change.node).bytes, change, how);
    else if (change.kind === 'truncate') of(change.node).bytes = resized(of(change.node).bytes, change.sizeBytes);
    else if (change.kind === 'set') Object.assign(of(change.node), change.what);
    else if (change.kind === 'setXattr') of(change.node).xattrs.set(change.key, change.value);
  }
  const placed = new Map<DiskNode, string>();
  const place = (node: DiskNode, at: string): void => {
    const known = placed.get(node);
    if (known !== undefined && node.type !== 'folder') {
      linkSync(known, at);
      return;
    }
    placed.set(node, at);
    const { mode, uid, gid, modifySeconds, bytes, names, xattrs } = of(node);
    if (node.type === 'folder') mkdirSync(at);
    else if (node.type === 'file') writeFileSync(at, bytes);
    else if (node.type === 'link') symlinkSync(node.target, at);
    else makeNode(at, node);
    lchownSync(at, uid, gid);
    if (node.type !== 'link') chmodSync(at, mode & 0o7777);
    for (const [key, value] of xattrs)
      execFileSync('setfattr', ['-h', '-n', key, '-v', `0x${value.toString('hex')}`, at]);
    for (const [name, child] of names) if (!leftOut.test(name)) place(child, join(at, name));
    lutimesSync(at, modifySeconds, modifySeconds);
  };
  place(root, path);
}

function written(bytes: Buffer, change: DiskChange & { kind: 'write' }, how: Survivor): Buffer {
  const end = change.offset + change.bytes.length;
  const result = resized(bytes, Math.max(bytes.length, end));
  if (how === 'whole') {
    change.bytes.copy(result, change.offset);
    return result;
  }
  for (let at = change.offset; at < end; ) {
    const page = Math.floor(at / PAGE);
    const next = Math.min(end, (page + 1) * PAGE);
    if (how.pages(page)) change.bytes.copy(result, at, at - change.offset, next - change.offset);
    at = next;
  }
  return result;
}

function resized(bytes: Buffer, sizeBytes: number): Buffer {
  const result = Buffer.alloc(sizeBytes);
  bytes.copy(result);
  return result;
}

const deviceTypes = new Map([
  [0o020000, 'c'],
  [0o060000, 'b'],
  [0o010000, 'p'],
]);

function makeNode(at: string, { mode, device }: DiskNode): void {
  const type = deviceTypes.get(mode & 0o170000);
  if (type === undefined) throw new Error(`cannot make ${at} of mode ${mode.toString(8)}`);
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & ~0xff);
  execFileSync('mknod', type === 'p' ? [at, 'p'] : [at, type, String(major), String(minor)]);
}
