import type { Platform } from '../../storage/index.ts';
import type * as llb from '../llb/index.ts';
import type { LineRange } from '../progress.ts';
import type { StageChecks } from './check/index.ts';
import { ENTRY, type ExpansionMeter } from './expansion-meter.ts';
import { copyOf, type ImageDocument, sizeOf } from './image-document.ts';
import type { Instruction, Mount, Stage } from './parse/instruction.ts';

/** An instruction with the stages that it takes from, one for each of its sources that is one. */
export interface Command {
  instruction: Instruction;
  /** By position: of COPY the one, of RUN one for each mount. */
  sources: readonly (StageBuild | undefined)[];
  /** It comes from an ONBUILD of the base. */
  isTrigger: boolean;
}

/** A stage while it is converted. What `FROM` or `--from` names beside the file's stages is one too: an *implicit* one. */
export interface StageBuild {
  /** Undefined: implicit. */
  readonly written: Stage | undefined;
  readonly ranges: readonly LineRange[];
  readonly original: string;
  /** Expanded. */
  baseName: string;
  /** The stage that it begins with. */
  base: StageBuild | undefined;
  /** How its steps are shown; empty: it is the only one. */
  label: string;
  platform: Platform | undefined;
  commands: Command[];
  /** Stages it needs beside its base, each with the instruction that needs it. */
  readonly dependencies: Map<StageBuild, Instruction>;
  /** What of the build's context its instructions take. */
  readonly contextPaths: Set<string>;
  /** What others take of it, if it is a client's folder; shared with its base. */
  usedPaths: Set<string>;
  ignoresCache: boolean;
  /** Its base image was asked for. */
  isResolved: boolean;
  /** It is converted, or there is nothing to convert. */
  isDone: boolean;
  haveTriggersRun: boolean;

  tree: llb.Output | undefined;
  image: ImageDocument;
  /** The base image's own document. */
  baseImage: ImageDocument | undefined;
  /** Environment of its commands: the image's variables, and the values of its arguments. */
  env: Map<string, string>;
  directory: string;
  /** In order; a later one of the same name counts. */
  buildArgs: { key: string; value: string | undefined }[];
  /** Their names. */
  declaredArgs: Set<string>;
  commandIndex: number;
  commandCount: number;
  /** A CMD in this stage survives an ENTRYPOINT after it; an inherited one doesn't. */
  isCmdSet: boolean;
  checks: StageChecks | undefined;
  /** The instruction at hand is an ONBUILD of the base. */
  isInTrigger: boolean;
  /** What its RUNs mount, as they are read. */
  readonly mountsOf: Map<Instruction, readonly Mount[]>;
}

export const newStage = (
  from: Pick<StageBuild, 'written' | 'ranges' | 'original' | 'baseName' | 'label' | 'image'>,
): StageBuild => ({
  ...from,
  base: undefined,
  platform: undefined,
  commands: [],
  dependencies: new Map(),
  contextPaths: new Set(),
  usedPaths: new Set(),
  ignoresCache: false,
  isResolved: false,
  isDone: false,
  haveTriggersRun: false,
  tree: undefined,
  baseImage: undefined,
  env: new Map(),
  directory: '/',
  buildArgs: [],
  declaredArgs: new Set(),
  commandIndex: 0,
  commandCount: 0,
  isCmdSet: false,
  checks: undefined,
  isInTrigger: false,
  mountsOf: new Map(),
});

/** Puts a stage where its base ended. @throws what the meter throws */
export function inherit(stage: StageBuild, meter: ExpansionMeter): void {
  const { base } = stage;
  if (base === undefined) return;
  meter((base.env.size + base.buildArgs.length + sizeOf(base.image)) * ENTRY);
  stage.tree = base.tree;
  stage.platform = base.platform ?? stage.platform;
  stage.image = copyOf(base.image);
  // Triggers were for this stage; they are no longer for those above it.
  delete stage.image.config.OnBuild;
  stage.baseImage = base.baseImage;
  stage.env = new Map(base.env);
  stage.directory = base.directory;
  stage.buildArgs = [...base.buildArgs];
  stage.declaredArgs = new Set(base.declaredArgs);
  stage.usedPaths = base.usedPaths;
}

/** A stage with all that it is made from. */
export function reachable(target: StageBuild): Set<StageBuild> {
  const found = new Set([target]);
  for (const stage of found) {
    if (stage.base !== undefined) found.add(stage.base);
    for (const dependency of stage.dependencies.keys()) found.add(dependency);
  }
  return found;
}

/** Sets a variable as the last one. */
export function setEnv(env: Map<string, string>, key: string, value: string): void {
  env.delete(key);
  env.set(key, value);
}
