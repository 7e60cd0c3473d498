import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { type ExpandOptions, expandWord, splitWords } from './index.ts';

const variables = new Map([
  ['A', 'a'],
  ['EMPTY', ''],
  ['PATH', '/usr/local/bin'],
  ['NAME', 'foo.tar.gz'],
  ['AB', 'abcabc'],
  ['SPACED', 'x  y'],
  ['LINES', 'ab\ncb'],
  ['STAR', 'a*b'],
  ['Ä1', 'umlaut'],
]);

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: that is how a Dockerfile spells a variable
test.each([
  ['plain', 'plain'],
  ['$A', 'a'],
  ['${A}b', 'ab'],
  ['$Ab', ''],
  ['$Ä1', 'umlaut'],
  ['$1x', 'x'],
  ['$', '$'],
  ['a$ b', 'a$ b'],
  ['$.', '$.'],
  ['\\$A', '$A'],
  ['a\\nb', 'anb'],
  ['"a\\nb"', 'a\\nb'],
  ['"\\"\\$\\\\"', '"$\\'],
  ["'$A'", '$A'],
  ['"$A"', 'a'],
  ['${X:-d}', 'd'],
  ['${EMPTY:-d}', 'd'],
  ['${EMPTY-d}', ''],
  ['${X-d}', 'd'],
  ['${A:+d}', 'd'],
  ['${EMPTY:+d}', ''],
  ['${EMPTY+d}', 'd'],
  ['${X+d}', ''],
  ['${A:?no}', 'a'],
  ['${EMPTY?no}', ''],
  ['${X:-${Y:-$A}}', 'a'],
  ['${X:-"a }b"}', 'a }b'],
  ['${PATH#*/}', 'usr/local/bin'],
  ['${PATH##*/}', 'bin'],
  ['${PATH%/*}', '/usr/local'],
  ['${PATH%%/*}', ''],
  ['${NAME%.*}', 'foo.tar'],
  ['${NAME%%.*}', 'foo'],
  ['${NAME#foo}', '.tar.gz'],
  ['${NAME#x}', 'foo.tar.gz'],
  ['${NAME%?}', 'foo.tar.g'],
  ['${AB#a*c}', 'abc'],
  ['${AB##a*c}', ''],
  ['${AB%b*}', 'abca'],
  ['${AB%%b*}', 'a'],
  ['${AB/b/x}', 'axcabc'],
  ['${AB//b/x}', 'axcaxc'],
  ['${AB/b*b/x}', 'axc'],
  ['${AB//?/x}', 'xxxxxx'],
  ['${AB/c/}', 'ababc'],
  ['${AB//z/x}', 'abcabc'],
  ['${PATH//\\//-}', '-usr-local-bin'],
  ['${STAR/\\*/x}', 'axb'],
  ['${LINES/a*c/x}', 'ab\ncb'],
  ['${LINES//?b/x}', 'x\nx'],
  ['${X/a/b}', ''],
])('%s is %j', (word, want) => expect(expandWord(word, { variables }).text).toBe(want));

test.each([
  ['"', 'matching double-quote'],
  ["'a", 'matching single-quote'],
  ['${', "syntax error: missing '}'"],
  ['${A', "missing '}'"],
  ['${A:-b', "missing '}'"],
  ['${}', 'syntax error: bad substitution'],
  ['${:A}', 'syntax error: bad substitution'],
  ['${{A}}', 'syntax error: bad substitution'],
  ['${A!b}', 'unsupported modifier (!) in substitution'],
  ['${A:b}', 'unsupported modifier (:b) in substitution'],
  ['${A/b}', "syntax error: missing '/' in ${}"],
  ['${A/b/c', "syntax error: missing '}'"],
  ['${X?}', 'X: is not allowed to be unset'],
  ['${EMPTY:?}', 'EMPTY: is not allowed to be empty'],
  ['${X:?set it}', 'X: set it'],
  ['${A#\\q}', "invalid pattern (\\q) in substitution: invalid escape '\\q'"],
  ['${X:-'.repeat(60), 'nested more than 50 deep'],
])('%s is refused', (word, message) => {
  expect(() => expandWord(word, { variables })).toThrow(message);
  expect(() => expandWord(word, { variables })).toThrow(/^failed to process/);
});

test.each<[word: string, options: Partial<ExpandOptions>, want: string]>([
  ['a`$A\\', { escape: '`' }, 'a$A\\'],
  ['"`$A\\n"', { escape: '`' }, '$A\\n'],
  ['\'$A\' "x"', { ignoresQuotes: true }, '\'a\' "x"'],
  ['"a" \'b\'', { keepsQuotes: true }, '"a" \'b\''],
  ['a\\b', { keepsEscapes: true }, 'a\\b'],
  ['$X ${X} ${X:-a} ${X/a/b} $A', { keepsUnset: true }, '$X ${X} ${X:-a} ${X/a/b} a'],
])('%s with %o', (word, options, want) => expect(expandWord(word, { variables, ...options }).text).toBe(want));

test('words: spaces of variables split, quoted and escaped ones do not', () => {
  expect(expandWord(' a $SPACED "$SPACED" b\\ c  ""', { variables }).words).toEqual(['a', 'x', 'y', 'x  y', 'b c']);
});

test('which variables were there and which were not', () => {
  const { used, unset } = expandWord('$A ${X:-$Y} ${EMPTY}', { variables });
  expect([...used]).toEqual(['A', 'EMPTY']);
  expect([...unset]).toEqual(['Y', 'X']);
});

test('a word cannot grow without end', () => {
  const big = new Map([['A', 'x'.repeat(1 << 20)]]);
  expect(() => expandWord('$A$A', { variables: big })).toThrow('longer than 1048576 characters');
  expect(() => expandWord('"$A$A$A"', { variables: big })).toThrow('longer than');
  expect(() => expandWord(`\${A//x/${'y'.repeat(1000)}}`, { variables: big })).toThrow('longer than');
  expect(() => expandWord(`\${A//${'?*'.repeat(1000)}z/y}`, { variables: big })).toThrow('too long for a value');
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: that is how a Dockerfile spells a variable

test('what is taken of a long value may be long', () => {
  const variables = new Map([['A', `b${'a'.repeat(300_000)}`]]);
  expect(expandWord(`\${A/b/c}`, { variables }).text).toBe(`c${'a'.repeat(300_000)}`);
});

test('any word is expanded or refused', () => {
  const characters = fc.constantFrom(...'ab$A{}:-+?#%/\\"\'* \n');
  const word = fc.array(characters, { maxLength: 25 }).map((list) => list.join(''));
  fc.assert(
    fc.property(word, (text) => {
      try {
        const { text: result, words } = expandWord(text, { variables });
        expect(words.join('').length).toBeLessThanOrEqual(result.length);
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
    { numRuns: Number(process.env['TARE_FUZZ_RUNS'] ?? 1000) },
  );
});

test.each([
  ['a  b', ['a', 'b']],
  ['a="b c" d', ['a="b c"', 'd']],
  ["'a b'c", ["'a b'c"]],
  ['a\\ b c\\', ['a\\ b', 'c']],
  ['"a\\" b" c', ['"a\\" b"', 'c']],
  ['""', ['""']],
  ['', []],
])('words of %j', (text, want) => {
  const words = splitWords(text);
  expect(words.map((word) => word.text)).toEqual(want);
  for (const { text: word, offset } of words) expect(text.startsWith(word, offset)).toBe(true);
});
