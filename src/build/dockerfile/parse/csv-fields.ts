import { TareError } from '../../../errors/index.ts';

/**
 * The fields of one line of comma-separated values; a field may be in double quotes, in which a doubled one is a quote.
 * @throws {TareError} InvalidArgument: nothing at all, or quotes that do not fit
 */
export function csvFields(text: string, what: string): string[] {
  const fail = (reason: string) => new TareError('InvalidArgument', `failed to parse csv ${what}: ${reason}`);
  if (text === '') throw fail('nothing is said');
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      let field = '';
      let from = at + 1;
      for (;;) {
        const quote = text.indexOf('"', from);
        if (quote < 0) throw fail(`an open quote in ${JSON.stringify(text)}`);
        field += text.slice(from, quote);
        from = quote + 2;
        if (text[quote + 1] !== '"') break;
        field += '"';
      }
      at = from - 1;
      if (at < text.length && text[at] !== ',') throw fail(`a quote within a field of ${JSON.stringify(text)}`);
      fields.push(field);
    } else {
      const comma = text.indexOf(',', at);
      const end = comma < 0 ? text.length : comma;
      const field = text.slice(at, end);
      if (field.includes('"')) throw fail(`a quote within a field of ${JSON.stringify(text)}`);
      fields.push(field);
      at = end;
    }
    if (at >= text.length) return fields;
    at += 1;
  }
}
