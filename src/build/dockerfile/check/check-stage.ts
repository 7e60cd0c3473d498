import { TareError } from '../../../errors/index.ts';
import { type Expansion, type ExposedPorts, formatPlatform, parsePlatform } from '../../../image/index.ts';
import { cleanPattern, type PatternMatcher } from '../../../storage/index.ts';
import type {
  CmdInstruction,
  EntrypointInstruction,
  EnvInstruction,
  HealthcheckInstruction,
  Instruction,
  LabelInstruction,
  Stage,
  WorkdirInstruction,
  Written,
} from '../parse/instruction.ts';
import type { Linter } from './linter.ts';
import { rules } from './rules.ts';

/** What checks need of variables: those that no one set. */
type Unset = ReadonlySet<string>;

/** @param declared names that FROM may use */
export function checkFromVariables(stage: Stage, unset: Unset, declared: ReadonlySet<string>, linter: Linter): void {
  for (const name of unset) {
    if (declared.has(name)) continue;
    const message = `FROM argument '${name}' is not declared${linter.hint(name, declared, '')}`;
    linter.run(rules.undefinedArgInFrom, stage, message);
  }
}

/** @param expansion of the stage's platform @param target the value of TARGETPLATFORM */
export function checkStagePlatform(stage: Stage, expansion: Expansion, target: string, linter: Linter): void {
  const { used, unset, text } = expansion;
  if (used.size === 1 && unset.size === 0 && used.has('TARGETPLATFORM') && text === target) {
    const message = `Setting platform to predefined ${stage.platform} in FROM is redundant as this is the default behavior`;
    linter.run(rules.redundantTargetPlatform, stage, message);
  }
  if (used.size > 0 || unset.size > 0) return;
  let platform: { os: string; architecture: string };
  try {
    platform = parsePlatform(text);
  } catch (error) {
    if (error instanceof TareError) return;
    throw error;
  }
  // A name that speaks of the platform says that it is meant.
  const name = stage.name ?? '';
  if (name.includes(platform.os) || name.includes(platform.architecture)) return;
  const message = `FROM --platform flag should not use constant value ${JSON.stringify(text)}`;
  linter.run(rules.fromPlatformFlagConstDisallowed, stage, message);
}

type ImagePlatform = Parameters<typeof formatPlatform>[0];

export function checkBasePlatform(
  stage: Stage,
  image: { name: string; actual: ImagePlatform; expected: ImagePlatform },
  linter: Linter,
): void {
  const { name, actual, expected } = image;
  if (actual.os === expected.os && actual.architecture === expected.architecture) return;
  const message = `Base image ${name} was pulled with platform ${JSON.stringify(formatPlatform(actual))}, expected ${JSON.stringify(formatPlatform(expected))} for current build`;
  linter.run(rules.invalidBaseImagePlatform, stage, message);
}

/** The checks of a stage's instructions while they are applied, one stage an object. */
export class StageChecks {
  readonly #linter: Linter;
  readonly #last = new Map<string, Written>();
  #hasAbsoluteWorkdir: boolean;

  /** @param hasAbsoluteWorkdir the stage that it is based on set one */
  constructor(linter: Linter, hasAbsoluteWorkdir = false) {
    this.#linter = linter;
    this.#hasAbsoluteWorkdir = hasAbsoluteWorkdir;
  }

  get hasAbsoluteWorkdir(): boolean {
    return this.#hasAbsoluteWorkdir;
  }

  /** @param unset variables that an expansion missed @param declared ARGs of the stage @param known names of variables that are set */
  variables(instruction: Instruction, unset: Unset, declared: ReadonlySet<string>, known: Iterable<string>): void {
    const names = this.#linter.mayHint ? [...known] : [];
    for (const name of unset) {
      if (declared.has(name)) continue;
      const message = `Usage of undefined variable '$${name}'${this.#linter.hint(name, names, '$')}`;
      this.#linter.run(rules.undefinedVar, instruction, message);
    }
  }

  /** @param keys expanded */
  pairs(instruction: EnvInstruction | LabelInstruction, keys: readonly string[]): void {
    if (instruction.isLegacy) {
      const { keyword } = instruction;
      const message = `"${keyword} key=value" should be used instead of legacy "${keyword} key value" format`;
      this.#linter.run(rules.legacyKeyValueFormat, instruction, message);
    }
    if (instruction.kind === 'env') this.secrets(instruction, 'ENV', keys);
  }

  secrets(instruction: Instruction, name: 'ARG' | 'ENV', keys: readonly string[]): void {
    for (const key of keys.filter(isSecret)) {
      const message = `Do not use ARG or ENV instructions for sensitive data (${name} ${JSON.stringify(key)})`;
      this.#linter.run(rules.secretsUsedInArgOrEnv, instruction, message);
    }
  }

  /** @param hasShell a SHELL instruction, here or in the base, chose what runs it */
  command(instruction: CmdInstruction | EntrypointInstruction, hasShell: boolean): void {
    this.once(instruction);
    if (instruction.command.form === 'json' || hasShell) return;
    const message = `JSON arguments recommended for ${instruction.keyword} to prevent unintended behavior related to OS signals`;
    this.#linter.run(rules.jsonArgsRecommended, instruction, message);
  }

  /** The place of the earlier one is told: it does nothing. */
  once(instruction: CmdInstruction | EntrypointInstruction | HealthcheckInstruction): void {
    const earlier = this.#last.get(instruction.kind);
    this.#last.set(instruction.kind, instruction);
    if (earlier === undefined) return;
    const message = `Multiple ${instruction.keyword} instructions should not be used in the same stage because only the last one will be used`;
    this.#linter.run(rules.multipleInstructionsDisallowed, earlier, message);
  }

  /** @param path expanded */
  workdir(instruction: WorkdirInstruction, path: string): void {
    if (path.startsWith('/')) this.#hasAbsoluteWorkdir = true;
    if (this.#hasAbsoluteWorkdir) return;
    const message = `Relative workdir ${JSON.stringify(path)} can have unexpected results if the base image changes`;
    this.#linter.run(rules.workdirRelativePath, instruction, message);
    this.#hasAbsoluteWorkdir = true;
  }

  /** @param word of EXPOSE, expanded */
  port(instruction: Instruction, word: string, read: ExposedPorts): void {
    if (read.protocol !== read.protocol.toLowerCase()) {
      const message = `Defined protocol '${word}' in EXPOSE instruction should be lowercase`;
      this.#linter.run(rules.exposeProtoCasing, instruction, message);
    }
    if (read.hasHostPart) {
      const message = `EXPOSE instruction should not define an IP address or host-port mapping, found '${word}'`;
      this.#linter.run(rules.exposeInvalidFormat, instruction, message);
    }
  }

  /** @param source expanded, of the context @param ignored undefined: there is no ignore file */
  source(instruction: Instruction, source: string, ignored: PatternMatcher | undefined): void {
    // With exceptions a folder that is left out may hold what is not.
    if (ignored === undefined || ignored.hasExceptions) return;
    const path = cleanPattern(source);
    // All of the context is no file in it.
    if (path === '.' || !ignored.matches(path)) return;
    const verb = instruction.kind === 'add' ? 'Add' : 'Copy';
    const message = `Attempting to ${verb} file ${JSON.stringify(path)} that is excluded by .dockerignore`;
    this.#linter.run(rules.copyIgnoredFile, instruction, message);
  }
}

const secretWords = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const harmlessWords = /(?:_|^)(?:public|file|version)(?:_|$)/i;

function isSecret(key: string): boolean {
  return secretWords.test(key) && !harmlessWords.test(key);
}
