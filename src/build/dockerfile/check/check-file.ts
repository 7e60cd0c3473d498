import { TareError } from '../../../errors/index.ts';
import { expandWord, parseReference } from '../../../image/index.ts';
import type { ExpansionMeter } from '../expansion-meter.ts';
import type { ArgInstruction, Dockerfile, Instruction, Stage, Written } from '../parse/instruction.ts';
import type { Linter } from './linter.ts';
import { rules } from './rules.ts';

/** The checks that need the text alone. */
export function checkFile(file: Dockerfile, linter: Linter): void {
  for (const line of file.emptyContinuations) linter.run(rules.noEmptyContinuation, line, 'Empty continuation line');
  for (const arg of file.metaArgs) checkArgDescription(arg, linter);
  for (const stage of file.stages) {
    checkFromCasing(stage, linter);
    if (stage.name !== undefined) checkDescription('FROM', [stage.name], stage, linter);
    for (const instruction of stage.instructions) checkInstruction(instruction, linter);
  }
  checkStageNames(file, linter);
  checkCasing(file, linter);
}

function checkInstruction(instruction: Instruction, linter: Linter): void {
  if (instruction.kind === 'arg') checkArgDescription(instruction, linter);
  if (instruction.kind === 'maintainer') {
    const message = 'Maintainer instruction is deprecated in favor of using label';
    linter.run(rules.maintainerDeprecated, instruction, message);
  }
}

function checkFromCasing(stage: Stage, linter: Linter): void {
  const { writtenName, asKeyword, keyword } = stage;
  if (writtenName === undefined || asKeyword === undefined) return;
  if (writtenName !== writtenName.toLowerCase()) {
    linter.run(rules.stageNameCasing, stage, `Stage name '${writtenName}' should be lowercase`);
  }
  // A keyword in mixed case is told of by another check.
  const isLower = keyword === keyword.toLowerCase();
  if (!isLower && keyword !== keyword.toUpperCase()) return;
  if (asKeyword !== (isLower ? asKeyword.toLowerCase() : asKeyword.toUpperCase())) {
    linter.run(rules.fromAsCasing, stage, `'${asKeyword}' and '${keyword}' keywords' casing do not match`);
  }
}

function checkArgDescription(arg: ArgInstruction, linter: Linter): void {
  checkDescription(
    'ARG',
    arg.args.map(({ key }) => key),
    arg,
    linter,
  );
}

function checkDescription(name: string, keys: readonly string[], place: Written, linter: Linter): void {
  const comment = place.comments.at(-1);
  if (comment === undefined || keys.length === 0 || keys.includes(comment.split(' ', 1)[0]!)) return;
  const example = keys.length > 1 ? '<arg_key>' : keys[0]!;
  const message = `Comment for ${name} should follow the format: \`# ${example} <description>\``;
  linter.run(rules.invalidDefinitionDescription, place, message);
}

const reserved = ['context', 'scratch'];

function checkStageNames(file: Dockerfile, linter: Linter): void {
  const names = new Set<string>();
  for (const stage of file.stages) {
    const { name } = stage;
    if (name === undefined) continue;
    if (reserved.includes(name)) {
      const message = `Stage name should not use the same name as reserved stage ${JSON.stringify(name)}`;
      linter.run(rules.reservedStageName, stage, message);
    }
    if (names.has(name)) {
      const message = `Duplicate stage name ${JSON.stringify(name)}, stage names should be unique`;
      linter.run(rules.duplicateStageName, stage, message);
    }
    names.add(name);
  }
}

function checkCasing(file: Dockerfile, linter: Linter): void {
  const all: readonly Written[] = file.stages.flatMap((stage) => [stage, ...stage.instructions]);
  const lower = all.filter(({ keyword }) => keyword === keyword.toLowerCase()).length;
  const upper = all.filter(({ keyword }) => keyword === keyword.toUpperCase()).length;
  const isLower = lower > upper;
  for (const instruction of all) {
    const { keyword } = instruction;
    if (keyword === (isLower ? keyword.toLowerCase() : keyword.toUpperCase())) continue;
    const message = `Command '${keyword}' should match the case of the command majority (${isLower ? 'lowercase' : 'uppercase'})`;
    linter.run(rules.consistentInstructionCasing, instruction, message);
  }
}

/**
 * Looks whether bases have names when no build arguments are given.
 * @param globals the arguments that are there before any is declared (`TARGETPLATFORM` …)
 */
export function checkDefaultBases(
  file: Dockerfile,
  globals: ReadonlyMap<string, string>,
  linter: Linter,
  meter: ExpansionMeter,
): void {
  const variables = new Map(globals);
  const options = { variables, escape: file.directives.escape, meter };
  // What cannot be expanded fails the build elsewhere.
  const expand = (word: string): string | undefined => {
    try {
      return expandWord(word, options).text;
    } catch (error) {
      if (error instanceof TareError) return undefined;
      throw error;
    }
  };
  for (const { key, value } of file.metaArgs.flatMap(({ args }) => args)) {
    const text = value === undefined ? undefined : expand(value);
    if (text !== undefined) variables.set(key, text);
  }
  for (const stage of file.stages) {
    const base = expand(stage.base);
    if (base === undefined || isReference(base)) continue;
    const message = `Default value for ARG ${stage.base} results in empty or invalid base image name`;
    linter.run(rules.invalidDefaultArgInFrom, stage, message);
  }
}

function isReference(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch (error) {
    if (error instanceof TareError) return false;
    throw error;
  }
}
