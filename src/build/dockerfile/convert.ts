import { setImmediate } from 'node:timers/promises';
import { type Expansion, expandWord, parseGoBoolean } from '../../image/index.ts';
import { PatternMatcher, type Platform } from '../../storage/index.ts';
import type { FrontendBridge, ImageConfigAnswer } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { BaseImages, pathsTaken } from './base-image.ts';
import type { BuildContext } from './build-context.ts';
import {
  checkBasePlatform,
  checkDefaultBases,
  checkFile,
  checkFromVariables,
  checkStagePlatform,
  type Linter,
  StageChecks,
} from './check/index.ts';
import type { Conversion } from './conversion.ts';
import { convertCopy } from './convert-copy.ts';
import { convertRun } from './convert-run.ts';
import { convertSetting, directoryOf } from './convert-settings.ts';
import { type ExpansionMeter, expansionMeter, PART } from './expansion-meter.ts';
import { defaultPath, emptyImage, type ImageDocument, platformOf, variablesOf } from './image-document.ts';
import { at, atLater } from './located.ts';
import { NamedContexts } from './named-context.ts';
import type { FrontendOptions } from './options.ts';
import { type Dockerfile, parseTrigger } from './parse/index.ts';
import { platformArgs } from './platforms.ts';
import { type Command, inherit, reachable, type StageBuild, setEnv } from './stage.ts';
import { StageGraph } from './stage-graph.ts';
import { Words } from './words.ts';

/** So long others wait while a file is converted. */
const TURN_MS = 20;

export interface ConvertRequest {
  bridge: FrontendBridge;
  options: FrontendOptions;
  context: BuildContext;
  /** Undefined: the builder's own; the image may then be for another. */
  platform: Platform | undefined;
  source: llb.SourceMap;
  linter: Linter;
  /** Of images that were asked for in this build. */
  answers: Map<string, Promise<ImageConfigAnswer>>;
  /** Also stages that the target doesn't need, to check them. */
  isEverything?: boolean;
}

/** What a Dockerfile comes to. */
export interface Converted {
  tree: llb.Output | undefined;
  image: ImageDocument;
  /** The base image's own document. */
  baseImage: ImageDocument | undefined;
  platform: Platform;
  target: StageBuild;
  stages: readonly StageBuild[];
  globalArgs: ReadonlyMap<string, string>;
  /** Trees beside the result that a scanner is to look at, by name. */
  scanned: ReadonlyMap<string, llb.Output>;
  ignoresCache: boolean;
}

/**
 * Makes the graph and the image's config of a Dockerfile.
 *
 * @throws {SourceError} with the lines: a stage that there is not, a circle of stages, a bad platform …
 */
export async function convertDockerfile(dockerfile: Dockerfile, request: ConvertRequest): Promise<Converted> {
  const { options, context, source, linter } = request;
  const target = request.platform ?? options.buildPlatform;
  const targetName = options.target ?? dockerfile.stages.at(-1)?.name;
  const own = platformArgs(options.buildPlatform, target, targetName, options.buildArgs);
  const meter = expansionMeter();
  checkFile(dockerfile, linter);
  checkDefaultBases(dockerfile, own, linter, meter);
  const globalArgs = expandGlobalArgs(dockerfile, own, options.buildArgs, meter);
  const declared = new Set(globalArgs.keys());
  for (const { args } of dockerfile.metaArgs) for (const { key } of args) declared.add(key);
  const expand = (text: string) =>
    expandWord(text, { variables: globalArgs, escape: dockerfile.directives.escape, meter });
  for (const stage of dockerfile.stages) checkFrom(stage, expand, { globalArgs, declared, linter });
  const contexts = new NamedContexts(request.bridge, options, context);
  const graph = new StageGraph(target, dockerfile.directives.escape, meter);
  for (const stage of dockerfile.stages) await addStage(graph, stage, globalArgs, contexts, options, target);
  const wanted = graph.target(options.target);
  for (const stage of [...graph.stages]) graph.link(stage);
  graph.refuseCycles();
  if (graph.stages.length === 1) wanted.label = '';
  await resolveBases(
    graph,
    wanted,
    new BaseImages(request.bridge, options, contexts, request.answers),
    request,
    target,
    meter,
  );

  const later = new llb.LaterOutput();
  const patterns = await context.ignorePatterns();
  let current: StageBuild | undefined;
  const conversion: Conversion = {
    options,
    target,
    globalArgs,
    words: new Words(dockerfile.directives.escape, meter, (names, env, written) =>
      current?.checks?.variables(written, names, current.declaredArgs, env.keys()),
    ),
    meter,
    source,
    context: later,
    proxy: proxyOf(options.buildArgs),
    linter,
    ignored: patterns.length === 0 ? undefined : new PatternMatcher(patterns),
  };
  const needed = reachable(wanted);
  let nextTurnMs = performance.now() + TURN_MS;
  for (const stage of graph.stages) {
    if (stage.isDone || (!needed.has(stage) && request.isEverything !== true)) continue;
    current = stage;
    for (const _ of convertStage(conversion, stage)) {
      if (performance.now() < nextTurnMs) continue;
      await setImmediate();
      request.bridge.signal.throwIfAborted();
      nextTurnMs = performance.now() + TURN_MS;
    }
  }
  // Of a result, all is wanted.
  wanted.usedPaths.add('/');
  contexts.settle();
  linter.requireClean();
  const paths = new Set([...needed].flatMap((stage) => [...stage.contextPaths]));
  later.set((await context.tree(pathsTaken(paths))) ?? emptyFolder());
  return { ...finish(wanted, needed, later, request, target), globalArgs };
}

function checkFrom(
  stage: Dockerfile['stages'][number],
  expand: (text: string) => Expansion,
  {
    globalArgs,
    declared,
    linter,
  }: { globalArgs: ReadonlyMap<string, string>; declared: ReadonlySet<string>; linter: Linter },
): void {
  at(stage.ranges, () => {
    checkFromVariables(stage, expand(stage.base).unset, declared, linter);
    if (stage.platform === undefined) return;
    const platform = expand(stage.platform);
    checkFromVariables(stage, platform.unset, declared, linter);
    checkStagePlatform(stage, platform, globalArgs.get('TARGETPLATFORM') ?? '', linter);
  });
}

/** Where an output must be: a tree with nothing in it. */
const emptyFolder = (): llb.Output =>
  llb.file(undefined, [{ kind: 'mkdir', path: '/', mode: 0o755, makesParents: true }]);

async function addStage(
  graph: StageGraph,
  written: Dockerfile['stages'][number],
  globalArgs: ReadonlyMap<string, string>,
  contexts: NamedContexts,
  options: FrontendOptions,
  target: Platform,
): Promise<void> {
  const stage = graph.add(written, globalArgs);
  stage.ignoresCache =
    options.noCache !== undefined &&
    (options.noCache.length === 0 || options.noCache.includes(written.name?.toLowerCase() ?? ''));
  if (written.name === undefined) return;
  const replacement = await atLater(written.ranges, () =>
    contexts.find(written.name!, {
      platform: stage.platform ?? target,
      usedPaths: () => pathsTaken(stage.usedPaths),
    }),
  );
  if (replacement === undefined) return;
  stage.isDone = true;
  stage.isResolved = true;
  stage.base = undefined;
  stage.tree = replacement.tree;
  if (replacement.image === undefined) {
    stage.image = emptyImage(target);
  } else {
    stage.image = replacement.image;
    if (replacement.image.architecture !== '') stage.platform = platformOf(replacement.image);
  }
}

/** Values of the arguments before the first stage, and those that every file has. */
export function expandGlobalArgs(
  { metaArgs, directives }: Dockerfile,
  own: Map<string, string>,
  given: ReadonlyMap<string, string>,
  meter: ExpansionMeter,
): Map<string, string> {
  const values = new Map(own);
  for (const instruction of metaArgs) {
    for (const { key, value: preset } of instruction.args) {
      const value = at(instruction.ranges, () =>
        given.has(key) || preset === undefined
          ? given.get(key)
          : expandWord(preset, { variables: values, escape: directives.escape, meter }).text,
      );
      if (value !== undefined) setEnv(values, key, value);
    }
  }
  return values;
}

/** Of an image that a stage of the file begins with. */
function checkPlatform({ written, baseImage, baseName, platform }: StageBuild, linter: Linter): void {
  if (written === undefined || baseImage === undefined || platform === undefined) return;
  if (baseImage.os === '' || baseImage.architecture === '') return;
  checkBasePlatform(written, { name: baseName, actual: platformOf(baseImage), expected: platform }, linter);
}

/** Asks for the base images of what is needed, until their triggers need nothing more. */
async function resolveBases(
  graph: StageGraph,
  wanted: StageBuild,
  images: BaseImages,
  request: ConvertRequest,
  target: Platform,
  meter: ExpansionMeter,
): Promise<void> {
  const place = { target, stageNames: graph.names(), source: request.source };
  for (;;) {
    const needed = request.isEverything === true ? new Set(graph.stages) : reachable(wanted);
    const open = [...needed].filter((stage) => stage.base === undefined && !stage.isResolved && !stage.isDone);
    await Promise.all(open.map((stage) => atLater(stage.ranges, () => images.begin(stage, place))));
    for (const stage of open) checkPlatform(stage, request.linter);
    let isChanged = false;
    for (const stage of graph.stages.filter((candidate) => needed.has(candidate))) {
      if (stage.haveTriggersRun || stage.isDone) continue;
      stage.haveTriggersRun = true;
      if (at(stage.ranges, () => addTriggers(graph, stage, meter))) isChanged = true;
    }
    if (!isChanged) return;
    graph.refuseCycles();
  }
}

/** What an image or a stage left to be done by who begins with it. @returns whether other stages are needed now */
function addTriggers(graph: StageGraph, stage: StageBuild, meter: ExpansionMeter): boolean {
  const { base } = stage;
  const expressions = [...((base === undefined ? stage : base).image.config.OnBuild ?? [])];
  for (const { instruction } of base?.isDone === false ? base.commands : []) {
    if (instruction.kind === 'onbuild') expressions.push(instruction.expression);
  }
  if (base === undefined) delete stage.image.config.OnBuild;
  meter(expressions.length * PART);
  const before = stage.dependencies.size;
  const commands = expressions.map((expression): Command => {
    const instruction = parseTrigger(expression);
    return graph.command(stage, { ...instruction, ranges: stage.ranges }, true);
  });
  stage.commands.unshift(...commands);
  stage.commandCount += commands.length;
  return stage.dependencies.size > before;
}

/** A step an instruction, so that others get their turn between them. */
function* convertStage(conversion: Conversion, stage: StageBuild): Generator<void, void, void> {
  inherit(stage, conversion.meter);
  stage.isDone = true;
  stage.checks = new StageChecks(conversion.linter, stage.base?.checks?.hasAbsoluteWorkdir ?? false);
  stage.platform ??= conversion.target;
  const { config } = stage.image;
  at(stage.ranges, () => {
    if (!variablesOf(config).some(([key]) => key === 'PATH')) {
      config.Env = [...(config.Env ?? []), `PATH=${defaultPath(stage.platform!.os)}`];
    }
    for (const [key, value] of variablesOf(config)) setEnv(stage.env, key, value);
    if ((config.WorkingDir ?? '') !== '') {
      config.WorkingDir = directoryOf(config.WorkingDir, config.WorkingDir!);
      stage.directory = config.WorkingDir;
    }
  });
  for (const command of stage.commands) {
    stage.isInTrigger = command.isTrigger;
    at(command.instruction.ranges, () => convertCommand(conversion, stage, command));
    yield;
  }
}

function convertCommand(conversion: Conversion, stage: StageBuild, command: Command): void {
  const { kind } = command.instruction;
  if (kind === 'run') convertRun(conversion, stage, command);
  else if (kind === 'copy' || kind === 'add') convertCopy(conversion, stage, command);
  else convertSetting(conversion, stage, command.instruction);
}

function finish(
  wanted: StageBuild,
  needed: ReadonlySet<StageBuild>,
  context: llb.Output,
  { options, platform }: ConvertRequest,
  target: Platform,
): Omit<Converted, 'globalArgs'> {
  const { image } = wanted;
  if (options.labels.size > 0) {
    image.config.Labels = { ...image.config.Labels, ...Object.fromEntries(options.labels) };
  }
  if (platform !== undefined) {
    delete image.variant;
    delete image['os.version'];
    delete image['os.features'];
    Object.assign(image, platform);
  }
  const scanned = new Map<string, llb.Output>();
  if (isScanned(wanted, 'BUILDKIT_SBOM_SCAN_CONTEXT')) scanned.set('context', context);
  for (const stage of needed) {
    if (stage !== wanted && stage.tree !== undefined && isScanned(stage, 'BUILDKIT_SBOM_SCAN_STAGE')) {
      scanned.set(stage.label, stage.tree);
    }
  }
  return {
    tree: wanted.tree,
    image,
    baseImage: wanted.baseImage,
    platform: target,
    target: wanted,
    stages: [...needed],
    scanned,
    ignoresCache: wanted.ignoresCache,
  };
}

function isScanned(stage: StageBuild, name: string): boolean {
  const value = stage.buildArgs.findLast(({ key }) => key === name)?.value ?? '';
  return parseGoBoolean(value) ?? value.split(',').includes(stage.label);
}

/** The client's proxies, which commands see and cache keys do not. */
function proxyOf(args: ReadonlyMap<string, string>): llb.ProxySettings | undefined {
  const proxy = { http: '', https: '', ftp: '', no: '', all: '' };
  let isAny = false;
  for (const [key, value] of args) {
    const [, name] = /^(http|https|ftp|no|all)_proxy$/i.exec(key) ?? [];
    if (name === undefined) continue;
    proxy[name.toLowerCase() as keyof typeof proxy] = value;
    isAny = true;
  }
  return isAny ? proxy : undefined;
}
