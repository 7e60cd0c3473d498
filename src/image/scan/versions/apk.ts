import { compareNumbers } from './dpkg.ts';

/** Suffixes in their order; those below `''` come before the plain version (apk-package(5), "Package version"). */
const suffixes = ['alpha', 'beta', 'pre', 'rc', '', 'cvs', 'svn', 'git', 'hg', 'p'];
const plain = suffixes.indexOf('');

interface ApkVersion {
  numbers: string[];
  letter: string;
  suffixes: { rank: number; number: string }[];
  revision: string;
}

/** Order of two Alpine versions: `1.2.3b_rc1-r4`. What is no such version is compared by its runs of digits. */
export function compareApk(a: string, b: string): number {
  const [x, y] = [parse(a), parse(b)];
  return (
    compareDotted(x.numbers, y.numbers) ||
    (x.letter < y.letter ? -1 : x.letter > y.letter ? 1 : 0) ||
    compareSuffixes(x.suffixes, y.suffixes) ||
    compareNumbers(x.revision, y.revision)
  );
}

function parse(text: string): ApkVersion {
  const pattern = /^(\d+(?:\.\d+)*)([a-z]?)((?:_[a-z]+\d*)*)(?:~[0-9a-f]+)?(?:-r(\d+))?$/;
  const [, dotted, letter = '', rest = '', revision = ''] = pattern.exec(text.trim()) ?? [];
  if (dotted === undefined) return { numbers: text.match(/\d+/g) ?? [], letter: '', suffixes: [], revision: '' };
  const parsed = [...rest.matchAll(/_([a-z]+)(\d*)/g)].map(([, name, number]) => {
    const rank = suffixes.indexOf(name!);
    return { rank: rank === -1 ? plain : rank, number: number! };
  });
  return { numbers: dotted.split('.'), letter, suffixes: parsed, revision };
}

function compareDotted(a: string[], b: string[]): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [x, y] = [a[at], b[at]];
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    // After the first, a leading zero makes it a fraction: 1.01 is less than 1.1.
    const isFraction = at > 0 && (x.startsWith('0') || y.startsWith('0')) && x !== y;
    const difference = isFraction ? (x < y ? -1 : 1) : compareNumbers(x, y);
    if (difference !== 0) return difference;
  }
  return 0;
}

function compareSuffixes(a: ApkVersion['suffixes'], b: ApkVersion['suffixes']): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [x, y] = [a[at], b[at]];
    const difference = (x?.rank ?? plain) - (y?.rank ?? plain) || compareNumbers(x?.number ?? '', y?.number ?? '');
    if (difference !== 0) return difference;
  }
  return 0;
}
