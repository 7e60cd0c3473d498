import { compareApk } from './apk.ts';
import { compareDpkg } from './dpkg.ts';
import { compareMaven } from './maven.ts';
import { comparePep440 } from './pep440.ts';
import { compareRpm } from './rpm.ts';
import { compareGo, compareSemver } from './semver.ts';

/** Negative: `a` is older. Total: it never throws, whatever the texts are. */
export type CompareVersions = (a: string, b: string) => number;

const byType: Record<string, CompareVersions> = {
  deb: compareDpkg,
  apk: compareApk,
  rpm: compareRpm,
  npm: compareSemver,
  pypi: comparePep440,
  golang: compareGo,
  maven: compareMaven,
};

/** Versions are foreign text: longer ones are compared by their beginning. */
const MAX_VERSION = 256;

/** How versions of a package type are ordered. */
export function comparatorOf(type: string): CompareVersions {
  const compare = byType[type] ?? compareSemver;
  return (a, b) => compare(a.slice(0, MAX_VERSION), b.slice(0, MAX_VERSION));
}
