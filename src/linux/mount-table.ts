import { readFileSync } from 'node:fs';

/** One line of /proc/PID/mountinfo (man proc_pid_mountinfo). */
export interface MountEntry {
  id: number;
  parentId: number;
  /** `major:minor` of the file system. */
  device: string;
  /** What of the file system is seen: its path from that file system's root. */
  root: string;
  path: string;
  options: string[];
  /** e.g. `shared:3`, `master:1`. */
  propagation: string[];
  type: string;
  source: string;
  superOptions: string[];
}

// The kernel escapes space, tab, newline and backslash as \ooo.
const unescaped = (field: string): string =>
  field.includes('\\')
    ? Buffer.from(
        Buffer.from(field, 'utf8')
          .toString('latin1')
          .replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
        'latin1',
      ).toString('utf8')
    : field;

/** Reads mountinfo text; lines that are not as documented are left out. */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    if (separator === -1 || fields.length < separator + 4) continue;
    const [id, parentId, device, root, path, options] = fields as [string, string, string, string, string, string];
    const [type, source, superOptions] = fields.slice(separator + 1) as [string, string, string];
    entries.push({
      id: Number(id),
      parentId: Number(parentId),
      device,
      root: unescaped(root),
      path: unescaped(path),
      options: options.split(','),
      propagation: fields.slice(6, separator),
      type,
      source: unescaped(source),
      superOptions: superOptions.split(','),
    });
  }
  return entries;
}

/** The mounts that a process sees, by default this one, in the order they were made. */
export const mountTable = (pid: number | 'self' = 'self'): MountEntry[] =>
  parseMountTable(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
