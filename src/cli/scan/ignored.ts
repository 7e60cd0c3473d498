import { readFileSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';

const idPattern = /^[A-Za-z][A-Za-z0-9._:-]{2,127}$/;
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Ids to leave out, from options and a file of an id a line. `#` begins a comment; `until:YYYY-MM-DD` after an id is the last day
 * on which it is left out.
 *
 * @throws {TareError} InvalidArgument: a line that says something else, with its number
 */
export function ignoredIds(ids: readonly string[], file: string | undefined, today: Date): ReadonlySet<string> {
  const ignored = new Set<string>();
  for (const id of ids) {
    if (!idPattern.test(id))
      throw new TareError('InvalidArgument', `--ignore ${JSON.stringify(id)}: want an id such as CVE-2024-1234`);
    ignored.add(id);
  }
  if (file === undefined) return ignored;
  for (const [at, line] of readText(file).split(/\r?\n/).entries()) {
    const words = line.replace(/#.*$/, '').trim().split(/\s+/).filter(Boolean);
    const [id, until, ...more] = words;
    if (id === undefined) continue;
    const last = until === undefined ? undefined : dayOf(until);
    if (!idPattern.test(id) || more.length > 0 || (until !== undefined && last === undefined)) {
      throw new TareError(
        'InvalidArgument',
        `${file}:${at + 1}: want ID [until:YYYY-MM-DD] [# comment], not ${JSON.stringify(line)}`,
      );
    }
    if (last === undefined || today.toISOString().slice(0, 10) <= last) ignored.add(id);
  }
  return ignored;
}

function readText(file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= MAX_FILE_BYTES) return bytes.toString('utf8');
  } catch (error) {
    throw new TareError('InvalidArgument', `--ignore-file: ${(error as Error).message}`, { cause: error });
  }
  throw new TareError('InvalidArgument', `${file}: more than ${MAX_FILE_BYTES} bytes`);
}

function dayOf(text: string): string | undefined {
  const [, day] = /^until:(\d{4}-\d{2}-\d{2})$/.exec(text) ?? [];
  return day !== undefined && !Number.isNaN(Date.parse(`${day}T00:00:00Z`)) ? day : undefined;
}
