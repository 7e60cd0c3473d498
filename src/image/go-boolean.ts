/**
 * A boolean as Go reads it: `1`, `t`, `true`, `0` …, lower case, upper case or capitalized.
 *
 * @returns undefined: the text is none
 * @see Go, strconv.ParseBool
 */
export function parseGoBoolean(text: string): boolean | undefined {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
  return undefined;
}
