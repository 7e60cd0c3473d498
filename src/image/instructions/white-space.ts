/** What Go's `unicode.IsSpace` takes for a space; `\s` differs in two characters. */
export const SPACE = '\\t\\n\\v\\f\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const space = new RegExp(`^[${SPACE}]$`, 'u');
const outer = new RegExp(`^[${SPACE}]+`, 'u');

export function isSpace(character: string): boolean {
  // Nearly all characters are decided here, without the expression.
  return character === ' ' || (character >= '\t' && character <= '\r') || (character > '~' && space.test(character));
}

export function trimStart(text: string): string {
  return text.replace(outer, '');
}

/** Without a search from every space, which `/\s+$/` would do. */
export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1]!)) end -= 1;
  return text.slice(0, end);
}

export function trim(text: string): string {
  return trimStart(trimEnd(text));
}
