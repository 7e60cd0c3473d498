import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type EntryParts, entryFolders, forgetEntry, removeFolder, tryLockEntry } from './entries.ts';

/** What is written beside its place, to take it in one step: `NAME.new…`, `index.tmp`, `work-…` of a repository. */
const DRAFT = /\.new(-[0-9a-f]+)?$|\.tmp(\.lock)?$|^work-/;

/**
 * Removes folders that no record has, drafts in those that stay, and records whose folder was never made. What anybody uses, in any
 * process, is locked and left alone.
 */
export async function sweepFolders(parts: EntryParts): Promise<void> {
  const recorded = recordedFolders(parts);
  for (const { parent, name, id } of entryFolders(parts)) {
    using lock = tryLockEntry(parts, id, 'exclusive');
    if (lock === undefined) continue;
    const folder = join(parent, name);
    // Read again: it may have been recorded before it was locked.
    if (!recorded.has(folder) && !recordedFolders(parts).has(folder)) await removeFolder(parts, folder);
    else await removeDrafts(join(parts.directory, folder));
    lock.remove();
  }
  for (const [folder, id] of recorded) {
    if (existsSync(join(parts.directory, folder))) continue;
    using lock = tryLockEntry(parts, id, 'exclusive');
    if (lock === undefined || existsSync(join(parts.directory, folder))) continue;
    await forgetEntry(parts, id);
    lock.remove();
  }
}

/** Ids by folder. */
const recordedFolders = ({ db }: EntryParts): Map<string, string> =>
  new Map(
    db
      .all<{ id: string; folder: string }>('SELECT id, folder FROM build_records WHERE folder IS NOT NULL')
      .map(({ id, folder }) => [folder, id]),
  );

/** A cache mount's folder is the user's, and nothing in it is a draft. */
async function removeDrafts(folder: string): Promise<void> {
  if (!folder.includes('/sources/')) return;
  for (const name of readdirSync(folder)) {
    if (DRAFT.test(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}
