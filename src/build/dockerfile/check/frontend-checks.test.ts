import { expect, test } from 'vitest';
import { runFrontend } from '../frontend.fixture.ts';

const dockerfile = `ARG TAG=stable
FROM debian:$TGA AS one
FROM --platform=linux/amd64 debian:$TAG as two
ARG WANTED
WORKDIR x
ENV API_KEY $HOEM$WANTED
ENV HOME=/root
COPY skipped /
CMD a
`;
const files = { '.dockerignore': 'skipped\n' };
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

test('a build warns of what is questionable in the stages that it needs', async () => {
  const { warnings } = await runFrontend(dockerfile, { files });
  expect(warnings.map(({ short }) => short)).toEqual([
    "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 3)",
    'InvalidDefaultArgInFrom: Default value for ARG debian:$TGA results in empty or invalid base image name (line 2)',
    "UndefinedArgInFrom: FROM argument 'TGA' is not declared (did you mean TAG?) (line 2)",
    'FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/amd64" (line 3)',
    'WorkdirRelativePath: Relative workdir "x" can have unexpected results if the base image changes (line 5)',
    "UndefinedVar: Usage of undefined variable '$HOEM' (line 6)",
    'LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 6)',
    'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "API_KEY") (line 6)',
    'CopyIgnoredFile: Attempting to Copy file "skipped" that is excluded by .dockerignore (line 8)',
    'JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 9)',
  ]);
  expect(warnings[0]?.vertex).toMatch(/^sha256:/);
  expect(warnings[0]?.source?.filename).toBe('Dockerfile');
});

test('the build argument says which are left out, and that one fails the build', async () => {
  const checks = (value: string) => ({ options: { 'build-arg:BUILDKIT_DOCKERFILE_CHECK': value } });
  const source = 'FROM debian:stable as x\nMAINTAINER y\n';
  expect((await runFrontend(source, checks('skip=all'))).warnings).toEqual([]);
  await expect(runFrontend(source, checks('skip=FromAsCasing;error=true'))).rejects.toThrow(
    'lint violation found for rules: MaintainerDeprecated',
  );
  await expect(runFrontend(source, checks('x'))).rejects.toThrow('invalid check option "x"');
});

test('of --check with a target, only what that needs is looked at', async () => {
  const options = { requestid: 'frontend.lint', target: 'a' };
  const source = 'FROM debian:stable AS a\nUSER $X\nFROM debian:stable\nUSER $Y\n';
  const { result } = await runFrontend(source, { options });
  const { warnings } = JSON.parse(text(result.metadata.get('result.json')));
  expect(warnings.map((warning: { detail: string }) => warning.detail)).toEqual(["Usage of undefined variable '$X'"]);
});

test('--check is answered with documents, for every stage and also for a file that is wrong', async () => {
  const options = { requestid: 'frontend.lint' };
  const { result, warnings } = await runFrontend('FROM debian:stable AS a\nUSER $X\nFROM scratch\nCMD ["x"]\n', {
    options,
  });
  expect(warnings).toEqual([]);
  const document = JSON.parse(text(result.metadata.get('result.json')));
  expect(document.warnings.map((warning: { ruleName: string }) => warning.ruleName)).toEqual(['UndefinedVar']);
  expect(text(result.metadata.get('result.statuscode'))).toBe('1');
  expect(text(result.metadata.get('result.txt'))).toContain('WARNING: UndefinedVar - https://docs.docker.com/');
  const broken = await runFrontend('FROM debian:stable as a\nRUNN x\n', { options });
  expect(JSON.parse(text(broken.result.metadata.get('result.json'))).buildError).toEqual({
    message: 'dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)',
    location: { ranges: [{ start: { line: 2 }, end: { line: 2, character: 4 } }] },
  });
  const clean = await runFrontend('FROM scratch\nCMD ["x"]\n', { options });
  expect(text(clean.result.metadata.get('result.statuscode'))).toBe('0');
});
