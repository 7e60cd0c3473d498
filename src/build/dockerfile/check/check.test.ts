import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../../errors/index.ts';
import { expandWord, parseExposedPorts } from '../../../image/index.ts';
import { PatternMatcher } from '../../../storage/index.ts';
import { SourceError } from '../../source-error.ts';
import { parseDockerfile } from '../parse/index.ts';
import {
  checkBasePlatform,
  checkDefaultBases,
  checkFile,
  checkFromVariables,
  checkStagePlatform,
  Linter,
  lintDocuments,
  parseCheckOptions,
  StageChecks,
  vertexWarning,
} from './index.ts';

/** What the text alone is warned of: rule, message, line. */
function check(text: string, options?: string): [string, string, number][] {
  const file = parseDockerfile(text);
  const linter = new Linter(parseCheckOptions(options ?? file.directives.check?.value ?? ''));
  checkFile(file, linter);
  checkDefaultBases(file, new Map([['TARGETPLATFORM', 'linux/amd64']]), linter, () => {});
  return linter.warnings.map(({ rule, message, ranges }) => [rule.name, message, ranges[0]!.start.line]);
}

test.each<[text: string, want: [string, string, number][]]>([
  ['FROM scratch AS base', []],
  ['FROM scratch AS BadName', [['StageNameCasing', "Stage name 'BadName' should be lowercase", 1]]],
  ['FROM scratch as base', [['FromAsCasing', "'as' and 'FROM' keywords' casing do not match", 1]]],
  ['from scratch AS base', [['FromAsCasing', "'AS' and 'from' keywords' casing do not match", 1]]],
  ['FROM scratch\nENTRYPOINT \\\n\n["a"]', [['NoEmptyContinuation', 'Empty continuation line', 4]]],
  [
    'From scratch\nCOPY a b\nUser x',
    [
      ['ConsistentInstructionCasing', "Command 'From' should match the case of the command majority (uppercase)", 1],
      ['ConsistentInstructionCasing', "Command 'User' should match the case of the command majority (uppercase)", 3],
    ],
  ],
  [
    'FROM scratch\ncopy a b\nuser x',
    [['ConsistentInstructionCasing', "Command 'FROM' should match the case of the command majority (lowercase)", 1]],
  ],
  [
    'FROM scratch AS b\nFROM scratch AS b',
    [['DuplicateStageName', 'Duplicate stage name "b", stage names should be unique', 2]],
  ],
  [
    'FROM scratch AS context',
    [['ReservedStageName', 'Stage name should not use the same name as reserved stage "context"', 1]],
  ],
  [
    'FROM scratch\nMAINTAINER me',
    [['MaintainerDeprecated', 'Maintainer instruction is deprecated in favor of using label', 2]],
  ],
  [
    'ARG A\nFROM a:$A',
    [['InvalidDefaultArgInFrom', 'Default value for ARG a:$A results in empty or invalid base image name', 2]],
  ],
  ['ARG A=1\nFROM a:$A', []],
  ['# x is\nARG a\nFROM scratch', []],
  [
    '# check=experimental=all\n# x is\nARG a\n# nothing\n\nARG b\n# b is c\nARG b c\n# y\nARG d e\n# z\nFROM scratch AS f',
    [
      ['InvalidDefinitionDescription', 'Comment for ARG should follow the format: `# a <description>`', 3],
      ['InvalidDefinitionDescription', 'Comment for ARG should follow the format: `# <arg_key> <description>`', 10],
      ['InvalidDefinitionDescription', 'Comment for FROM should follow the format: `# f <description>`', 12],
    ],
  ],
  ['# check=skip=all\nFROM scratch as b\ncopy a b', []],
  [
    '# check=skip=FromAsCasing, StageNameCasing\nFROM scratch as B\ncopy a b',
    [['ConsistentInstructionCasing', "Command 'copy' should match the case of the command majority (uppercase)", 3]],
  ],
  ['FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me', []],
])('%j', (text, want) => expect(check(text)).toEqual(want));

test('the build argument comes before the directive', () => {
  expect(check('# check=skip=all\nFROM scratch as b', 'error=true')).toHaveLength(1);
});

test.each(['x', 'skip', 'foo=bar', 'error=maybe'])('%s is no check option', (text) => {
  expect(() => parseCheckOptions(text)).toThrow(/check option/);
});

test('error=true fails the build with the rules and the first place', () => {
  const file = parseDockerfile('FROM scratch as B');
  const linter = new Linter(parseCheckOptions('skip=X;error=true'));
  linter.requireClean();
  checkFile(file, linter);
  expect(() => linter.requireClean()).toThrow('lint violation found for rules: StageNameCasing, FromAsCasing');
  expect(() => linter.requireClean()).toThrow(SourceError);
});

/** A stage and what a linter says of it. */
function stageOf(text: string) {
  const linter = new Linter(parseCheckOptions(''));
  const stage = parseDockerfile(text).stages[0]!;
  const said = () => linter.warnings.map(({ message, ranges }) => `${message} @${ranges[0]!.start.line}`);
  return { linter, stage, said };
}

test('variables of FROM', () => {
  const { linter, stage, said } = stageOf('FROM $BAES');
  checkFromVariables(stage, new Set(['UNKNOWN', 'A']), new Set(['BASE', 'A']), linter);
  expect(said()).toEqual(["FROM argument 'UNKNOWN' is not declared @1"]);
  checkFromVariables(stage, new Set(['BAS']), new Set(['BASE']), linter);
  expect(said()[1]).toBe("FROM argument 'BAS' is not declared (did you mean BASE?) @1");
});

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: that is how a Dockerfile spells a variable
test.each<[text: string, want: string[]]>([
  [
    'FROM --platform=${TARGETPLATFORM} a',
    ['Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior @1'],
  ],
  ['FROM --platform=$BUILDPLATFORM a', []],
  ['FROM --platform=linux/arm64 a', ['FROM --platform flag should not use constant value "linux/arm64" @1']],
  ['FROM --platform=linux/arm64 a AS build-arm64', []],
  ['FROM --platform=$NONE a', []],
])('platform of %s', (text, want) => {
  const { linter, stage, said } = stageOf(text);
  const variables = new Map([
    ['TARGETPLATFORM', 'linux/amd64'],
    ['BUILDPLATFORM', 'linux/amd64'],
  ]);
  checkStagePlatform(stage, expandWord(stage.platform!, { variables }), 'linux/amd64', linter);
  expect(said()).toEqual(want);
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: that is how a Dockerfile spells a variable

test('a base for another platform', () => {
  const { linter, stage, said } = stageOf('FROM a');
  const amd64 = { os: 'linux', architecture: 'amd64' };
  checkBasePlatform(stage, { name: 'a', actual: amd64, expected: { os: 'linux', architecture: 'arm64' } }, linter);
  checkBasePlatform(stage, { name: 'a', actual: amd64, expected: amd64 }, linter);
  expect(said()).toEqual([
    'Base image a was pulled with platform "linux/amd64", expected "linux/arm64" for current build @1',
  ]);
});

test('the checks of a stage while it is built', () => {
  const { linter, stage, said } = stageOf(
    'FROM a\nENV API_KEY x\nLABEL a b\nCMD a\nCmd ["b"]\nWORKDIR x\nWORKDIR y\nEXPOSE 80/TCP 1:2\nCOPY a $b /\nHEALTHCHECK NONE\nHEALTHCHECK NONE\nARG db_password public_key token_file monkey',
  );
  const checks = new StageChecks(linter);
  const ignored = new PatternMatcher(['a']);
  for (const instruction of stage.instructions) {
    switch (instruction.kind) {
      case 'env':
      case 'label':
        checks.pairs(
          instruction,
          instruction.pairs.map(({ key }) => key),
        );
        break;
      case 'arg':
        checks.secrets(
          instruction,
          'ARG',
          instruction.args.map(({ key }) => key),
        );
        break;
      case 'cmd':
        checks.command(instruction, false);
        break;
      case 'workdir':
        checks.workdir(instruction, instruction.path);
        break;
      case 'expose':
        for (const port of instruction.ports) checks.port(instruction, port, parseExposedPorts(port));
        break;
      case 'copy':
        checks.variables(instruction, new Set(['b', 'c', 'PAHT']), new Set(['c']), ['PATH']);
        for (const source of instruction.sources) checks.source(instruction, source, ignored);
        break;
      case 'healthcheck':
        checks.once(instruction);
        break;
    }
  }
  expect(said()).toEqual([
    '"ENV key=value" should be used instead of legacy "ENV key value" format @2',
    'Do not use ARG or ENV instructions for sensitive data (ENV "API_KEY") @2',
    '"LABEL key=value" should be used instead of legacy "LABEL key value" format @3',
    'JSON arguments recommended for CMD to prevent unintended behavior related to OS signals @4',
    'Multiple Cmd instructions should not be used in the same stage because only the last one will be used @4',
    'Relative workdir "x" can have unexpected results if the base image changes @6',
    "EXPOSE instruction should not define an IP address or host-port mapping, found '1:2' @8",
    "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase @8",
    "Usage of undefined variable '$b' @9",
    "Usage of undefined variable '$PAHT' (did you mean $PATH?) @9",
    'Attempting to Copy file "a" that is excluded by .dockerignore @9',
    'Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used @10',
    'Do not use ARG or ENV instructions for sensitive data (ARG "db_password") @12',
  ]);
});

test('sources are not checked where exceptions take files back', () => {
  const { linter, stage, said } = stageOf('FROM a\nADD ./a/ /');
  const checks = new StageChecks(linter);
  checks.source(stage.instructions[0]!, './a/', new PatternMatcher(['*', '!b']));
  checks.source(stage.instructions[0]!, './a/', undefined);
  checks.source(stage.instructions[0]!, '.', new PatternMatcher(['?']));
  expect(said()).toEqual([]);
  checks.source(stage.instructions[0]!, './a/', new PatternMatcher(['*']));
  expect(said()).toEqual(['Attempting to Add file "a" that is excluded by .dockerignore @2']);
});

test('the documents of --check', () => {
  const text = '# one\nFROM scratch as b\nUSER x\n';
  const source = { filename: 'Dockerfile', data: new TextEncoder().encode(text), language: 'Dockerfile' };
  const linter = new Linter(parseCheckOptions(''));
  checkFile(parseDockerfile(text), linter);
  const documents = lintDocuments(linter.warnings, source);
  const textOf = (key: string) => new TextDecoder().decode(documents.get(key));
  expect(JSON.parse(textOf('result.json'))).toEqual({
    warnings: [
      {
        ruleName: 'FromAsCasing',
        description: "The 'as' keyword should match the case of the 'from' keyword",
        url: 'https://docs.docker.com/go/dockerfile/rule/from-as-casing/',
        detail: "'as' and 'FROM' keywords' casing do not match",
        location: { ranges: [{ start: { line: 2 }, end: { line: 2 } }] },
      },
    ],
    sources: [{ filename: 'Dockerfile', data: Buffer.from(text).toString('base64'), language: 'Dockerfile' }],
  });
  expect(textOf('result.txt')).toBe(
    [
      '',
      'WARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/',
      "'as' and 'FROM' keywords' casing do not match",
      'Dockerfile:2',
      '--------------------',
      '   1 |     # one',
      '   2 | >>> FROM scratch as b',
      '   3 |     USER x',
      '   4 |     ',
      '--------------------',
      '',
    ].join('\n'),
  );
  expect(textOf('result.statuscode')).toBe('1');
  expect(new TextDecoder().decode(lintDocuments([], source).get('result.statuscode'))).toBe('0');
  const failed = lintDocuments([], source, { message: 'no', ranges: [] });
  expect(new TextDecoder().decode(failed.get('result.statuscode'))).toBe('1');
  expect(JSON.parse(new TextDecoder().decode(failed.get('result.json')))).toMatchObject({
    warnings: [],
    buildError: { message: 'no', location: { ranges: [] } },
  });
  expect(vertexWarning(linter.warnings[0]!, 'sha256:x', source)).toMatchObject({
    vertex: 'sha256:x',
    level: 1,
    short: "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 2)",
    detail: ["The 'as' keyword should match the case of the 'from' keyword"],
  });
});

test('any text for options is read or refused', () => {
  const text = fc
    .array(fc.constantFrom('skip', 'error', '=', ';', ',', 'all', 'true', ' ', 'x'))
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (options) => {
      try {
        parseCheckOptions(options);
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
  );
});
