import type { VisibleFile } from '../../storage/index.ts';
import { linesOf, malformed, readWhole } from './foreign-file.ts';
import type { FoundPackage } from './package.ts';
import { type Stanza, stanzasOf } from './stanzas.ts';

const MAX_STATUS_BYTES = 256 * 1024 * 1024;
const MAX_LIST_BYTES = 64 * 1024 * 1024;
const MAX_COPYRIGHT_BYTES = 4 * 1024 * 1024;

/**
 * Installed packages from dpkg's status file or one of the files that distroless images have in `status.d`.
 *
 * @throws {TareError} InvalidArgument: too large, or it has paragraphs and none of them is a package's
 */
export function* debianPackages(file: VisibleFile): Generator<FoundPackage, void, void> {
  let stanzas = 0;
  let known = 0;
  for (const stanza of stanzasOf(linesOf(file, MAX_STATUS_BYTES))) {
    stanzas += 1;
    const name = stanza.get('package');
    if (name === undefined) continue;
    known += 1;
    const version = stanza.get('version');
    if (version === undefined || !isInstalled(stanza)) continue;
    yield {
      type: 'deb',
      name,
      version,
      architecture: stanza.get('architecture'),
      source: sourceOf(stanza, name, version),
      supplier: stanza.get('maintainer'),
    };
  }
  if (stanzas > 0 && known === 0) throw malformed(file.path, 'no package in it: it is no status file of dpkg');
}

/** Half-installed packages have files too; those with only their configuration left have none. */
function isInstalled(stanza: Stanza): boolean {
  const status = stanza.get('status');
  if (status === undefined) return true;
  return !['config-files', 'not-installed'].includes(status.split(/\s+/)[2] ?? '');
}

/** `Source: name (version)`, the version only where it differs. */
function sourceOf(stanza: Stanza, name: string, version: string): { name: string; version: string } {
  const [, source, own] = /^(\S+)(?:\s+\(([^)]*)\))?/.exec(stanza.get('source') ?? '') ?? [];
  // A binary rebuild has a suffix that its source has not (Debian policy, 5.6.12).
  return { name: source ?? name, version: own ?? version.replace(/\+b\d+$/, '') };
}

/** Paths that a package owns, from dpkg's `info/NAME.list`, without a leading slash. */
export function* debianPaths(list: VisibleFile): Generator<string, void, void> {
  for (const line of linesOf(list, MAX_LIST_BYTES)) yield line.replace(/^\/+/, '');
}

/** The package in the name of a `.list` file: `libc6:amd64.list` is libc6's. */
export const listedPackage = (path: string): string =>
  path
    .slice(path.lastIndexOf('/') + 1)
    .replace(/\.list$/, '')
    .replace(/:[^:]*$/, '');

/** Names of the licences in a machine-readable copyright file, or that it refers to; none in free text. */
export function copyrightLicenses(file: VisibleFile): string[] {
  const text = readWhole(file, MAX_COPYRIGHT_BYTES).toString('utf8');
  const names = new Set<string>();
  for (const [, value] of text.matchAll(/^License:[ \t]*(\S[^\n]*)$/gim)) {
    for (const name of value!.split(/\s+(?:and|or)\s+|\s*,\s*|\s*\|\s*/i)) {
      const clean = name.replace(/\s+with\s.*$/i, '').trim();
      if (/^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$/.test(clean)) names.add(clean);
    }
  }
  if (names.size === 0) {
    for (const [, name] of text.matchAll(/\/usr\/share\/common-licenses\/([A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9+])/g)) {
      names.add(name!.replace(/^(GPL|LGPL|GFDL)$/, '$1'));
    }
  }
  return [...names].sort().slice(0, 64);
}
