import { readFileSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';

/** Ids of the host that a user may map into namespaces of his own. */
export interface SubordinateRange {
  start: number;
  count: number;
}

/**
 * A user's ranges in the text of subuid(5) or subgid(5), whose lines are NAME:START:COUNT or UID:START:COUNT. Lines of another
 * form are left out, as newuidmap(1) does.
 */
export function parseSubordinate(text: string, username: string, uid: number): SubordinateRange[] {
  return text.split('\n').flatMap((line) => {
    const [owner = '', start = '', count = ''] = line.trim().split(':');
    const isMine = owner === String(uid) || (username !== '' && owner === username);
    if (!isMine || !/^\d{1,10}$/.test(start) || !/^\d{1,10}$/.test(count) || Number(count) === 0) return [];
    return [{ start: Number(start), count: Number(count) }];
  });
}

/** @throws {TareError} Unavailable: the user has none; says how to give him some */
export function readSubordinate(
  path: '/etc/subuid' | '/etc/subgid',
  username: string,
  uid: number,
): SubordinateRange[] {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const ranges = parseSubordinate(text, username, uid);
  if (ranges.length > 0) return ranges;
  const flag = path === '/etc/subuid' ? '--add-subuids' : '--add-subgids';
  throw new TareError(
    'Unavailable',
    `${path} has no ids for user ${username || uid}, which containers without root need: have root run 'usermod ${flag} 200000-265535 ${username || uid}' (any range that no other line has)`,
  );
}

/** Arguments of newuidmap(1): the user himself is root inside, and his further ids follow from 1 on. */
export function mapArguments(own: number, ranges: readonly SubordinateRange[]): string[] {
  const args = ['0', String(own), '1'];
  let inside = 1;
  for (const { start, count } of ranges) {
    args.push(String(inside), String(start), String(count));
    inside += count;
  }
  return args;
}
