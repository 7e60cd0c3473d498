import { compareNumbers } from './dpkg.ts';

/** Order of two semantic versions (semver.org 2.0.0, 11), also of those with a `v`, or with fewer or more numbers than three. */
export function compareSemver(a: string, b: string): number {
  const [x, y] = [parse(a), parse(b)];
  for (let at = 0; at < Math.max(x.numbers.length, y.numbers.length); at += 1) {
    const difference = compareNumbers(x.numbers[at] ?? '', y.numbers[at] ?? '');
    if (difference !== 0) return difference;
  }
  return comparePrerelease(x.prerelease, y.prerelease);
}

/** Go's modules are semantic versions; its releases (`1.22rc1`) are not quite. */
export function compareGo(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => text.replace(/^(?:go)?(\d+(?:\.\d+)*)(rc|beta)(\d+)$/, '$1-$2.$3')) as [
    string,
    string,
  ];
  return compareSemver(x, y);
}

function parse(text: string): { numbers: string[]; prerelease: string[] } {
  const [, core, rest] = /^[\s=]*v?(\d+(?:\.\d+)*)?(.*)$/s.exec(text)!;
  const [prerelease] = rest!.split('+', 1);
  const parts = prerelease!.replace(/^[-.]/, '');
  return { numbers: core?.split('.') ?? [], prerelease: parts === '' ? [] : parts.split('.') };
}

function comparePrerelease(a: string[], b: string[]): number {
  if (a.length === 0 || b.length === 0) return b.length - a.length;
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [x, y] = [a[at], b[at]];
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    const [xIsNumber, yIsNumber] = [/^\d+$/.test(x), /^\d+$/.test(y)];
    if (xIsNumber !== yIsNumber) return xIsNumber ? -1 : 1;
    const difference = xIsNumber ? compareNumbers(x, y) : x < y ? -1 : x > y ? 1 : 0;
    if (difference !== 0) return difference;
  }
  return 0;
}
