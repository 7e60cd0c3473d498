import { goText } from './text.ts';

/** Go's fmt.Sprintf for %v %s %d %q %t %f %x %c %%, with flags, width and precision; an error is shown in the text as Go does. */
export function printf(format: string, values: readonly unknown[]): string {
  let next = 0;
  const text = format.replace(
    /%([-+0 #]*)(\d{0,4})(?:\.(\d{0,4}))?([a-zA-Z%])/g,
    (_, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      if (next >= values.length) return `%!${verb}(MISSING)`;
      const value = values[next++];
      const body = render(verb, value, precision, flags);
      const length = Number(width || 0);
      if (flags.includes('-')) return body.padEnd(length);
      return body.padStart(length, flags.includes('0') && typeof value === 'number' ? '0' : ' ');
    },
  );
  if (next >= values.length) return text;
  return `${text}%!(EXTRA ${values
    .slice(next)
    .map((value) => `${typeName(value)}=${goText(value)}`)
    .join(', ')})`;
}

function render(verb: string, value: unknown, precision: string | undefined, flags: string): string {
  const wrong = () => `%!${verb}(${typeName(value)}=${goText(value)})`;
  switch (verb) {
    case 'v':
    case 's': {
      const text = goText(value);
      return precision === undefined ? text : [...text].slice(0, Number(precision)).join('');
    }
    case 'q':
      return JSON.stringify(goText(value));
    case 't':
      return typeof value === 'boolean' ? String(value) : wrong();
    case 'd':
      if (typeof value !== 'number') return wrong();
      return `${flags.includes('+') && value >= 0 ? '+' : ''}${Math.trunc(value)}`;
    case 'f':
      return typeof value === 'number' ? value.toFixed(Math.min(Number(precision ?? 6), 100)) : wrong();
    case 'x':
      if (typeof value === 'number') return Math.trunc(value).toString(16);
      return typeof value === 'string' ? Buffer.from(value).toString('hex') : wrong();
    case 'c':
      return typeof value === 'number' && value >= 0 && value <= 0x10ffff ? String.fromCodePoint(value) : wrong();
    default:
      return wrong();
  }
}

function typeName(value: unknown): string {
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  return typeof value === 'boolean' ? 'bool' : typeof value === 'string' ? 'string' : 'map';
}
