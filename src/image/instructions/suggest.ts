const MAX_DISTANCE = 2;
/** Longer ones are no names that somebody mistyped. */
const MAX_WORD = 255;
/** Of more, only these are compared. */
const MAX_OPTIONS = 10_000;

/** Of several words that are as near, the first. @returns the option that was probably meant, when one is near enough */
export function suggestion(word: string, options: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = MAX_DISTANCE + 1;
  if (word.length > MAX_WORD) return undefined;
  let left = MAX_OPTIONS;
  for (const option of options) {
    if (left-- === 0) break;
    const distance = distanceOf(word, option, least);
    // It is one of them, so the error lies elsewhere.
    if (distance === 0) return undefined;
    if (distance < least) {
      best = option;
      least = distance;
    }
  }
  return best;
}

/** A message with `(did you mean …?)` when something is near. */
export function withSuggestion(message: string, word: string, options: Iterable<string>): string {
  const meant = suggestion(word, options);
  return meant === undefined ? message : `${message} (did you mean ${meant}?)`;
}

/** How many characters must be put in, left out or changed; as far as it is below a limit. */
function distanceOf(one: string, other: string, limit: number): number {
  if (Math.abs(one.length - other.length) >= limit) return limit;
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const change = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
    if (Math.min(...row) >= limit) return limit;
  }
  return row[other.length]!;
}
