import { TareError } from '../../errors/index.ts';

/**
 * One record of comma-separated values, as Go's encoding/csv reads it: fields with commas or quotes stand in double quotes.
 *
 * @param what names the text in errors
 * @throws {TareError} InvalidArgument: quotes that do not close
 */
export function commaFields(text: string, what: string): string[] {
  const broken = () =>
    new TareError('InvalidArgument', `${what}: a quotation mark is misplaced in ${JSON.stringify(text)}`);
  const fields: string[] = [];
  let rest = text;
  for (;;) {
    const [whole, quoted, plain] = /^(?:"((?:[^"]|"")*)"|([^",]*))(?=,|$)/.exec(rest) ?? [];
    if (whole === undefined) throw broken();
    fields.push(quoted === undefined ? plain! : quoted.replaceAll('""', '"'));
    if (whole.length === rest.length) return fields;
    rest = rest.slice(whole.length + 1);
  }
}
