import type { LineRange } from './progress.ts';

/** How messages name what they are about. */
const NAMED = [
  /"((?:[^"\\]|\\.){1,500})"/g,
  /'([^']{1,500})'/g,
  /\b(?:secret|stage|stage:|platform|level|containerPort:|signal:|user) ([^\s:"']{1,500})/g,
  /^([^\s"']{1,500}): /g,
];
/** What a word goes on with. */
const PART = /[\w./@-]/;
const MAX_LENGTH = 4096;
/** Who made a definition may say that a vertex is of any lines; instructions have fewer. */
const MAX_LINES = 1_000;

/**
 * Where in a file's lines the word stands that a message is about, so that its column can be told.
 *
 * @param ranges whole lines; a part of a line is known already and stays
 * @returns the range of the word; the ranges, if no word of the message is found there, it is in doubt which, or they have over 1,000 lines
 */
export function rangesOfWord(ranges: readonly LineRange[], data: Uint8Array, message: string): readonly LineRange[] {
  if (ranges.some(({ start, end }) => start.character !== 0 || end.character !== 0)) return ranges;
  const counts = ranges.map(({ start, end }) => Math.max(end.line, start.line) - start.line + 1);
  if (counts.reduce((sum, count) => sum + count, 0) > MAX_LINES) return ranges;
  const texts = Buffer.from(data).toString('utf8').split('\n');
  const lines = ranges.flatMap(({ start }, at) =>
    Array.from({ length: counts[at]! }, (_, index) => start.line + index),
  );
  for (const word of wordsIn(message)) {
    const found = lines.flatMap((line) =>
      placesIn(texts[line - 1] ?? '', word).map((character) => ({ line, character })),
    );
    const [only] = found;
    if (only === undefined || found.length > 1) continue;
    return [{ start: only, end: { line: only.line, character: only.character + word.length } }];
  }
  return ranges;
}

/** Paths are told from a root that they are not written with. */
function wordsIn(message: string): Set<string> {
  const found = NAMED.flatMap((pattern) =>
    [...message.slice(0, MAX_LENGTH).matchAll(pattern)].map(([, word]) => plain(word!)),
  );
  return new Set(found.flatMap((word) => (word.startsWith('/') ? [word, word.slice(1)] : [word])).filter(Boolean));
}

/** Messages quote as JSON does. */
function plain(word: string): string {
  if (!word.includes('\\')) return word;
  try {
    return String(JSON.parse(`"${word}"`));
  } catch {
    return word;
  }
}

function placesIn(line: string, word: string): number[] {
  const places: number[] = [];
  const text = line.slice(0, MAX_LENGTH);
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const before = text[at - 1] ?? '';
    const after = text[at + word.length] ?? '';
    if (!PART.test(before) && !PART.test(after)) places.push(at);
  }
  return places;
}
