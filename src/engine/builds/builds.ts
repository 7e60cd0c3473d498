import { randomUUID } from 'node:crypto';
import { isIPv4 } from 'node:net';
import type { BuildCache } from '../../build/cache/index.ts';
import type { Builder, BuildRequest } from '../../build/index.ts';
import type { ContentStore } from '../../storage/index.ts';
import { defaultCgroupParent, hasCgroup } from '../container-cgroup.ts';
import { pruneEvent } from '../events.ts';
import { isCollectionDue } from '../image-collect.ts';
import type { Images } from '../images.ts';
import type { EngineParts } from '../parts.ts';
import { noteSubject } from '../request-context.ts';
import { engineID } from '../system.ts';
import { version } from '../version.ts';
import { cachePolicy, hasBuildCache, makeBuilderFolders, openBuildCache, parallelism } from './build-cache.ts';
import type { BuildService } from './build-service.ts';
import { buildSubject } from './build-subject.ts';
import { CacheKeeping } from './cache-keeping.ts';
import { outcomeOf } from './outcome.ts';

/** What building needs of the engine. */
export interface BuildServiceDeps {
  parts: EngineParts;
  content: ContentStore;
  images: Images;
  /** Stored credentials of who opened the engine may be used. */
  asUser: boolean;
  /** Finishes or undoes what processes left that died meanwhile. */
  settle(): Promise<void>;
  /** Told of what was done without being asked for. */
  notice(text: string): void;
}

/** The build service; disposing it cancels what still runs. */
export interface Builds extends BuildService, AsyncDisposable {
  /** Keeps the cache within its policy from now on, every hour too. */
  keepCache(): void;
}

/** Loads the builder with the first build, and the cache with the first question about it: most commands need neither. */
export function createBuildService(deps: BuildServiceDeps): Builds {
  const { parts, images } = deps;
  const { config, db, locks } = parts;
  let opened: Promise<{ builder: Builder } & AsyncDisposable> | undefined;
  let openedCache: Promise<BuildCache> | undefined;
  const cache = () =>
    (openedCache ??= openBuildCache(parts, images).catch((error: unknown) => {
      openedCache = undefined;
      throw error;
    }));
  const keeping = new CacheKeeping({
    ...{ cache, db, locks, intents: parts.intents, now: Date.now, notice: deps.notice },
    policy: () => cachePolicy(config),
    isThere: () => hasBuildCache(config),
    collect: () => images.collect(),
    isCollectionDue: () => isCollectionDue(db),
    report: (subject, error) => parts.onError(subject, error),
  });
  let intent: Disposable | undefined;
  /**
   * Who dies from now on leaves steps that run, scratch folders, or layers that no record has: this tells the next to reconcile. It stays as
   * long as the engine is open, for there is work after a build's end.
   */
  const mark = () => {
    intent ??= parts.intents.begin();
  };
  const builder = async () => {
    opened ??= openLate(deps, cache, (hasLeftovers) => keeping.ended(hasLeftovers)).catch((error: unknown) => {
      // Whatever was wrong may be mended when the next one asks.
      opened = undefined;
      throw error;
    });
    return (await opened).builder;
  };
  const solve: BuildService['solve'] = async (request, progress, signal) => {
    noteSubject(() => buildSubject(request));
    const mayUse = parts.guard.checkBuild(request.entitlements);
    await deps.settle();
    mark();
    return await (await builder()).build({ ...request, ...(mayUse && { mayUse }) }, progress, signal);
  };
  const build: BuildService['build'] = async (options, watch = {}) => {
    const { progress = () => {}, signal = new AbortController().signal, onFailure } = watch;
    mark();
    const [{ nameLocalCaches, planBuild }, { nameInOwnLayout }, { openLocalSession }, { sessionWithUploads }] =
      await Promise.all([
        import('./plan-build.ts'),
        import('./layout-outputs.ts'),
        import('./local-session.ts'),
        import('./session-with-uploads.ts'),
      ]);
    await using plan = await planBuild(deps.parts, options, signal);
    await using own = openLocalSession({ ...plan.session, asUser: deps.asUser });
    const session = watch.session === undefined ? own : sessionWithUploads(watch.session, plan.session.uploads ?? {});
    const { ref = randomUUID() } = watch;
    const request = { ...plan.request, ref, session, ...(onFailure && { onFailure }) };
    const result = await solve(request, progress, signal);
    await nameLocalCaches(plan.request.cacheExports, result.exporterResponse);
    await nameInOwnLayout(options.outputs ?? [], result.exporterResponse);
    return outcomeOf(result);
  };
  const { content, asUser } = deps;
  const workingDeps = { parts, images, content, builder, build, asUser };
  const working = () => import('./working/open-working.ts');
  return {
    solve,
    build,
    usage: async (filters = []) => (hasBuildCache(config) ? await (await cache()).usage(filters) : []),
    buildByInstruction: async (options, tell, signal) => {
      mark();
      const [{ planBuild }, { openLocalSession }, { InstructionFollower }] = await Promise.all([
        import('./plan-build.ts'),
        import('./local-session.ts'),
        import('./follow-instructions.ts'),
      ]);
      await using plan = await planBuild(deps.parts, options, signal);
      await using session = openLocalSession({ ...plan.session, asUser: deps.asUser });
      const follower = new InstructionFollower(tell);
      const drive: BuildRequest['drive'] = (bridge) => follower.drive(bridge);
      try {
        const driven = { ...plan.request, ref: randomUUID(), session, drive };
        const outcome = outcomeOf(await solve(driven, (progress) => follower.progress(progress), signal));
        follower.finish(outcome.imageID);
        return outcome;
      } catch (error) {
        follower.fail(error);
        throw error;
      }
    },
    from: async (ref, options = {}) => (await working()).fromImage(workingDeps, ref, options),
    workingContainer: async (ref) => (await working()).openWorking(workingDeps, ref),
    workingContainers: async () => (await working()).listWorking(workingDeps),
    async *prune(request) {
      mark();
      let reclaimedBytes = 0;
      let isAny = false;
      try {
        for await (const usage of hasBuildCache(config) ? (await cache()).prune(request) : []) {
          isAny = true;
          if (!usage.isShared) reclaimedBytes += usage.sizeBytes;
          yield usage;
        }
        isAny = true;
      } finally {
        // Who stops listening has pruned what he was told of.
        if (isAny) await db.write((tx) => tx.event(pruneEvent('builder', reclaimedBytes)));
      }
    },
    history: async () => (await builder()).history,
    worker: async () => {
      const { networks } = parts;
      const hostAddress = networks.get('bridge').ipam.find(({ gateway }) => isIPv4(gateway))?.gateway;
      return {
        id: await engineID(db),
        platforms: (await builder()).platforms(),
        ...(hostAddress === undefined ? {} : { hostAddress }),
      };
    },
    policy: () => cachePolicy(config),
    keepCache: () => keeping.begin(),
    [Symbol.asyncDispose]: async () => {
      await (await opened)?.[Symbol.asyncDispose]();
      await keeping[Symbol.asyncDispose]();
      intent?.[Symbol.dispose]();
    },
  };
}

async function openLate(
  { parts, content, images }: BuildServiceDeps,
  cache: () => Promise<BuildCache>,
  ended: (hasLeftovers: boolean) => void,
) {
  const [{ openBuilder }, { StepNetworks }] = await Promise.all([
    import('../../build/index.ts'),
    import('./step-networks.ts'),
  ]);
  await using opening = new AsyncDisposableStack();
  const { config, instance, db, locks, layers, runtime, facts, seccomp } = parts;
  const networks = opening.use(new StepNetworks(parts));
  const builder = opening.use(
    await openBuilder({
      ...makeBuilderFolders(config),
      ...{ instance, version, db, locks, content, layers, runtime, facts, seccomp },
      runtimeBinary: () => parts.runtimeFor(''),
      images: await images.forBuilds(),
      network: (mode, signal) => networks.lend(mode, signal),
      cgroupParent: hasCgroup(parts) ? defaultCgroupParent(instance) : undefined,
      holdContent: () => images.hold(),
      parallelism: () => parallelism(config),
      now: () => Date.now(),
      ended,
      report: (subject, error) => parts.onError(subject, error),
    }),
  );
  (await cache()).layersInUse = () => builder.layersInUse();
  const owned = opening.move();
  return { builder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
