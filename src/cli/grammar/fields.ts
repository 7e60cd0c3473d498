import { UsageError } from './usage-error.ts';

/**
 * One record of comma-separated values, as Go's encoding/csv reads it: fields with commas or quotes stand in double quotes.
 *
 * @throws {UsageError}: quotes that do not close
 */
export function splitFields(text: string): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      let field = '';
      for (at++; ; at++) {
        if (at >= text.length) throw new UsageError(`a quotation mark in ${JSON.stringify(text)} is not closed`);
        if (text[at] !== '"') field += text[at];
        else if (text[at + 1] === '"') field += text[at++];
        else break;
      }
      if (++at < text.length && text[at] !== ',')
        throw new UsageError(`text stands behind a closing quotation mark in ${JSON.stringify(text)}`);
      fields.push(field);
    } else {
      const comma = text.indexOf(',', at);
      const field = text.slice(at, comma < 0 ? undefined : comma);
      if (field.includes('"'))
        throw new UsageError(`a quotation mark stands inside a field of ${JSON.stringify(text)}`);
      fields.push(field);
      at += field.length;
    }
    if (at >= text.length) return fields;
    at++;
  }
}

/** `key=value`; value undefined without `=`. */
export function splitPair(text: string): [key: string, value: string | undefined] {
  const equals = text.indexOf('=');
  return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)];
}
