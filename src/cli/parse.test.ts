import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UsageError } from './grammar/usage-error.ts';
import type { Options } from './option.ts';
import { parse } from './parse.ts';

const options = {
  interactive: { type: 'bool', short: 'i', help: '' },
  tty: { type: 'bool', short: 't', help: '' },
  proxy: { type: 'bool', help: '', default: true },
  env: { type: 'list', short: 'e', help: '' },
  publish: { type: 'list', short: 'p', help: '' },
  name: { type: 'string', help: '' },
  last: { type: 'int', short: 'n', help: '', default: -1 },
} as const satisfies Options;

test.each([
  { line: '-it img', values: { interactive: true, tty: true }, args: ['img'] },
  {
    line: '-p80:80 -p 90:90 -p=91:91 --publish=92:92',
    values: { publish: ['80:80', '90:90', '91:91', '92:92'] },
    args: [],
  },
  { line: '-ite A=1', values: { interactive: true, tty: true, env: ['A=1'] }, args: [] },
  { line: '--proxy=false', values: { proxy: false }, args: [] },
  { line: '--proxy false', values: { proxy: true }, args: ['false'] },
  { line: '-n -5', values: { last: -5 }, args: [] },
  { line: '--name --tty', values: { name: '--tty', tty: false }, args: [] },
  { line: '-i -- -t --x', values: { interactive: true, tty: false }, args: ['-t', '--x'] },
  { line: '- -i', values: { interactive: true }, args: ['-'] },
  { line: '--env=A=b=c', values: { env: ['A=b=c'] }, args: [] },
])('parse: $line', ({ line, values, args }) => {
  const parsed = parse(options, line.split(' '));
  expect(parsed.values).toMatchObject(values);
  expect(parsed.args).toEqual(args);
});

test('behind the first argument nothing is ours where a program follows', () => {
  const parsed = parse(options, ['-i', 'img', '-t', '--name', 'x'], false);
  expect(parsed.values).toMatchObject({ interactive: true, tty: false, name: undefined });
  expect(parsed.args).toEqual(['img', '-t', '--name', 'x']);
});

test.each([
  ['--nosuch', /unknown flag: --nosuch/],
  ['-x', /unknown shorthand flag: 'x' in -x/],
  ['-ix', /unknown shorthand flag: 'x' in -ix/],
  ['--name', /flag needs an argument: --name/],
  ['-ie', /flag needs an argument: 'e' in -ie/],
  ['--tty=maybe', /invalid argument "maybe" for "--tty"/],
  ['--last=1.5', /must be a whole number/],
  ['--constructor', /unknown flag/],
])('parse refuses %s', (word, message) => {
  expect(() => parse(options, [word])).toThrow(message);
});

test('any words are parsed or refused', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.boolean(), (words, interspersed) => {
      try {
        parse(options, words, interspersed);
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
      }
    }),
  );
});
