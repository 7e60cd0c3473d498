import { compareNumbers } from './dpkg.ts';

/** Order of two `[epoch:]version[-release]` (rpm, "rpmvercmp"); a release counts only where both have one. */
export function compareRpm(a: string, b: string): number {
  const [x, y] = [parse(a), parse(b)];
  const byVersion = compareNumbers(x.epoch, y.epoch) || rpmvercmp(x.version, y.version);
  if (byVersion !== 0) return byVersion;
  return x.release === undefined || y.release === undefined ? 0 : rpmvercmp(x.release, y.release);
}

function parse(text: string): { epoch: string; version: string; release: string | undefined } {
  const [, epoch = '0', rest] = /^(?:(\d+):)?(.*)$/s.exec(text.trim())!;
  const dash = rest!.lastIndexOf('-');
  return dash === -1
    ? { epoch, version: rest!, release: undefined }
    : { epoch, version: rest!.slice(0, dash), release: rest!.slice(dash + 1) };
}

/** Runs of digits or letters, compared one by one; what stands between them only separates, but for `~` and `^`. */
function rpmvercmp(a: string, b: string): number {
  if (a === b) return 0;
  const token = /~|\^|\d+|[A-Za-z]+/g;
  const [left, right] = [a.match(token) ?? [], b.match(token) ?? []];
  for (let at = 0; ; at += 1) {
    const [x, y] = [left[at], right[at]];
    // A tilde sorts before everything, also the end; a caret after the end and before all else.
    if (x === '~' || y === '~') {
      if (x !== y) return x === '~' ? -1 : 1;
      continue;
    }
    if (x === '^' || y === '^') {
      if (x === y) continue;
      if (x === undefined) return -1;
      if (y === undefined) return 1;
      return x === '^' ? -1 : 1;
    }
    if (x === undefined || y === undefined) return x === y ? 0 : x === undefined ? -1 : 1;
    const [xIsNumber, yIsNumber] = [/^\d/.test(x), /^\d/.test(y)];
    if (xIsNumber !== yIsNumber) return xIsNumber ? 1 : -1;
    const difference = xIsNumber ? compareNumbers(x, y) : x < y ? -1 : x > y ? 1 : 0;
    if (difference !== 0) return difference;
  }
}
