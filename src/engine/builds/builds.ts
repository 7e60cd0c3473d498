import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Builder, BuildResult, CacheLimits } from '../../build/index.ts';
import type { ContentStore } from '../../storage/index.ts';
import { defaultCgroupParent, hasCgroup } from '../container-cgroup.ts';
import { everyImage } from '../image-records.ts';
import type { Images } from '../images.ts';
import type { EngineParts } from '../parts.ts';
import type { BuildOutcome, BuildService } from './build-service.ts';

/** What building needs of the engine. */
export interface BuildServiceDeps {
  parts: EngineParts;
  content: ContentStore;
  images: Images;
  /** Removes what neither images nor the cache keep. */
  collect(): Promise<void>;
  limits: CacheLimits;
  /** Stored credentials of who opened the engine may be used. */
  asUser: boolean;
}

/** The build service; disposing it cancels what still runs. */
export interface Builds extends BuildService, AsyncDisposable {}

/** Steps that run at once: they wait for disks and networks as much as they compute, and the kernel shares the cores among them. */
const PARALLELISM = Math.max(16, availableParallelism() * 4);

/** Where the builder keeps what it needs, and where its steps run. */
export const builderFolders = ({ dataRoot, execRoot }: { dataRoot: string; execRoot: string }) => ({
  directory: join(dataRoot, 'build'),
  execDirectory: join(execRoot, 'build'),
});

/** Loads the builder with the first build: most commands need none. */
export function createBuildService(deps: BuildServiceDeps): Builds {
  let opened: Promise<{ builder: Builder } & AsyncDisposable> | undefined;
  const builder = async () => {
    opened ??= openLate(deps);
    return (await opened).builder;
  };
  const solve: BuildService['solve'] = async (request, progress, signal) => {
    // Who dies meanwhile leaves steps running: this tells the next to reconcile.
    using _intent = deps.parts.intents.begin();
    return await (await builder()).build(request, progress, signal);
  };
  return {
    solve,
    build: async (options, { progress = () => {}, signal = new AbortController().signal, onFailure } = {}) => {
      const [{ nameLocalCaches, planBuild }, { openLocalSession }] = await Promise.all([
        import('./plan-build.ts'),
        import('./local-session.ts'),
      ]);
      await using plan = await planBuild(options);
      await using session = openLocalSession({ ...plan.session, asUser: deps.asUser });
      const request = { ...plan.request, ref: randomUUID(), session, ...(onFailure && { onFailure }) };
      const result = await solve(request, progress, signal);
      await nameLocalCaches(plan.request.cacheExports, result.exporterResponse);
      return outcomeOf(result);
    },
    usage: async (filters = []) => await (await builder()).usage(filters),
    async *prune(request) {
      yield* (await builder()).prune(request);
    },
    history: async () => (await builder()).history,
    [Symbol.asyncDispose]: async () => {
      await (await opened)?.[Symbol.asyncDispose]();
    },
  };
}

async function openLate({ parts, content, images, collect, limits }: BuildServiceDeps) {
  const [{ openBuilder, defaultPolicy }, { StepNetworks }] = await Promise.all([
    import('../../build/index.ts'),
    import('./step-networks.ts'),
  ]);
  await using opening = new AsyncDisposableStack();
  const { config, instance, db, locks, layers, runtime, facts, seccomp } = parts;
  const folders = builderFolders(config);
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const networks = opening.use(new StepNetworks(parts));
  const policy = defaultPolicy(folders.directory, limits);
  const builder = opening.use(
    await openBuilder({
      ...folders,
      ...{ instance, db, locks, content, layers, runtime, facts, seccomp, collect },
      runtimeBinary: () => parts.runtimeFor(''),
      images: await images.forBuilds(),
      network: (mode, signal) => networks.lend(mode, signal),
      cgroupParent: hasCgroup(parts) ? defaultCgroupParent(instance) : undefined,
      holdContent: () => images.hold(),
      imageLayers: () => new Set(everyImage(db).flatMap((image) => image.layers.map(({ diffID }) => diffID))),
      parallelism: PARALLELISM,
      policy: () => policy,
      now: () => Date.now(),
      report: (subject, error) => parts.onError(subject, error),
    }),
  );
  const owned = opening.move();
  return { builder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What exporters and frontends tell, in the engine's words. */
function outcomeOf({ exporterResponse, metadata }: BuildResult): BuildOutcome {
  const text = (key: string) => Buffer.from(metadata.get(key) ?? []).toString('utf8');
  const imageID = exporterResponse['containerimage.config.digest'];
  const digest = exporterResponse['containerimage.digest'];
  return {
    exporterResponse,
    ...(imageID === undefined ? {} : { imageID }),
    ...(digest === undefined ? {} : { digest }),
    ...(metadata.has('result.txt') || metadata.has('result.json')
      ? {
          answer: {
            ...{ text: text('result.txt'), json: text('result.json') },
            status: Number(text('result.statuscode') || '0'),
          },
        }
      : {}),
  };
}
