import { TareError } from '../../errors/index.ts';

export type Token =
  | { kind: 'text'; text: string }
  | { kind: 'open' | 'close' | 'left' | 'right' | 'pipe' | 'comma' | 'declare' | 'assign' | 'eof'; text: string }
  | { kind: 'constant'; text: string; value: string | number | boolean | null }
  /** `adjacent`: no space before it. */
  | { kind: 'field'; text: string; path: string[]; adjacent: boolean }
  /** `text` is the name with its dollar sign. */
  | { kind: 'variable'; text: string; path: string[] }
  | { kind: 'word'; text: string };

/** Blank characters that a trim marker takes away. */
const SPACE = /[ \t\r\n]/;

/** Splits a template into text and the tokens of its actions. @throws {TareError} InvalidArgument */
export function tokenize(template: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trim = false;
  while (at < template.length) {
    const open = template.indexOf('{{', at);
    let text = template.slice(at, open < 0 ? undefined : open);
    if (trim) text = text.replace(/^[ \t\r\n]+/, '');
    if (open < 0) {
      if (text) tokens.push({ kind: 'text', text });
      break;
    }
    at = open + 2;
    // `{{- ` with its space; `{{-3}}` is a number.
    if (template[at] === '-' && SPACE.test(template[at + 1] ?? '')) {
      text = text.replace(/[ \t\r\n]+$/, '');
      at += 2;
    }
    if (text) tokens.push({ kind: 'text', text });
    const comment = /^[ \t\r\n]*\/\*/.exec(template.slice(at, at + 100));
    if (comment) {
      const end = template.indexOf('*/', at);
      const close = end < 0 ? null : /^(\s+-)?\}\}/.exec(template.slice(end + 2));
      if (!close) throw refuse('unclosed comment');
      at = end + 2 + close[0].length;
      trim = close[1] !== undefined;
      continue;
    }
    tokens.push({ kind: 'open', text: '{{' });
    [at, trim] = action(template, at, tokens);
  }
  tokens.push({ kind: 'eof', text: '' });
  return tokens;
}

const NAME = '[\\p{L}_][\\p{L}\\p{Nd}_]*';
const rules: [RegExp, (match: RegExpExecArray, adjacent: boolean) => Token][] = [
  [/"(?:[^"\\\n]|\\.)*"/uy, ([text]) => ({ kind: 'constant', text, value: unquote(text) })],
  [/`[^`]*`/uy, ([text]) => ({ kind: 'constant', text, value: text.slice(1, -1) })],
  [
    /'(?:[^'\\\n]|\\.)'/uy,
    ([text]) => ({ kind: 'constant', text, value: unquote(`"${text.slice(1, -1)}"`).codePointAt(0)! }),
  ],
  [
    new RegExp(`\\$(?:${NAME})?(?:\\.${NAME})*`, 'uy'),
    ([text]) => {
      const [name = '', ...path] = text.split('.');
      return { kind: 'variable', text: name, path };
    },
  ],
  [
    new RegExp(`(?:\\.${NAME})+`, 'uy'),
    ([text], adjacent) => ({ kind: 'field', text, path: text.slice(1).split('.'), adjacent }),
  ],
  [
    /[+-]?(?:0[xX][0-9a-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(?![\p{L}\p{Nd}_])/uy,
    ([text]) => ({ kind: 'constant', text, value: Number(text.replaceAll('_', '')) }),
  ],
  [/\./uy, ([text], adjacent) => ({ kind: 'field', text, path: [], adjacent })],
  [
    new RegExp(NAME, 'uy'),
    ([text]) => {
      if (text === 'true' || text === 'false') return { kind: 'constant', text, value: text === 'true' };
      if (text === 'nil') return { kind: 'constant', text, value: null };
      return { kind: 'word', text };
    },
  ],
  [/:=/uy, ([text]) => ({ kind: 'declare', text })],
  [
    /[=(),|]/uy,
    ([text]) => ({
      kind: ({ '=': 'assign', '(': 'left', ')': 'right', ',': 'comma', '|': 'pipe' } as const)[text as '=']!,
      text,
    }),
  ],
];

/** Tokens up to `}}`. @returns where the text goes on, and whether its leading space is to go */
function action(template: string, start: number, tokens: Token[]): [at: number, trim: boolean] {
  let at = start;
  for (;;) {
    const before = at;
    while (SPACE.test(template[at] ?? '')) at++;
    if (at >= template.length) throw refuse('unclosed action');
    if (template.startsWith('}}', at)) {
      tokens.push({ kind: 'close', text: '}}' });
      return [at + 2, false];
    }
    if (at > before && template.startsWith('-}}', at)) {
      tokens.push({ kind: 'close', text: '}}' });
      return [at + 3, true];
    }
    let token: Token | undefined;
    for (const [pattern, make] of rules) {
      pattern.lastIndex = at;
      const match = pattern.exec(template);
      if (!match) continue;
      token = make(match, at === before);
      at = pattern.lastIndex;
      break;
    }
    if (!token) throw refuse(`unexpected ${JSON.stringify(template.slice(at, at + 10))} in an action`);
    tokens.push(token);
  }
}

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' };

function unquote(text: string): string {
  return text
    .slice(1, -1)
    .replace(
      /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))/gs,
      (_, hex, short, long, octal, letter) => {
        const digits = hex ?? short ?? long;
        const point =
          digits === undefined
            ? octal === undefined
              ? undefined
              : Number.parseInt(octal, 8)
            : Number.parseInt(digits, 16);
        if (point === undefined) return escapes[letter as string] ?? letter;
        if (point > 0x10ffff) throw refuse(`\\U${digits} is not a character`);
        return String.fromCodePoint(point);
      },
    );
}

function refuse(why: string): TareError {
  return new TareError('InvalidArgument', `template parsing error: ${why}`);
}
