/** Order of two Debian versions (deb-version(7), "Sorting algorithm"). Any text has a place in it. */
export function compareDpkg(a: string, b: string): number {
  const [x, y] = [parse(a), parse(b)];
  return x.epoch - y.epoch || comparePart(x.upstream, y.upstream) || comparePart(x.revision, y.revision);
}

function parse(version: string): { epoch: number; upstream: string; revision: string } {
  const [, epoch = '0', rest] = /^(?:(\d+):)?(.*)$/s.exec(version.trim())!;
  const dash = rest!.lastIndexOf('-');
  return {
    epoch: Number(epoch),
    upstream: dash === -1 ? rest! : rest!.slice(0, dash),
    revision: dash === -1 ? '' : rest!.slice(dash + 1),
  };
}

/** A tilde sorts before the end, letters before all else. */
function weight(character: string | undefined): number {
  if (character === undefined || isDigit(character)) return 0;
  if (character === '~') return -1;
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256;
}

const isDigit = (character: string | undefined): boolean =>
  character !== undefined && character >= '0' && character <= '9';

function comparePart(a: string, b: string): number {
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a[i])) || (j < b.length && !isDigit(b[j]))) {
      const difference = weight(a[i]) - weight(b[j]);
      if (difference !== 0) return difference;
      if (i < a.length && !isDigit(a[i])) i += 1;
      if (j < b.length && !isDigit(b[j])) j += 1;
    }
    const [endA, endB] = [endOfDigits(a, i), endOfDigits(b, j)];
    const difference = compareNumbers(a.slice(i, endA), b.slice(j, endB));
    if (difference !== 0) return difference;
    i = endA;
    j = endB;
  }
  return 0;
}

function endOfDigits(text: string, from: number): number {
  let end = from;
  while (isDigit(text[end])) end += 1;
  return end;
}

/** Order of two strings of digits of any length, an empty one being 0. */
export function compareNumbers(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : 0);
}
