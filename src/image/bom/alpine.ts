import type { VisibleFile } from '../../storage/index.ts';
import { linesOf, malformed } from './foreign-file.ts';
import type { FoundPackage } from './package.ts';

const MAX_DATABASE_BYTES = 256 * 1024 * 1024;

/**
 * Installed packages of apk's database (`lib/apk/db/installed`; Alpine wiki, "Apk spec"): lines of a letter, a colon and a
 * value, an empty line after each package.
 *
 * @param onPath called with each path that a package owns, which come after its name
 * @throws {TareError} InvalidArgument: too large, or it has lines and none of them names a package
 */
export function* alpinePackages(
  file: VisibleFile,
  onPath: (path: string, owner: string) => void,
): Generator<FoundPackage, void, void> {
  let fields = new Map<string, string>();
  let folder = '';
  let lines = 0;
  let packages = 0;
  const finish = (): FoundPackage | undefined => {
    const [name, version] = [fields.get('P'), fields.get('V')];
    const found: FoundPackage | undefined =
      name === undefined || version === undefined
        ? undefined
        : {
            type: 'apk',
            name,
            version,
            architecture: fields.get('A'),
            source: { name: fields.get('o') || name, version },
            licenses: fields.get('L') ? [fields.get('L')!] : [],
            supplier: fields.get('m'),
          };
    fields = new Map();
    if (found !== undefined) packages += 1;
    return found;
  };
  for (const line of linesOf(file, MAX_DATABASE_BYTES)) {
    if (line === '') {
      const found = finish();
      if (found !== undefined) yield found;
      continue;
    }
    lines += 1;
    if (line[1] !== ':') continue;
    const [key, value] = [line[0]!, line.slice(2)];
    if (key === 'F') folder = value;
    else if (key === 'R') onPath(folder === '' ? value : `${folder}/${value}`, fields.get('P') ?? '');
    else if ('PVAoLm'.includes(key)) fields.set(key, value);
  }
  const last = finish();
  if (last !== undefined) yield last;
  if (lines > 0 && packages === 0) throw malformed(file.path, 'no package in it: it is no database of apk');
}
