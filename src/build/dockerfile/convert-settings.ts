import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { parseExposedPorts, requireSignal } from '../../image/index.ts';
import * as llb from '../llb/index.ts';
import { type Conversion, notesOf, platformOf } from './conversion.ts';
import { withShell } from './convert-run.ts';
import { ownershipOf } from './copy-words.ts';
import { ENTRY } from './expansion-meter.ts';
import { durationText, quoted, quotedList, quotedNumber } from './go-format.ts';
import { record, setVariable, withEntries } from './image-document.ts';
import type {
  ArgInstruction,
  CommandLine,
  HealthcheckInstruction,
  Instruction,
  WorkdirInstruction,
} from './parse/index.ts';
import { type StageBuild, setEnv } from './stage.ts';
import { stepName, withUpperKeyword } from './step-name.ts';

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** Arguments that say how an image is scanned, and are no variables of commands. */
const notVariables = ['BUILDKIT_SBOM_SCAN_CONTEXT', 'BUILDKIT_SBOM_SCAN_STAGE'];

/** Instructions that change what the image says, and no files; but WORKDIR makes its folder. */
export function convertSetting(conversion: Conversion, stage: StageBuild, instruction: Instruction): void {
  if (instruction.kind === 'workdir') changeDirectory(conversion, stage, instruction);
  else {
    const text = applySetting(conversion, stage, instruction);
    if (text !== undefined) record(stage.image, text, false, conversion.options.epochSeconds);
  }
}

/** @returns what the history says of it; undefined: nothing */
function applySetting(conversion: Conversion, stage: StageBuild, instruction: Instruction): string | undefined {
  const { words, meter } = conversion;
  const { config } = stage.image;
  const expand = (word: string) => words.expand(word, stage.env, instruction);
  switch (instruction.kind) {
    case 'env': {
      // All values are expanded with what was set before the instruction.
      const pairs = instruction.pairs.map(({ key, value }) => [expand(key), expand(value)] as const);
      stage.checks?.pairs(
        instruction,
        pairs.map(([key]) => key),
      );
      for (const [key, value] of pairs) {
        setEnv(stage.env, key, value);
        setVariable(config, key, value);
      }
      return `ENV ${pairs.map(([key, value]) => `${key}=${value}`).join(' ')}`;
    }
    case 'label': {
      const pairs = instruction.pairs.map(({ key, value }) => [expand(key), expand(value)] as const);
      stage.checks?.pairs(
        instruction,
        pairs.map(([key]) => key),
      );
      config.Labels = withEntries(config.Labels, pairs);
      return `LABEL ${pairs.map(([key, value]) => `${key}=${value}`).join(' ')}`;
    }
    case 'arg':
      return `ARG ${declareArgs(conversion, stage, instruction)}`;
    case 'user':
      config.User = expand(instruction.user);
      return `USER ${config.User}`;
    case 'cmd':
      stage.checks?.command(instruction, (config.Shell ?? []).length > 0);
      config.Cmd = commandOf(stage, instruction.command);
      config.ArgsEscaped = true;
      stage.isCmdSet = true;
      return `CMD ${quotedList(config.Cmd)}`;
    case 'entrypoint':
      stage.checks?.command(instruction, (config.Shell ?? []).length > 0);
      config.Entrypoint = commandOf(stage, instruction.command);
      if (!stage.isCmdSet) delete config.Cmd;
      return `ENTRYPOINT ${quotedList(config.Entrypoint)}`;
    case 'shell':
      config.Shell = [...instruction.shell];
      return `SHELL [${config.Shell.join(' ')}]`;
    case 'healthcheck':
      stage.checks?.once(instruction);
      config.Healthcheck = instruction.check;
      return `HEALTHCHECK ${checkText(instruction)}`;
    case 'expose': {
      const ports = instruction.ports
        .flatMap((port) => words.expandMany(port, stage.env))
        .flatMap((word) => {
          const read = parseExposedPorts(word);
          meter(read.ports.length * ENTRY);
          stage.checks?.port(instruction, word, read);
          return read.ports;
        });
      config.ExposedPorts = withEntries(
        config.ExposedPorts,
        ports.map((port) => [port, {}] as const),
      );
      return `EXPOSE [${ports.join(' ')}]`;
    }
    case 'volume': {
      const paths = instruction.paths.map(expand);
      if (paths.includes('')) throw invalid('VOLUME specified can not be an empty string');
      config.Volumes = withEntries(
        config.Volumes,
        paths.map((path) => [path, {}] as const),
      );
      return `VOLUME [${paths.join(' ')}]`;
    }
    case 'stopsignal':
      config.StopSignal = requireSignal(expand(instruction.signal));
      return `STOPSIGNAL ${config.StopSignal}`;
    case 'maintainer':
      stage.image.author = instruction.maintainer;
      return `MAINTAINER ${instruction.maintainer}`;
    case 'onbuild':
      config.OnBuild = [...(config.OnBuild ?? []), instruction.expression];
      return undefined;
    default:
      return undefined;
  }
}

const commandOf = (stage: StageBuild, { form, words }: CommandLine): string[] =>
  form === 'json' ? [...words] : withShell(stage, words);

/** As Go prints the record of a health check. */
function checkText({ check }: HealthcheckInstruction): string {
  const durations = [check.Interval, check.Timeout, check.StartPeriod, check.StartInterval];
  const parts = [
    quotedList(check.Test ?? []),
    ...durations.map((duration) => quoted(durationText(duration ?? 0))),
    quotedNumber(check.Retries ?? 0),
  ];
  return `&{${parts.join(' ')}}`;
}

/** @returns the arguments as the history tells them */
function declareArgs(conversion: Conversion, stage: StageBuild, instruction: ArgInstruction): string {
  const { options, globalArgs, words } = conversion;
  stage.checks?.secrets(
    instruction,
    'ARG',
    instruction.args.map(({ key }) => key),
  );
  return instruction.args
    .map(({ key, value: preset }) => {
      const value =
        options.buildArgs.get(key) ??
        (preset === undefined ? globalArgs.get(key) : words.expand(preset, stage.env, instruction));
      if (value !== undefined && !notVariables.includes(key)) setEnv(stage.env, key, value);
      stage.buildArgs.push({ key, value });
      stage.declaredArgs.add(key);
      return value === undefined ? key : `${key}=${value}`;
    })
    .join(' ');
}

/** A folder in an image, from where the image's commands run. @throws {TareError} InvalidArgument: an empty one */
export function directoryOf(current: string | undefined, wanted: string): string {
  if (wanted === '') throw invalid('WORKDIR wants a path');
  return posix.resolve('/', current ?? '', wanted);
}

function changeDirectory(conversion: Conversion, stage: StageBuild, instruction: WorkdirInstruction): void {
  const { options, words } = conversion;
  const { config } = stage.image;
  const wanted = words.expand(instruction.path, stage.env, instruction);
  stage.checks?.workdir(instruction, wanted);
  const directory = directoryOf(config.WorkingDir, wanted);
  config.WorkingDir = directory;
  stage.directory = directory;
  if (directory !== '/') {
    const shown = withUpperKeyword(words.show(instruction.original, stage.env));
    const name = stepName(stage, shown, options.isMultiPlatform, platformOf(stage, conversion));
    const { ignoresCache: _, ...notes } = notesOf(conversion, stage, name, instruction.ranges);
    const owner = ownershipOf(config.User ?? '');
    const timestamp = options.epochSeconds === undefined ? undefined : BigInt(options.epochSeconds) * 1_000_000_000n;
    stage.tree = llb.file(
      stage.tree,
      [{ kind: 'mkdir', path: directory, mode: 0o755, makesParents: true, owner, timestamp }],
      notes,
    );
  }
  record(stage.image, `WORKDIR ${directory}`, directory !== '/', options.epochSeconds);
}
