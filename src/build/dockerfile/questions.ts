import { TareError } from '../../errors/index.ts';
import type { FrontendResult } from '../frontend.ts';
import { unsupportedQuestion } from '../gateway/refusals.ts';
import type { SourceFile } from '../progress.ts';
import { SourceError } from '../source-error.ts';
import type { DefinitionFile } from './build-context.ts';
import { type LintError, type Linter, lintDocuments } from './check/index.ts';
import type { Converted } from './convert.ts';
import { locationOf, outlineOf } from './outline.ts';
import { parseDockerfile } from './parse/index.ts';

interface Question {
  name: string;
  version: string;
  type: 'rpc';
  description: string;
  opts: readonly { name: string; description: string }[] | null;
  metadata: readonly { name: string }[];
}

const question = (name: string, description: string, metadata: string[], opts: Question['opts'] = []): Question => ({
  name: `frontend.${name}`,
  version: '1.0.0',
  type: 'rpc',
  description,
  opts,
  metadata: metadata.map((key) => ({ name: key })),
});

const questions = {
  outline: question(
    'outline',
    'List all parameters current build takes',
    ['result.json', 'result.txt'],
    [{ name: 'target', description: 'Target build stage' }],
  ),
  targets: question('targets', 'List all targets current build supports', ['result.json', 'result.txt']),
  lint: question('lint', 'Lint a Dockerfile', ['result.json', 'result.txt', 'result.statuscode']),
  describe: question('subrequests.describe', 'List available subrequest types', ['result.json', 'result.txt'], null),
};

export interface QuestionContext {
  file: DefinitionFile;
  source: SourceFile;
  linter: Linter;
  /** The client names the stage that it asks about. */
  hasTarget: boolean;
  /** @param isEverything also stages that the target doesn't need */
  convert(isEverything: boolean): Promise<Converted>;
}

/** Answers a client that asks about the file instead of building it. @throws {TareError} Unsupported: the question is not known */
export async function answerQuestion(name: string, context: QuestionContext): Promise<FrontendResult> {
  switch (name) {
    case questions.describe.name:
      return describe();
    case questions.targets.name:
      return targets(context);
    case questions.outline.name:
      return outline(context);
    case questions.lint.name:
      return lint(context);
    default:
      throw unsupportedQuestion(name);
  }
}

export function answer(
  version: string,
  document: unknown,
  text: string,
  more: [string, string][] = [],
): FrontendResult {
  const entries: [string, string][] = [
    ['result.json', JSON.stringify(document, undefined, 2)],
    ['result.txt', text],
    ['version', version],
    ...more,
  ];
  const metadata = new Map(entries.map(([key, value]) => [key, Buffer.from(value)]));
  return { refs: new Map(), metadata, attestations: new Map() };
}

/** Columns as wide as their widest cell, two spaces between them. */
export function table(rows: readonly (readonly string[])[], gap: number): string {
  const widths = rows[0]!.map((_, column) => rows.reduce((most, row) => Math.max(most, row[column]!.length), 0));
  return rows
    .map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]! + gap))).join('')}\n`)
    .join('');
}

function describe(): FrontendResult {
  const all = Object.values(questions);
  const rows = all.map(({ name, version, description }) => [name.replace(/^frontend\./, ''), version, description]);
  return answer(questions.describe.version, all, table([['NAME', 'VERSION', 'DESCRIPTION'], ...rows], 1));
}

function targets({ file }: QuestionContext): FrontendResult {
  const { stages } = parseDockerfile(file.data);
  const list = stages.map((stage, i) => ({
    ...(stage.name === undefined ? {} : { name: stage.name }),
    ...(i === stages.length - 1 ? { default: true } : {}),
    ...(stage.description === undefined ? {} : { description: stage.description }),
    base: stage.base,
    ...(stage.platform === undefined ? {} : { platform: stage.platform }),
    location: locationOf(stage.ranges),
  }));
  const document = { targets: list, sources: [Buffer.from(file.data).toString('base64')] };
  const rows = list.map(({ name, default: isDefault, description }) => [
    `${name ?? '(default)'}${name !== undefined && isDefault === true ? ' (default)' : ''}`,
    description ?? '',
  ]);
  return answer(questions.targets.version, document, table([['TARGET', 'DESCRIPTION'], ...rows], 4));
}

async function outline(context: QuestionContext): Promise<FrontendResult> {
  const dockerfile = parseDockerfile(context.file.data);
  const document = outlineOf(dockerfile, await context.convert(false));
  const sources = [Buffer.from(context.file.data).toString('base64')];
  const args = document.args.map(({ name, value = '', description = '' }) => [name, value, description]);
  const secrets = document.secrets.map(({ name, required = false }) => [name, String(required)]);
  const ssh = document.ssh.map(({ name, required = false }) => [name, String(required)]);
  const text = [
    ...(args.length === 0 ? [] : [table([['BUILD ARG', 'VALUE', 'DESCRIPTION'], ...args], 4)]),
    ...(secrets.length === 0 ? [] : [table([['SECRET', 'REQUIRED'], ...secrets], 4)]),
    ...(ssh.length === 0 ? [] : [table([['SSH', 'REQUIRED'], ...ssh], 4)]),
  ].join('\n');
  return answer(questions.outline.version, { ...document, sources }, text);
}

/** The answer about a file that cannot be read at all. @returns undefined: it can, or something else is asked */
export function unreadable(name: string | undefined, source: SourceFile): FrontendResult | undefined {
  if (name !== questions.lint.name) return undefined;
  try {
    parseDockerfile(source.data);
    return undefined;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return { refs: new Map(), metadata: lintDocuments([], source, error), attestations: new Map() };
  }
}

/** Of all stages, or of what the target needs, and why the file could not be read to its end. */
async function lint({ linter, source, hasTarget, convert }: QuestionContext): Promise<FrontendResult> {
  let failure: LintError | undefined;
  try {
    await convert(!hasTarget);
  } catch (error) {
    if (!(error instanceof TareError)) throw error;
    failure = { message: error.message, ranges: error instanceof SourceError ? error.ranges : [] };
  }
  return { refs: new Map(), metadata: lintDocuments(linter.warnings, source, failure), attestations: new Map() };
}
