import { TareError } from '../errors/index.ts';

/**
 * A name inside an archive as all names are compared: without a leading `./`, doubled slashes or `.` components.
 *
 * @param base folder that the name is relative to, for links
 * @throws {TareError} InvalidArgument: the name leaves the archive
 */
export function archiveName(name: string, what: string, base = ''): string {
  const parts: string[] = [];
  const components = `${base}/${name}`.split('/');
  for (const component of components) {
    if (component === '' || component === '.') continue;
    if (component === '..' && parts.pop() === undefined) throw outside(name, what);
    if (component !== '..') parts.push(component);
  }
  if (name.startsWith('/') || name.includes('\0')) throw outside(name, what);
  return parts.join('/');
}

const MAX_LINKS = 40;

/**
 * What an archive has under a name, through links if need be; undefined: nothing.
 *
 * @throws {TareError} InvalidArgument: the name leaves the archive, or goes through more than 40 links
 */
export function throughLinks<Entry>(
  name: string,
  entries: ReadonlyMap<string, Entry>,
  links: ReadonlyMap<string, string>,
  what: string,
): Entry | undefined {
  let current = archiveName(name, what);
  for (let hops = 0; hops < MAX_LINKS; hops += 1) {
    const entry = entries.get(current);
    if (entry !== undefined) return entry;
    const next = links.get(current);
    if (next === undefined) return undefined;
    current = next;
  }
  throw new TareError('InvalidArgument', `${what}: ${JSON.stringify(name)} goes through too many links`);
}

const outside = (name: string, what: string) =>
  new TareError('InvalidArgument', `${what}: ${JSON.stringify(name)} points outside of the archive`);

/** The folder of a name, '' at the top. */
export const folderOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('/')));
