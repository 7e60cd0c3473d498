import type { CataloguedPackage, OsRelease, PackageType } from '../bom/package.ts';
import { normalPypiName } from './versions/pep440.ts';

/** What to look up for a package. */
export interface Lookup {
  ecosystem: string;
  name: string;
  version: string;
}

const languages: Partial<Record<PackageType, string>> = { npm: 'npm', pypi: 'PyPI', golang: 'Go', maven: 'Maven' };

const typeByBase: Record<string, PackageType> = {
  npm: 'npm',
  PyPI: 'pypi',
  Go: 'golang',
  Maven: 'maven',
  Debian: 'deb',
  Ubuntu: 'deb',
  Echo: 'deb',
  Alpine: 'apk',
  Wolfi: 'apk',
  Chainguard: 'apk',
  Alpaquita: 'apk',
  'BellSoft Hardened Containers': 'apk',
  MinimOS: 'apk',
  'Rocky Linux': 'rpm',
  AlmaLinux: 'rpm',
  'Red Hat': 'rpm',
  SUSE: 'rpm',
  openSUSE: 'rpm',
  Mageia: 'rpm',
  openEuler: 'rpm',
  'Photon OS': 'rpm',
  'Azure Linux': 'rpm',
};

/** Whose version rules an ecosystem of OSV follows; undefined: none that images are catalogued for. */
export function typeOfEcosystem(ecosystem: string): PackageType | undefined {
  const base = ecosystem.split(':', 1)[0]!;
  return Object.hasOwn(typeByBase, base) ? typeByBase[base] : undefined;
}

/** A package's name as the index has it. */
export const indexedName = (ecosystem: string, name: string): string =>
  ecosystem === 'PyPI' ? normalPypiName(name) : name;

/** Distributions whose advisories name source packages; those of the others name binary ones. */
const namesSources =
  /^(?:Debian|Ubuntu|Echo|Alpine|Wolfi|Chainguard|Alpaquita|BellSoft|MinimOS|SUSE|openSUSE|Mageia|openEuler)(?::|$)/;

/** The ecosystems that speak for a distribution's packages, as patterns of OSV's names. */
export function distributionPattern(os: OsRelease): RegExp | undefined {
  const escaped = os.versionId.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const major = /^\d+/.exec(os.versionId)?.[0] ?? '';
  const minor = /^\d+\.\d+/.exec(os.versionId)?.[0]?.replace('.', '\\.') ?? '';
  switch (os.id) {
    case 'debian':
      return major === '' ? undefined : new RegExp(`^Debian:${major}$`);
    case 'ubuntu':
      return new RegExp(`^Ubuntu:${escaped}(?::LTS)?$`);
    case 'alpine':
      // A version such as 3.21_alpha20240923 is the development branch.
      if (/_(?:alpha|beta|pre|git)/.test(os.versionId)) return /^Alpine:edge$/;
      return minor === '' ? undefined : new RegExp(`^Alpine:v${minor}$`);
    case 'wolfi':
      return /^Wolfi$/;
    case 'chainguard':
      return /^Chainguard$/;
    case 'rocky':
      return new RegExp(`^Rocky Linux(?::${major})?$`);
    case 'almalinux':
      return new RegExp(`^AlmaLinux(?::${major})?$`);
    case 'rhel':
      return new RegExp(`^Red Hat:[^:]+:${major}(?:\\.\\d+)?(?::|$)`);
    case 'opensuse-leap':
      return new RegExp(`^openSUSE:Leap ${escaped}$`);
    case 'opensuse-tumbleweed':
      return /^openSUSE:Tumbleweed$/;
    case 'sles':
    case 'sles_sap': {
      const [number, pack] = os.versionId.split('.');
      const release = `${number}${pack === undefined || pack === '0' ? '' : ` SP${pack}`}`.replaceAll(/[^\w ]/g, '');
      return new RegExp(
        `^SUSE:Linux Enterprise (?:Server|Module for .+|High Availability Extension)(?: for SAP Applications)? ${release}(?:-LTSS)?$`,
      );
    }
    case 'mageia':
      return new RegExp(`^Mageia:${major}$`);
    case 'openeuler':
      return new RegExp(`^openEuler:${escaped}(?:-LTS.*)?$`);
    case 'photon':
      return new RegExp(`^Photon OS:${escaped}$`);
    case 'azurelinux':
    case 'mariner':
      return new RegExp(`^Azure Linux:${major}$`);
    default:
      return undefined;
  }
}

/**
 * What to look up for a package, in the ecosystems that the database has.
 *
 * @param ofDistribution those that speak for the image's distribution
 */
export function lookupsOf(found: CataloguedPackage, ofDistribution: readonly string[]): Lookup[] {
  const language = languages[found.type];
  if (language !== undefined) {
    // A build from a working tree has no version to compare.
    if (found.version === '(devel)') return [];
    return [{ ecosystem: language, name: indexedName(language, found.name), version: found.version }];
  }
  const { name, version, source } = found;
  return ofDistribution.map((ecosystem) =>
    namesSources.test(ecosystem) && source !== undefined
      ? { ecosystem, name: source.name, version: source.version || version }
      : { ecosystem, name, version },
  );
}

/** The ecosystem of a language's packages. */
export const languageEcosystem = (type: PackageType): string | undefined => languages[type];
