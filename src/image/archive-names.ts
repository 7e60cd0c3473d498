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

const outside = (name: string, what: string) =>
  new TareError('InvalidArgument', `${what}: ${JSON.stringify(name)} points outside of the archive`);

/** The folder of a name, '' at the top. */
export const folderOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('/')));
