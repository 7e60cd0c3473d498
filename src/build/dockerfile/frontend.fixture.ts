import { fromBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { type Definition, type Op, OpSchema } from '../../protocol/index.ts';
import type { BridgeRef, BridgeSolveRequest, FrontendBridge, FrontendResult } from '../frontend.ts';
import type { VertexWarning } from '../progress.ts';
import { dockerfileFrontend } from './frontend.ts';

const linux = { os: 'linux', architecture: 'amd64' };

/** A base image as a registry would tell of it. */
export interface TestImage {
  config?: object;
  history?: object[];
  platform?: { os: string; architecture: string };
  diffIDs?: string[];
}

export interface TestBuild {
  /** Files of the client's folder, by path. */
  files?: Record<string, string>;
  options?: Record<string, string>;
  /** By canonical reference. */
  images?: Record<string, TestImage>;
  inputs?: Map<string, Definition>;
  onSolve?: (request: BridgeSolveRequest) => Promise<FrontendResult> | undefined;
}

export interface TestResult {
  result: FrontendResult;
  /** All that was solved, in order. */
  solved: BridgeSolveRequest[];
  warnings: VertexWarning[];
  /** References whose configs were asked for, with how it was shown. */
  asked: string[];
}

export const DIGEST = `sha256:${'1'.repeat(64)}`;

const unwanted = (): never => {
  throw new TareError('Unsupported', 'the bridge runs nothing');
};

/** Runs the frontend over a bridge that has these files and images, and runs nothing. */
export async function runFrontend(dockerfile: string | Uint8Array, build: TestBuild = {}): Promise<TestResult> {
  const solved: BridgeSolveRequest[] = [];
  const warnings: VertexWarning[] = [];
  const asked: string[] = [];
  const files: Record<string, string | Uint8Array> = { Dockerfile: dockerfile, ...build.files };
  const images: Record<string, TestImage> = { 'docker.io/library/debian:stable': {}, ...build.images };
  const bridge: FrontendBridge = {
    options: build.options ?? {},
    inputs: build.inputs ?? new Map(),
    sessionID: 'session',
    platforms: [linux],
    signal: new AbortController().signal,
    async resolveImageConfig(ref, question) {
      asked.push(question.logName);
      const image = images[ref];
      if (image === undefined) throw new TareError('NotFound', `${ref}: not found`);
      const { config = {}, history = [], platform = question.platform ?? linux, diffIDs = [DIGEST] } = image;
      const rootfs = { type: 'layers', diff_ids: diffIDs };
      const { os, architecture } = platform;
      return {
        ref,
        digest: DIGEST,
        config: Buffer.from(JSON.stringify({ os, architecture, config, rootfs, history })),
      };
    },
    async solve(request) {
      solved.push(request);
      const own = await build.onSolve?.(request);
      if (own !== undefined) return own;
      const { definition } = request;
      const ref = definition === undefined || definition.def.length === 0 ? undefined : refOf(definition, files);
      return { ref, refs: new Map(), metadata: new Map(), attestations: new Map() };
    },
    warn: (warning) => warnings.push(warning),
    keepFailures: () => {},
    refOf: () => unwanted(),
    openContainer: async () => unwanted(),
  };
  return { result: await dockerfileFrontend(bridge), solved, warnings, asked };
}

function refOf(definition: Definition, files: Record<string, string | Uint8Array>): BridgeRef {
  const find = (path: string): Uint8Array => {
    const content = files[path];
    if (content === undefined) throw new TareError('NotFound', `${path}: no such file or directory`);
    return typeof content === 'string' ? Buffer.from(content) : content;
  };
  const unused = () => Promise.reject(new Error('the frontend does not need this'));
  return {
    id: 'ref',
    definition,
    tree: unused,
    readDirectory: unused,
    readFile: async (path, range) => {
      const content = find(path);
      return range === undefined ? content : content.subarray(range.offset, range.offset + range.length);
    },
    status: async (path) => ({ path, mode: 0o100644, uid: 0, gid: 0, sizeBytes: find(path).length, modifiedNs: 0n }),
  };
}

/** What the frontend made of the Dockerfile: the last thing that it solved. */
export interface Made {
  ops: Op[];
  /** Of operations, in order, without the last one, which has none. */
  names: string[];
  config: {
    config: Record<string, unknown>;
    history: { created_by: string; empty_layer?: boolean; created?: string }[];
    [key: string]: unknown;
  };
  definition: Definition;
  run: TestResult;
}

export async function make(dockerfile: string, build: TestBuild = {}): Promise<Made> {
  const run = await runFrontend(dockerfile, build);
  const definition = run.solved.at(-1)!.definition!;
  const config = JSON.parse(Buffer.from(run.result.metadata.get('containerimage.config')!).toString());
  return { ops: opsOf(definition), names: namesOf(definition), config, definition, run };
}

export const opsOf = (definition: Definition): Op[] => definition.def.map((bytes) => fromBinary(OpSchema, bytes));

/** As progress shows the operations. */
export const namesOf = (definition: Definition): string[] =>
  Object.values(definition.metadata)
    .slice(0, -1)
    .map(({ description }) => description['llb.customname'] ?? '');
