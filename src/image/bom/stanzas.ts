/** Fields of one paragraph by their names in lower case. */
export type Stanza = Map<string, string>;

/** A field's lines are cut here: nothing that is read is longer. */
const MAX_FIELD = 64 * 1024;

/**
 * Paragraphs of `Name: value` lines, continued by lines that begin with a blank (RFC 822, deb822(5), PEP 566), separated by
 * empty lines. Lines that are neither are left out.
 */
export function* stanzasOf(lines: Iterable<string>): Generator<Stanza, void, void> {
  let stanza: Stanza = new Map();
  let last: string | undefined;
  for (const line of lines) {
    if (line.trim() === '') {
      if (stanza.size > 0) yield stanza;
      stanza = new Map();
      last = undefined;
    } else if (/^[ \t]/.test(line)) {
      const known = last === undefined ? undefined : stanza.get(last);
      if (known !== undefined && known.length < MAX_FIELD) stanza.set(last!, `${known}\n${line.trim()}`);
    } else {
      const colon = line.indexOf(':');
      if (colon <= 0 || colon > 256) continue;
      last = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      // A field that repeats (Classifier) is a list.
      const known = stanza.get(last);
      stanza.set(last, known === undefined ? value : known.length < MAX_FIELD ? `${known}\n${value}` : known);
    }
  }
  if (stanza.size > 0) yield stanza;
}
