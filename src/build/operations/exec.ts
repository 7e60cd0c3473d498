import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { oomKillsSinceBoot } from '../../linux/index.ts';
import { type ExecOp, type Meta, MountType, type Platform } from '../../protocol/index.ts';
import type { ContentSelector } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { type FailedStep, StepFailed } from '../executor/failed-step.ts';
import {
  openStepContainer,
  type RunningStep,
  type StepContainer,
  type StepProcess,
} from '../executor/step-container.ts';
import type { CacheDependency, CacheMap, Operation, OperationContext } from '../operation.ts';
import type { Tree } from '../tree.ts';
import { contentOf } from './content-of.ts';
import { execDigest, inputUses, type StepPlatform, selectorOf } from './exec-key.ts';

/** What an operation knows of its vertex. */
export interface ExecVertex {
  digest: string;
  inputs: readonly unknown[];
  platform: Platform | undefined;
}

/** Of what a failed command said last, so much is kept for who shows its failure. */
const KEPT_BYTES = 16 * 1024;
const SIGKILL_CODE = 137;

/** A command: runs it in a container of its own. */
export function execOperation(parts: BuilderParts, op: ExecOp, vertex: ExecVertex): Operation {
  const { meta } = op;
  if (meta === undefined || meta.args.length === 0) {
    throw new TareError('InvalidArgument', `vertex ${vertex.digest}: a command has no arguments`);
  }
  const platform = platformOf(parts, vertex.platform);
  return {
    recordType: 'regular',
    description: `mount / from exec ${meta.args.join(' ')}`.slice(0, 1000),
    usesSecrets:
      op.secretenv.length > 0 ||
      op.mounts.some(({ mountType }) => mountType === MountType.SECRET || mountType === MountType.SSH),
    cacheMap: async () => cacheMap(parts, op, vertex, platform),
    run: (inputs, context) => runStep(parts, op, meta, { ...vertex, platform }, inputs, context),
  };
}

function platformOf({ facts }: BuilderParts, platform: Platform | undefined): StepPlatform {
  return {
    os: platform?.OS || 'linux',
    architecture: platform?.Architecture || facts.architecture,
    variant: platform?.Variant ?? '',
  };
}

function cacheMap(parts: BuilderParts, op: ExecOp, vertex: ExecVertex, platform: StepPlatform): CacheMap {
  const dependencies = inputUses(op.mounts, vertex.inputs.length).map(
    ({ selectors, paths, byContent }): CacheDependency => {
      const selector = selectorOf(selectors);
      return {
        ...(selector === undefined ? {} : { selector }),
        ...(byContent && { contentDigest: (tree, { signal }) => contentOf(parts, tree, partsAt(paths), signal) }),
      };
    },
  );
  return { digest: execDigest(op, platform), dependencies };
}

/** A mount's source is looked up through links. */
const partsAt = (paths: readonly string[]): ContentSelector[] =>
  paths.length === 0 ? [{ path: '/' }] : paths.map((path) => ({ path, followsLinks: true }));

/** The last words of crun and runc for a program that is not of the platform that its image is said to be of. */
const FOREIGN_PROGRAM = /(?:^|\n)exec (?:container process )?[`'"]?\/[^\n]*: exec format error\s*$/i;

async function runStep(
  parts: BuilderParts,
  op: ExecOp,
  meta: Meta,
  vertex: { digest: string; platform: StepPlatform },
  inputs: readonly Tree[],
  context: OperationContext,
): Promise<readonly Tree[]> {
  const request = { mounts: op.mounts, inputs, cwd: meta.cwd, network: op.network, devices: op.cdiDevices };
  await using step = await openStepContainer(
    parts,
    { ...request, architecture: vertex.platform.architecture },
    context,
  );
  const process: StepProcess = { meta, security: op.security, secretEnv: op.secretenv, terminal: false, stdin: false };
  const command = `process ${JSON.stringify(meta.args.join(' '))}`;
  const said = new LastOutput();
  const before = oomKillsSinceBoot();
  const outcome = await follow(await step.start(process), context, said);
  context.signal.throwIfAborted();
  if ('exitCode' in outcome && (outcome.exitCode === 0 || meta.validExitCodes.includes(outcome.exitCode))) {
    if (outcome.exitCode === 0 && meta.validExitCodes.length > 0 && !meta.validExitCodes.includes(0)) {
      throw await failure('exit code: 0', 0);
    }
    return await step.commit();
  }
  if ('error' in outcome) {
    // The runtime could not even begin; its words are in the step's output, as with BuildKit.
    if (['CommandNotFound', 'NotExecutable'].includes(kindOf(outcome.error)))
      throw await failure('exit code: 1', 1, outcome.error);
    throw await failure(messageOf(outcome.error), undefined, outcome.error);
  }
  const { exitCode } = outcome;
  const isStarved = exitCode === SIGKILL_CODE && oomKillsSinceBoot() > before;
  const why = isStarved
    ? ': killed for want of memory: cannot allocate memory'
    : FOREIGN_PROGRAM.test(Buffer.from(said.bytes()).toString('utf8'))
      ? `: ${meta.args[0]} is no program for linux/${vertex.platform.architecture}: name the image's own platform with --platform`
      : '';
  throw await failure(`exit code: ${exitCode}${why}`, exitCode);

  async function failure(reason: string, exitCode: number | undefined, cause?: unknown): Promise<StepFailed> {
    const left = context.keepsFailures?.() === true ? await keep(step) : undefined;
    const what = { vertex: vertex.digest, exitCode, lastOutput: said.bytes(), step: left };
    return new StepFailed(`${command} did not complete successfully: ${reason}`, what, { cause });
  }

  async function keep(container: StepContainer): Promise<FailedStep> {
    const found = op.mounts.map(({ input }) => (input < 0n ? undefined : inputs[Number(input)]));
    const { architecture } = vertex.platform;
    return { exec: op, architecture, inputs: found, mounts: await container.keep() };
  }
}

/** Passes on what a command says until it has ended and all is said. */
async function follow(
  running: RunningStep,
  { progress }: OperationContext,
  said: LastOutput,
): Promise<{ exitCode: number } | { error: unknown }> {
  const read = async (stream: Readable, number: 1 | 2): Promise<void> => {
    stream.on('data', (chunk: Buffer) => {
      said.add(chunk);
      progress.log(number, chunk);
    });
    await finished(stream).catch(() => undefined);
  };
  const streams = [read(running.stdout, 1), ...(running.stderr === undefined ? [] : [read(running.stderr, 2)])];
  const [end] = await Promise.allSettled([running.ended]);
  await Promise.all(streams);
  return end.status === 'fulfilled' ? { exitCode: end.value } : { error: end.reason };
}

/** The end of what a command said, in the order in which it came. */
class LastOutput {
  #chunks: Buffer[] = [];
  #bytes = 0;

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes - this.#chunks[0]!.length >= KEPT_BYTES) this.#bytes -= this.#chunks.shift()!.length;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#chunks).subarray(-KEPT_BYTES);
  }
}
