import type { PatternMatcher, Platform } from '../../storage/index.ts';
import type * as llb from '../llb/index.ts';
import type { LineRange } from '../progress.ts';
import type { Linter } from './check/index.ts';
import type { ExpansionMeter } from './expansion-meter.ts';
import type { FrontendOptions } from './options.ts';
import { operationPlatform } from './platforms.ts';
import type { StageBuild } from './stage.ts';
import type { Words } from './words.ts';

/** What the conversion of every instruction has. */
export interface Conversion {
  options: FrontendOptions;
  /** For what the whole is built. */
  target: Platform;
  /** Arguments before the first stage, and those of every Dockerfile, with their values. */
  globalArgs: ReadonlyMap<string, string>;
  words: Words;
  meter: ExpansionMeter;
  source: llb.SourceMap;
  /** The build's context; known when all that is taken of it is. */
  context: llb.Output;
  proxy: llb.ProxySettings | undefined;
  linter: Linter;
  /** Undefined: there is no ignore file. */
  ignored: PatternMatcher | undefined;
}

export const platformOf = (stage: StageBuild, conversion: Conversion): Platform => stage.platform ?? conversion.target;

export const operationPlatformOf = (stage: StageBuild, conversion: Conversion): llb.OperationPlatform =>
  operationPlatform(platformOf(stage, conversion));

/** What is said of a vertex of an instruction. */
export const notesOf = (
  conversion: Conversion,
  stage: StageBuild,
  name: string,
  ranges: readonly LineRange[],
): llb.VertexNotes => ({
  name,
  location: { source: conversion.source, ranges },
  ...(stage.ignoresCache ? { ignoresCache: true } : {}),
});
