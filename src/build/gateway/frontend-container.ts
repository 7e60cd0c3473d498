import { randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { create } from '@bufbuild/protobuf';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { MetaSchema, MountSchema, SecurityMode } from '../../protocol/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { BridgeContext } from '../bridge.ts';
import { openTreeContainer } from '../executor/tree-container.ts';
import type { Frontend, FrontendBridge, FrontendResult } from '../frontend.ts';
import { silentProgress } from '../progress.ts';
import { VertexClock } from '../solver/vertex-clock.ts';
import { FrontendCalls } from './frontend-calls.ts';
import { type FrontendImage, frontendImage } from './frontend-image.ts';
import { serveFrontend } from './serve-frontend.ts';

/** Frontends of one build that run at once: one may ask for another, and that for itself. */
const MAX_FRONTENDS = 16;
/** Of what a frontend says on its standard error, so much is shown when it fails. */
const KEPT_BYTES = 4096;
/** For a frontend to end by itself when it has given its result, or to be seen to have ended. */
const LEAVING_MS = 3_000;
const PRODUCT = 'tare';

/** Frontends that run in a build. */
const running = new WeakMap<BridgeContext, number>();

/**
 * `gateway.v0`: a frontend that is an image. Its program runs in a container of its own, and asks for all that it wants over its standard
 * streams: files of the client, images, parts of the build.
 *
 * @see moby/buildkit docs/reference/buildkitd.toml.md and frontend/gateway
 */
export const gatewayFrontend =
  (context: BridgeContext): Frontend =>
  async (bridge) => {
    const count = running.get(context) ?? 0;
    if (count >= MAX_FRONTENDS)
      throw new TareError('InvalidArgument', `over ${MAX_FRONTENDS} frontends run in this build: one asks for itself`);
    running.set(context, count + 1);
    try {
      return await runFrontend(context, bridge, await frontendImage(bridge));
    } finally {
      running.set(context, running.get(context)! - 1);
    }
  };

async function runFrontend(
  { parts, graph }: BridgeContext,
  bridge: FrontendBridge,
  image: FrontendImage,
): Promise<FrontendResult> {
  const root = { mount: create(MountSchema, { dest: '/' }), tree: image.tree };
  await using container = await openTreeContainer(
    parts,
    { mounts: [root], network: image.network, architecture: '' },
    graph.member(silentProgress),
  );
  await using calls = new FrontendCalls(bridge);
  const meta = create(MetaSchema, {
    args: [...image.args],
    cwd: image.cwd,
    env: [...image.env, ...environment(bridge)],
  });
  const process = await container.start({
    ...{ meta, security: SecurityMode.SANDBOX, secretEnv: [], terminal: false, stdin: true },
  });
  using said = new FrontendOutput(image.name, process.stderr!, graph);
  using server = await serveFrontend(calls, { stdin: process.stdin!, stdout: process.stdout });
  const ended: Promise<End> = process.ended.then(
    (exitCode) => ({ exitCode }),
    (error: unknown) => ({ error }),
  );
  await Promise.race([ended, calls.returned.catch(() => undefined), server.closed]);
  graph.signal.throwIfAborted();
  const end = await patiently(ended);
  // Its own error comes first, then its bad end, then its result.
  if (calls.hasReturned) {
    const result = await calls.returned;
    if (end === undefined || ('exitCode' in end && end.exitCode === 0)) return result;
  }
  // It closed its end of the connection, or what it says is no protocol.
  if (end === undefined) await process.kill();
  throw await broken(image, end, said);
}

type End = { exitCode: number } | { error: unknown };

/** @returns undefined: it goes on, and is ended with its container */
async function patiently(ended: Promise<End>): Promise<End | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), LEAVING_MS);
  try {
    return await Promise.race([ended, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function broken({ name }: FrontendImage, end: End | undefined, said: FrontendOutput): Promise<TareError> {
  if (end !== undefined && 'error' in end) {
    const { error } = end;
    return new TareError(kindOf(error), `frontend ${name} could not be run: ${messageOf(error)}`, { cause: error });
  }
  const last = await said.last();
  const code = end?.exitCode ?? 0;
  const how = end === undefined ? 'broke off' : code === 0 ? 'ended without a result' : `exited with code ${code}`;
  return new TareError('Internal', `frontend ${name} ${how}${last === '' ? '' : `: ${last}`}`);
}

/** What a frontend says beside the protocol: it is shown, and the end of it kept. */
class FrontendOutput implements Disposable {
  readonly #stream: Readable;
  readonly #clock: () => VertexClock;
  #shown: VertexClock | undefined;
  #kept = Buffer.alloc(0);

  constructor(name: string, stream: Readable, { scope, solver }: BridgeContext['graph']) {
    this.#stream = stream;
    this.#clock = () => {
      const vertex = { digest: digestOf(randomUUID()), name: `[frontend] ${name}`, inputs: [], metadata: undefined };
      const clock = new VertexClock(vertex, scope.progress, () => solver.parts.now());
      clock.begin();
      return clock;
    };
    stream.on('data', (chunk: Buffer) => {
      this.#shown ??= this.#clock();
      this.#shown.progress.log(2, chunk);
      this.#kept = Buffer.concat([this.#kept, chunk]).subarray(-KEPT_BYTES);
    });
  }

  /** All is said: the end of it. */
  async last(): Promise<string> {
    await finished(this.#stream).catch(() => undefined);
    return this.#kept.toString('utf8').trim();
  }

  [Symbol.dispose](): void {
    this.#shown?.end();
  }
}

/** What a frontend is told of its build. */
function environment({ options, sessionID, platforms }: FrontendBridge): string[] {
  const workers = platforms.map(({ os, architecture, variant }) => ({
    ...{ os, architecture },
    ...(variant === undefined ? {} : { variant }),
  }));
  return [
    ...Object.entries(options).map(([key, value], index) => `BUILDKIT_FRONTEND_OPT_${index}=${key}=${value}`),
    `BUILDKIT_SESSION_ID=${sessionID}`,
    `BUILDKIT_WORKERS=${JSON.stringify([{ id: PRODUCT, labels: {}, platforms: workers }])}`,
    `BUILDKIT_EXPORTEDPRODUCT=${PRODUCT}`,
  ];
}
