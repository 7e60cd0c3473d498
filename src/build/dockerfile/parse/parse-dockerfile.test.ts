import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../../errors/index.ts';
import { SourceError } from '../../source-error.ts';
import { detectSyntax, type Instruction, parseDockerfile, parseTrigger, readMount } from './index.ts';

/** The instructions of a stage, without where and how they are written. */
function read(text: string): Record<string, unknown>[] {
  return parseDockerfile(`FROM scratch\n${text}`).stages[0]!.instructions.map(meaning);
}

function meaning(instruction: Instruction): Record<string, unknown> {
  const { keyword: _, original: __, ranges: ___, comments: ____, ...rest } = instruction;
  return JSON.parse(JSON.stringify(rest));
}

function failure(text: string): SourceError {
  try {
    parseDockerfile(text);
  } catch (error) {
    if (error instanceof SourceError) return error;
    throw error;
  }
  throw new Error('it was read');
}

const shell = (words: string[]) => ({ form: 'shell', words, hereDocuments: [] });
const json = (words: string[]) => ({ form: 'json', words, hereDocuments: [] });
const run = { kind: 'run', mounts: [], devices: [] };
const transfer = { inline: [], isLink: false, keepsParents: false, excludes: [] };

test.each<{ text: string; want: Record<string, unknown> }>([
  { text: 'RUN a  b', want: { ...run, command: shell(['a  b']) } },
  { text: 'run ["a", "b c"]', want: { ...run, command: json(['a', 'b c']) } },
  { text: "RUN ['a']", want: { ...run, command: shell(["['a']"]) } },
  {
    text: 'RUN --network=none --security=insecure x',
    want: { ...run, network: 'none', security: 'insecure', command: shell(['x']) },
  },
  {
    text: 'RUN --device=vendor1.com/device=foo,required --device=name=a x',
    want: {
      ...run,
      devices: [
        { name: 'vendor1.com/device=foo', isRequired: true },
        { name: 'a', isRequired: false },
      ],
      command: shell(['x']),
    },
  },
  {
    text: 'RUN --mount=type=bind,from=base,"source=/a b",ro x',
    want: {
      ...run,
      command: shell(['x']),
      mounts: [
        {
          text: 'type=bind,from=base,source=/a b,ro',
          fields: [
            { key: 'type', value: 'bind' },
            { key: 'from', value: 'base' },
            { key: 'source', value: '/a b' },
            { key: 'ro' },
          ],
          from: 'base',
        },
      ],
    },
  },
  { text: 'RUN -- --x', want: { ...run, command: shell(['--x']) } },
  { text: 'RUN a \\\n  # no\n  b', want: { ...run, command: shell(['a   b']) } },
  { text: 'RUN a \\  \n b \\\\', want: { ...run, command: shell(['a  b \\\\']) } },
  { text: 'RUN a \\', want: { ...run, command: shell(['a']) } },
  { text: 'CMD a', want: { kind: 'cmd', command: shell(['a']) } },
  { text: 'CMD', want: { kind: 'cmd', command: shell([]) } },
  { text: 'CMD []', want: { kind: 'cmd', command: json([]) } },
  { text: 'ENTRYPOINT ["/x"]', want: { kind: 'entrypoint', command: json(['/x']) } },
  {
    text: 'COPY --from=0 --chown=1:2 --chmod=u+x --link --parents --exclude=*.md --exclude=b a b /c',
    want: {
      ...transfer,
      kind: 'copy',
      from: '0',
      chown: '1:2',
      chmod: 'u+x',
      isLink: true,
      keepsParents: true,
      excludes: ['*.md', 'b'],
      sources: ['a', 'b'],
      destination: '/c',
    },
  },
  { text: 'COPY ["a b", "c"]', want: { ...transfer, kind: 'copy', sources: ['a b'], destination: 'c' } },
  { text: 'COPY --link=false a b', want: { ...transfer, kind: 'copy', sources: ['a'], destination: 'b' } },
  {
    text: 'ADD --checksum=sha256:x --keep-git-dir --unpack=false https://a/b.git#c /d',
    want: {
      ...transfer,
      kind: 'add',
      checksum: 'sha256:x',
      keepsGitDir: true,
      isUnpacked: false,
      sources: ['https://a/b.git#c'],
      destination: '/d',
    },
  },
  {
    text: 'ENV A=b C="d e" F=\'g\' H=i\\ j',
    want: {
      kind: 'env',
      isLegacy: false,
      pairs: [
        { key: 'A', value: 'b' },
        { key: 'C', value: '"d e"' },
        { key: 'F', value: "'g'" },
        { key: 'H', value: 'i\\ j' },
      ],
    },
  },
  { text: 'ENV A b  c', want: { kind: 'env', isLegacy: true, pairs: [{ key: 'A', value: 'b  c' }] } },
  {
    text: 'LABEL "a b"=c d=',
    want: {
      kind: 'label',
      isLegacy: false,
      pairs: [
        { key: '"a b"', value: 'c' },
        { key: 'd', value: '' },
      ],
    },
  },
  {
    text: 'ARG A B=c D=',
    want: { kind: 'arg', args: [{ key: 'A' }, { key: 'B', value: 'c' }, { key: 'D', value: '' }] },
  },
  { text: '# A is it\nARG A', want: { kind: 'arg', args: [{ key: 'A', description: 'is it' }] } },
  { text: 'EXPOSE 80/tcp 53-54/udp $P', want: { kind: 'expose', ports: ['$P', '53-54/udp', '80/tcp'] } },
  { text: 'VOLUME /a /b', want: { kind: 'volume', paths: ['/a', '/b'] } },
  { text: 'VOLUME ["/a b"]', want: { kind: 'volume', paths: ['/a b'] } },
  { text: 'USER  a b ', want: { kind: 'user', user: 'a b' } },
  { text: 'WORKDIR /a b', want: { kind: 'workdir', path: '/a b' } },
  { text: 'STOPSIGNAL $S', want: { kind: 'stopsignal', signal: '$S' } },
  { text: 'SHELL ["/bin/bash", "-c"]', want: { kind: 'shell', shell: ['/bin/bash', '-c'] } },
  { text: 'MAINTAINER a <b@c>', want: { kind: 'maintainer', maintainer: 'a <b@c>' } },
  { text: 'HEALTHCHECK NONE', want: { kind: 'healthcheck', check: { Test: ['NONE'] } } },
  {
    text: 'HEALTHCHECK --interval=5m --timeout=3s --start-period=1s --start-interval=2s --retries=4 CMD ["a", "b"]',
    want: {
      kind: 'healthcheck',
      check: {
        Test: ['CMD', 'a', 'b'],
        Interval: 3e11,
        Timeout: 3e9,
        StartPeriod: 1e9,
        StartInterval: 2e9,
        Retries: 4,
      },
    },
  },
  {
    text: 'HEALTHCHECK \\\n  --retries=0 cmd a  b',
    want: { kind: 'healthcheck', check: { Test: ['CMD-SHELL', 'a  b'] } },
  },
  {
    text: 'onbuild run --mount=type=cache,target=/x make',
    want: { kind: 'onbuild', expression: 'run --mount=type=cache,target=/x make' },
  },
])('reads $text', ({ text, want }) => expect(read(text)).toEqual([want]));

test('here-documents: several in a line, with tabs, quoted, of ONBUILD', () => {
  const [copy, script, trigger, raw, last] = read(
    'COPY <<-"A" <<B x /dest/\n\ta $x\n\tA\nb\nB\nRUN 3<<EOF cat # not a comment\n# neither\n\nEOF\nONBUILD RUN <<EOF\nx\nEOF\nRUN ["<<EOF"]\nUSER x',
  );
  expect(copy).toMatchObject({
    sources: ['x'],
    destination: '/dest/',
    inline: [
      { name: 'A', content: 'a $x\n', isExpanded: false },
      { name: 'B', content: 'b\n', isExpanded: true },
    ],
  });
  expect(script).toMatchObject({
    command: {
      words: ['3<<EOF cat # not a comment'],
      hereDocuments: [{ name: 'EOF', content: '# neither\n\n', isExpanded: true, isChomped: false, fileDescriptor: 3 }],
    },
  });
  expect(trigger).toEqual({ kind: 'onbuild', expression: 'RUN <<EOF\nx\nEOF' });
  expect(parseTrigger('RUN <<EOF\nx\nEOF')).toMatchObject({ command: { hereDocuments: [{ content: 'x\n' }] } });
  expect(raw).toMatchObject({ command: { form: 'json' } });
  expect(last).toMatchObject({ kind: 'user' });
});

test('what only looks like a here-document', () => {
  expect(read('RUN cat<<EOF\nUSER x')).toHaveLength(2);
  expect(read('RUN echo $((1<<2))\nUSER x')).toHaveLength(2);
  expect(read('RUN cat <<< x\nUSER x')).toHaveLength(2);
  expect(read('CMD cat <<EOF\nUSER x')).toHaveLength(2);
  expect(read('RUN echo "<<EOF"\nUSER x')).toHaveLength(2);
});

test('directives, arguments before stages, stages', () => {
  const file = parseDockerfile(
    '\uFEFF# syntax = docker/dockerfile:1 \r\n#ESCAPE=`\r\n# check=skip=all\r\n' +
      '\r\nARG A=1\r\n# Build it\r\n# build makes it\r\nfrom --platform=$P a:$A As Build\r\nRUN a `\r\n  \\b\r\nFROM build\r\n',
  );
  expect(file.directives).toEqual({
    escape: '`',
    syntax: {
      value: 'docker/dockerfile:1',
      ranges: [{ start: { line: 1, character: 0 }, end: { line: 1, character: 0 } }],
    },
    check: { value: 'skip=all', ranges: [{ start: { line: 3, character: 0 }, end: { line: 3, character: 0 } }] },
  });
  expect(file.metaArgs.map((arg) => arg.args)).toEqual([[{ key: 'A', value: '1', description: undefined }]]);
  const [first, second] = file.stages;
  expect(first).toMatchObject({
    name: 'build',
    writtenName: 'Build',
    asKeyword: 'As',
    keyword: 'from',
    base: 'a:$A',
    platform: '$P',
    description: 'makes it',
    original: 'from --platform=$P a:$A As Build',
    comments: ['Build it', 'build makes it'],
  });
  expect(first!.instructions[0]!.original).toBe('RUN a   \\b');
  expect(first!.instructions[0]!.ranges.map(({ start }) => start.line)).toEqual([9, 10]);
  expect(second).toMatchObject({ name: undefined, base: 'build', platform: undefined });
});

test('a line that goes on over an empty one is told of', () => {
  const { emptyContinuations } = parseDockerfile('FROM a\nRUN a \\\n\n  b\n');
  expect(emptyContinuations.map(({ ranges }) => ranges[0]!.start.line)).toEqual([4]);
});

test.each<[text: string, message: string, range: [number, number, number, number] | undefined]>([
  ['', 'the Dockerfile cannot be empty', undefined],
  ['# x\n', 'file with no instructions', undefined],
  ['ARG A\n', 'dockerfile contains no stages to build', undefined],
  ['RUN x', 'on line 1: no build stage in current context', [1, 0, 1, 0]],
  [
    'FROM a\n\n  RUNN x',
    'dockerfile parse error on line 3: unknown instruction: RUNN (did you mean RUN?)',
    [3, 2, 3, 6],
  ],
  ['FROM a\nentrypont x', 'unknown instruction: entrypont (did you mean entrypoint?)', [2, 0, 2, 9]],
  ['FROM a\nXYZZY', 'line 2: unknown instruction: XYZZY', [2, 0, 2, 5]],
  ['FROM a\nRUN \\\n  --mont=x y', 'line 2: unknown flag: --mont (did you mean mount?)', [3, 2, 3, 10]],
  ['FROM a\nCOPY --link=maybe a b', 'expecting boolean value for flag --link, not: maybe', [2, 5, 2, 17]],
  ['FROM a\nCOPY --link= a b', 'missing a value on flag: --link', [2, 5, 2, 12]],
  ['FROM a\nCOPY --chown a b', 'missing a value on flag: --chown', [2, 5, 2, 12]],
  ['FROM a\nCOPY --chown=1 --chown=2 a b', 'duplicate flag specified: --chown', [2, 15, 2, 24]],
  [
    'FROM a\nCOPY a',
    'COPY requires at least two arguments, but only one was provided. Destination could not be determined',
    [2, 0, 2, 0],
  ],
  ['FROM a\nADD', 'ADD requires at least two arguments', [2, 0, 2, 0]],
  ['FROM a\nCOPY a <<EOF\nEOF', 'COPY cannot accept a heredoc as a destination', [2, 7, 2, 12]],
  ['FROM a\nCOPY --from=$x a b', 'variable expansion is not supported for --from', [2, 5, 2, 14]],
  ['FROM a\nRUN --mount=from=$x y', "'from' doesn't support variable expansion", [2, 4, 2, 19]],
  ['FROM a\nRUN --network=hst y', 'unsupported network mode "hst" (did you mean host?)', [2, 4, 2, 17]],
  ['FROM a\nRUN <<EOF\nx\n EOF', 'line 2: unterminated heredoc', [2, 4, 2, 9]],
  ['FROM a\nCMD [1]', 'arrays must be comprised of strings only', [2, 0, 2, 0]],
  ['FROM', 'FROM requires either one or three arguments', [1, 0, 1, 0]],
  ['FROM a b', 'FROM requires either one or three arguments', [1, 0, 1, 0]],
  [
    'FROM a as 1x',
    'invalid name for build stage: "1x", name can\'t start with a number or contain symbols',
    [1, 10, 1, 12],
  ],
  ['FROM --platfrm=x a', 'unknown flag: --platfrm (did you mean platform?)', [1, 5, 1, 16]],
  ['FROM a\nENV', 'ENV requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nENV A', 'ENV must have two arguments', [2, 4, 2, 5]],
  ['FROM a\nENV A=b \\\n  C', 'Syntax error - can\'t find = in "C". Must be of the form: name=value', [3, 2, 3, 3]],
  ['FROM a\nENV =b', 'ENV names can not be blank', [2, 4, 2, 6]],
  ['FROM a\nARG', 'ARG requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nARG =b', 'ARG names can not be blank', [2, 4, 2, 6]],
  ['FROM a\nLABEL', 'LABEL requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nEXPOSE', 'EXPOSE requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nVOLUME', 'VOLUME requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nVOLUME [" "]', 'VOLUME specified can not be an empty string', [2, 7, 2, 9]],
  ['FROM a\nUSER', 'USER requires exactly one argument', [2, 0, 2, 0]],
  ['FROM a\nWORKDIR', 'WORKDIR requires exactly one argument', [2, 0, 2, 0]],
  ['FROM a\nSTOPSIGNAL', 'STOPSIGNAL requires exactly one argument', [2, 0, 2, 0]],
  ['FROM a\nMAINTAINER', 'MAINTAINER requires exactly one argument', [2, 0, 2, 0]],
  ['FROM a\nSHELL', 'SHELL requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nSHELL bash', 'SHELL requires the arguments to be in JSON form', [2, 6, 2, 10]],
  ['FROM a\nONBUILD', 'ONBUILD requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger", [2, 8, 2, 12]],
  ['FROM a\nONBUILD ONBUILD x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", [2, 8, 2, 15]],
  ['FROM a\nONBUILD RUNN x', 'unknown instruction: RUNN (did you mean RUN?)', [2, 8, 2, 12]],
  ['FROM a\nHEALTHCHECK', 'HEALTHCHECK requires at least one argument', [2, 0, 2, 0]],
  ['FROM a\nHEALTHCHECK --interval=x CMD y', 'invalid duration "x"', [2, 12, 2, 24]],
  ['# escape=x\nFROM a', "on line 1: invalid escape token 'x' does not match ` or \\", [1, 0, 1, 0]],
  ['# escape=`\n# escape=`\nFROM a', 'on line 2: only one escape parser directive can be used', [2, 0, 2, 0]],
  [
    `FROM a\nRUN ${'x'.repeat(70_000)}`,
    'on line 2: dockerfile line greater than max allowed size of 65535',
    [2, 0, 2, 0],
  ],
  ['USER a\n'.repeat(20_001).replace('USER a', 'FROM a'), 'more than 20000 instructions', [20_001, 0, 20_001, 0]],
])('refuses %j: %s', (text, message, range) => {
  const error = failure(text);
  expect(error.message).toContain(message);
  expect(error.kind).toBe('InvalidArgument');
  const [place] = error.ranges;
  expect(place && [place.start.line, place.start.character, place.end.line, place.end.character]).toEqual(range);
});

const plain = { expand: (word: string) => word };

test.each<[flag: string, want: Record<string, unknown>]>([
  ['target=/x', { type: 'bind', target: '/x', isReadOnly: true }],
  ['type=bind,dst=/x,rw', { isReadOnly: false }],
  [
    'type=cache,destination=/x,sharing=LOCKED,id=a,mode=0700,uid=1,gid=2',
    { type: 'cache', sharing: 'locked', id: 'a', mode: 0o700, uid: 1, gid: 2, isReadOnly: false },
  ],
  ['type=tmpfs,target=/x,size=1.5g', { type: 'tmpfs', sizeBytes: 1.5 * 2 ** 30 }],
  ['type=secret,id=a,env=B,required', { type: 'secret', id: 'a', env: 'B', isRequired: true }],
  ['type=ssh,required=false', { type: 'ssh', isRequired: false, isReadOnly: true }],
  ['type=bind,ro=false,src=a,target=b', { source: 'a', isReadOnly: false }],
])('--mount=%s', (flag, want) => {
  const [instruction] = parseDockerfile(`FROM a\nRUN --mount=${flag} x`).stages[0]!.instructions;
  if (instruction?.kind !== 'run') throw new Error('no RUN');
  expect(readMount(instruction.mounts[0]!, plain.expand)).toMatchObject(want);
});

test.each([
  ['type=bnd', 'unsupported mount type "bnd" (did you mean bind?)'],
  ['type=cache,sharing=x', 'unsupported sharing value "x"'],
  ['sharing=shared,target=/x', 'invalid cache sharing set for bind mount'],
  ['taget=/x', "unexpected key 'taget' in 'taget=/x' (did you mean target?)"],
  ['type=bind,required', "unexpected key 'required' for mount type 'bind'"],
  ['type=secret', 'invalid secret mount. one of source, target required'],
  ['type=secret,id=a,source=b', "both source and id can't be set"],
  ['type=secret,id=a,from=b', 'secret mount should not have a from'],
  ['mode=0700,target=/x', 'mode not allowed for "bind" type mounts'],
  ['type=cache,mode=9', 'invalid value 9 for mode'],
  ['type=cache,uid=-1', 'invalid value -1 for uid'],
  ['size=1', "unexpected key 'size' for mount type 'bind'"],
  ['type=tmpfs,size=x', 'invalid value for size: x'],
  ['ro=maybe', 'invalid value for ro: maybe'],
  ['foo', "invalid field 'foo' must be a key=value pair"],
])('--mount=%s is refused', (flag, message) => {
  const [instruction] = parseDockerfile(`FROM a\nRUN --mount=${flag} x`).stages[0]!.instructions;
  if (instruction?.kind !== 'run') throw new Error('no RUN');
  const [mount] = instruction.mounts;
  expect(() => readMount(mount!, plain.expand)).toThrow(message);
});

test.each([
  ['# syntax=a/b:1 --x\nFROM', 'a/b:1', 1],
  ['#!/bin/sh\n# syntax=a', 'a', 2],
  ['// syntax=a\n{}', 'a', 1],
  ['{"syntax": "a"}', 'a', 1],
  ['# escape=`\n#syntax = a', 'a', 2],
])('the frontend that %j asks for', (text, reference, line) => {
  const syntax = detectSyntax(text);
  expect(syntax?.reference).toBe(reference);
  expect(syntax?.ranges.map(({ start }) => start.line)).toEqual([line]);
});

test.each(['FROM a', '# a\n# syntax=b', '\n# syntax=b', '{"syntax": 1}', '{', ''])(
  '%j asks for no frontend',
  (text) => {
    expect(detectSyntax(text)).toBeUndefined();
  },
);

const lines = fc.array(
  fc.oneof(
    fc.constantFrom(
      'FROM a AS b',
      'RUN <<EOF',
      'EOF',
      'COPY --from=b <<"X" c',
      'X',
      'ENV A=b \\',
      '\\',
      '# x',
      '',
      'ONBUILD RUN <<-EOF',
      'HEALTHCHECK --interval=',
      'ADD --',
      'CMD ["a"',
      'ARG "',
      'RUN --mount=type=',
      'LABEL a="b\\"',
      '# escape=`',
    ),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc
      .tuple(
        fc.constantFrom(
          'ADD',
          'ARG',
          'CMD',
          'COPY',
          'ENV',
          'EXPOSE',
          'FROM',
          'HEALTHCHECK',
          'LABEL',
          'ONBUILD',
          'RUN',
          'SHELL',
          'USER',
          'VOLUME',
        ),
        fc.string({ unit: fc.constantFrom(...'ab -=<>"\'\\$`{}[],/:#\t'), maxLength: 25 }),
      )
      .map(([name, rest]) => `${name} ${rest}`),
  ),
  { maxLength: 12 },
);

test('any text is read or refused with its place', () => {
  fc.assert(
    fc.property(lines, (parts) => {
      const text = parts.join('\n');
      try {
        const file = parseDockerfile(text);
        for (const stage of file.stages) {
          for (const instruction of stage.instructions) {
            expect(instruction.ranges.at(-1)!.end.line).toBeLessThanOrEqual(text.split('\n').length);
          }
        }
      } catch (error) {
        expect(error).toBeInstanceOf(SourceError);
      }
    }),
    { numRuns: Number(process.env['TARE_FUZZ_RUNS'] ?? 1000) },
  );
});

test('any trigger of an image is read or refused', () => {
  fc.assert(
    fc.property(lines, (parts) => {
      try {
        parseTrigger(parts.join('\n'));
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
  );
});

test('long runs of the same do not hold it up', () => {
  const long = 60_000;
  for (const text of [
    `# escape=${' '.repeat(long)}x`,
    `FROM a${' '.repeat(long)}b`,
    `FROM a\nRUN ${'"'.repeat(long - 1)}`,
    `FROM a\nRUN ${'<<A '.repeat(long / 4)}`,
    `FROM a\nENV ${'a=b '.repeat(long / 4)}`,
    `FROM a\nCMD ${'['.repeat(long)}`,
    `FROM a\nRUN --${'-'.repeat(long)}`,
    `FROM a\n${'\\\n'.repeat(100_000)}RUN x`,
  ]) {
    try {
      parseDockerfile(text);
    } catch (error) {
      expect(error).toBeInstanceOf(SourceError);
    }
  }
});
