import type { VisibleFile } from '../../../storage/index.ts';
import type { FoundPackage } from '../package.ts';
import { bdbHeaders } from './bdb.ts';
import { rpmPackage } from './header.ts';
import { ndbHeaders } from './ndb.ts';
import { sqliteHeaders } from './sqlite.ts';

/** Where rpm keeps its database, by distribution and age. */
const place =
  /^(?:usr\/lib\/sysimage\/rpm|usr\/share\/rpm|var\/lib\/rpm)\/(rpmdb\.sqlite(?:-wal)?|Packages\.db|Packages)$/;

export const isRpmDatabase = (path: string): boolean => place.test(path);

/** Files of `isRpmDatabase` as databases, a write-ahead log with the one it belongs to. */
export function rpmDatabases(files: readonly VisibleFile[]): { file: VisibleFile; log?: VisibleFile }[] {
  return files
    .filter(({ path }) => !path.endsWith('-wal'))
    .map((file) => {
      const log = files.find(({ path }) => path === `${file.path}-wal`);
      return log === undefined ? { file } : { file, log };
    });
}

/** @throws {TareError} InvalidArgument: damaged */
export function* rpmPackages(
  { file, log }: { file: VisibleFile; log?: VisibleFile },
  onPath: (path: string, owner: string) => void,
): Generator<FoundPackage, void, void> {
  for (const header of headersOf(file, log)) {
    const found = rpmPackage(header, file.path, onPath);
    if (found !== undefined) yield found;
  }
}

function* headersOf(file: VisibleFile, log: VisibleFile | undefined): Generator<Buffer, void, void> {
  const { sizeBytes } = file.status();
  // An empty file is what a database that was never used, or moved elsewhere, leaves.
  if (sizeBytes === 0) return;
  if (file.path.endsWith('.sqlite')) {
    yield* sqliteHeaders(file, log);
    return;
  }
  using opened = file.open();
  yield* file.path.endsWith('.db')
    ? ndbHeaders(opened.fd, file.path, sizeBytes)
    : bdbHeaders(opened.fd, file.path, sizeBytes);
}
