import { expect, test } from 'vitest';
import { jsonWords, splitWords } from '../grammar/shell-words.ts';
import { parse } from '../parse.ts';
import { configFlags, readConfigFlags } from './config-flags.ts';

const read = (words: string[], healthcheck?: { Test?: string[]; Retries?: number }) =>
  readConfigFlags(
    parse(configFlags, words).values,
    { config: healthcheck ? { Healthcheck: healthcheck } : {} },
    { OWN: 'mine' },
  );

test.each([
  {
    words: ['--env', 'A=1', '--env', 'B-', '--env', 'OWN'],
    want: { env: { A: '1', B: null, OWN: 'mine' } },
  },
  { words: ['--env', 'A=1-'], want: { env: { A: '1-' } } },
  { words: ['--label', 'old=x', '--label', '-', '--label', 'k'], want: { clear: ['labels'], labels: { k: '' } } },
  { words: ['--port', '80', '--port', '90/udp-'], want: { ports: { '80': true, '90/udp': null } } },
  { words: ['--port', '80,81'], want: { ports: { '80': true, '81': true } } },
  { words: ['--volume', '-'], want: { clear: ['volumes'], volumes: {} } },
  { words: ['--onbuild', 'RUN a-'], want: { onBuild: ['RUN a-'] } },
  { words: ['--cmd', `a 'b c' "d\\"e" f\\ g`], want: { cmd: ['a', 'b c', 'd"e', 'f g'] } },
  { words: ['--cmd', '["a", "b c"]'], want: { cmd: ['a', 'b c'] } },
  { words: ['--cmd', ''], want: { cmd: null } },
  { words: ['--entrypoint', '/bin/x y'], want: { entrypoint: ['/bin/sh', '-c', '/bin/x y'] } },
  { words: ['--entrypoint', '["/bin/x"]'], want: { entrypoint: ['/bin/x'] } },
  { words: ['--user', ''], want: { user: null } },
  { words: ['--healthcheck', 'CMD curl x'], want: { healthcheck: { Test: ['CMD', 'curl', 'x'] } } },
  { words: ['--healthcheck', 'curl x'], want: { healthcheck: { Test: ['CMD-SHELL', 'curl x'] } } },
  { words: ['--healthcheck', 'NONE'], want: { healthcheck: { Test: ['NONE'] } } },
  { words: ['--healthcheck', '["CMD-SHELL", "a b"]'], want: { healthcheck: { Test: ['CMD-SHELL', 'a b'] } } },
  { words: ['--healthcheck', '["a", "b c"]'], want: { healthcheck: { Test: ['CMD', 'a', 'b c'] } } },
  { words: ['--healthcheck', ''], want: { healthcheck: null } },
])('config $words', ({ words, want }) => {
  expect(read(words)).toEqual({ clear: [], addsHistory: false, ...want });
});

test('what is not said of a health check stays', () => {
  expect(read(['--healthcheck-interval', '5s'], { Test: ['NONE'], Retries: 2 })).toMatchObject({
    healthcheck: { Test: ['NONE'], Retries: 2, Interval: 5e9 },
  });
});

test.each([
  { words: ['PATH=$PATH:/x'], want: { PATH: '/bin:/x' } },
  { words: ['A=1', `B=\${A}2`], want: { A: '1', B: '12' } },
  { words: ['A=1', 'A=$A:2'], want: { A: '1:2' } },
  { words: ['B=$$A 1$ $', 'C=$B'], want: { B: '$A 1$ $', C: '$A 1$ $' } },
])('variables in variables: $words', ({ words, want }) => {
  const { values } = parse(
    configFlags,
    words.flatMap((word) => ['--env', word]),
  );
  expect(readConfigFlags(values, { config: { Env: ['PATH=/bin'] } }, {})).toMatchObject({ env: want });
});

test.each([
  ['--env', 'A=$NOT_THERE'],
  ['--env', `A=\${NOT_THERE:-x}`],
  ['--env', '-', '--env', 'A=$PATH'],
  ['--env', 'A-', '--env', 'B=$A'],
  ['--env', 'NOT_THERE'],
])('%s %s %s %s names no variable', (...words) => {
  const { values } = parse(
    configFlags,
    words.filter((word) => word !== undefined),
  );
  expect(() => readConfigFlags(values, { config: { Env: ['PATH=/bin', 'A=1'] } }, {})).toThrow(
    /no such variable; \$\$ is the character|NOT_THERE: it is not in this environment/,
  );
});

test.each([
  ['--healthcheck-interval', 'soon'],
  ['--healthcheck-retries', '-1'],
  ['--cmd', "a 'b"],
])('%s %s is refused', (...words) => {
  expect(() => read(words)).toThrow(/soon|negative|not closed/);
});

test('words of a shell, and none of its other signs', () => {
  expect(splitWords('a  $HOME *\t"" \'\' "x$y" b"c"d')).toEqual(['a', '$HOME', '*', '', '', 'x$y', 'bcd']);
  expect(jsonWords('[1]')).toBeUndefined();
  expect(jsonWords('[ -f x ]')).toBeUndefined();
});
