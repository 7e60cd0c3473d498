/*
 * Which ids of its own a user namespace has, from a map of /proc/self (user_namespaces(7)). Root in a container of another engine is in one
 * as an ordinary user is.
 */

/** The last of the ids from 0 on that a map has without a gap. @param map text of `uid_map` or `gid_map` */
export function lastMappedId(map: string): number {
  const ranges = map
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .sort(([a = 0], [b = 0]) => a - b);
  let next = 0;
  for (const [inside = 0, , count = 0] of ranges) if (inside === next) next += count;
  return Math.max(0, next - 1);
}

/** Whether the map is that of the machine's first user namespace: every id is itself. */
export const mapsEveryId = (map: string): boolean => /^\s*0\s+0\s+4294967295\s*$/.test(map);
