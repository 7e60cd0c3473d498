import { readFileSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import { AT_FDCWD, O_RDONLY, OpenFile, openAt, S_IFREG, statusOf } from '../../linux/index.ts';
import type { MadeFile, OwnerName } from './file-action.ts';
import { openIfAny } from './in-root.ts';

/** More than any real list of users has. */
const LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * The ids that an action's owner means; a user without a group brings his own.
 * @returns undefined: it names none
 * @throws {TareError} InvalidArgument: a name that the tree does not have, and must
 */
export function ownerOf({ user, group }: MadeFile): { uid: number; gid: number } | undefined {
  if (user === undefined && group === undefined) return undefined;
  const [uid = 0, own = 0] =
    user === undefined ? [] : 'id' in user ? [user.id, user.id] : idsOf(user, 'passwd', 'user');
  const [gid = own] = group === undefined ? [] : 'id' in group ? [group.id] : idsOf(group, 'group', 'group');
  return { uid, gid };
}

/** Fields of a line are separated by colons: name, password, id, and for a user the id of his group. @returns none: it may be missing */
function idsOf({ name, tree, isOptional }: Extract<OwnerName, { name: string }>, file: string, what: string): number[] {
  for (const line of textIn(tree, `etc/${file}`).split('\n')) {
    const [found, , ...ids] = line.split(':');
    if (found !== name || !/^\d+$/.test(ids[0] ?? '')) continue;
    return ids.slice(0, 2).map((id) => (/^\d+$/.test(id) ? Number(id) : 0));
  }
  if (isOptional === true) return [];
  throw new TareError(
    'InvalidArgument',
    `unable to find ${what} ${name}: no matching entries in ${file} file; use its number, or a ${what} that the image has`,
  );
}

/** Whatever the tree has in the file's place: only a regular file is read. */
function textIn(tree: number, path: string): string {
  using found = openIfAny(tree, path);
  if (found === undefined) return '';
  const { type, sizeBytes } = statusOf(found.fd);
  if (type !== S_IFREG || sizeBytes > LIMIT_BYTES) return '';
  using file = new OpenFile(openAt(AT_FDCWD, `/proc/self/fd/${found.fd}`, O_RDONLY));
  return readFileSync(file.fd, 'utf8');
}
