import { compareNumbers } from './dpkg.ts';

/** PEP 440, appendix B, made linear: no two parts can match the same text. */
const pattern =
  /^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$/;

const preRanks: Record<string, number> = { a: 0, alpha: 0, b: 1, beta: 1, c: 2, rc: 2, pre: 2, preview: 2 };

interface Pep440 {
  epoch: string;
  release: string[];
  /** A release without one comes after all of them, but for one that is only a development release: before. */
  pre: [rank: number, number: string];
  post: string | undefined;
  dev: string | undefined;
  local: string[];
}

/** Order of two Python versions (PEP 440, "Summary of permitted suffixes and relative ordering"). What is none comes first. */
export function comparePep440(a: string, b: string): number {
  const [x, y] = [parse(a), parse(b)];
  if (x === undefined || y === undefined) {
    if (x !== undefined || y !== undefined) return x === undefined ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  return (
    compareNumbers(x.epoch, y.epoch) ||
    compareRelease(x.release, y.release) ||
    x.pre[0] - y.pre[0] ||
    compareNumbers(x.pre[1], y.pre[1]) ||
    compareOptional(x.post, y.post, -1) ||
    compareOptional(x.dev, y.dev, 1) ||
    compareLocal(x.local, y.local)
  );
}

function parse(text: string): Pep440 | undefined {
  const match = pattern.exec(text.trim().toLowerCase());
  if (match === null) return undefined;
  const [, epoch = '', release, preName, preNumber, dashed, postName, postNumber, devName, devNumber, local = ''] =
    match;
  const post = dashed ?? (postName === undefined ? undefined : postNumber!);
  const dev = devName === undefined ? undefined : devNumber!;
  const withoutPre = post === undefined && dev !== undefined ? -1 : 3;
  return {
    epoch,
    release: release!.split('.'),
    pre: preName === undefined ? [withoutPre, ''] : [preRanks[preName]!, preNumber!],
    post,
    dev,
    local: local === '' ? [] : local.split(/[-_.]/),
  };
}

function compareRelease(a: string[], b: string[]): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const difference = compareNumbers(a[at] ?? '', b[at] ?? '');
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @param absent how one without it compares with one that has it */
function compareOptional(a: string | undefined, b: string | undefined, absent: number): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? absent : -absent;
  return compareNumbers(a, b);
}

function compareLocal(a: string[], b: string[]): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const [x, y] = [a[at], b[at]];
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    const [xIsNumber, yIsNumber] = [/^\d+$/.test(x), /^\d+$/.test(y)];
    if (xIsNumber !== yIsNumber) return xIsNumber ? 1 : -1;
    const difference = xIsNumber ? compareNumbers(x, y) : x < y ? -1 : x > y ? 1 : 0;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** PEP 503: how an index spells a name. */
export const normalPypiName = (name: string): string => name.toLowerCase().replaceAll(/[-_.]+/g, '-');
