import type { BuildResult, BuildSession } from '../../build/index.ts';
import type { BuildOptions, PlannedBuild } from './build-options.ts';
import type { BuildOutcome } from './build-service.ts';
import { outcomeOf } from './outcome.ts';

/** A build that a daemon is to make: what it is asked, and what of this machine it may ask for. */
export interface ClientSide extends AsyncDisposable {
  request: PlannedBuild['request'];
  session: BuildSession;
  /** Whether an exporter's result is a folder, by its position among the exporters. */
  isFolder(exporterID: string): boolean;
  /** Does what is left to do here, and puts what the daemon told in the engine's words. */
  finish(result: Pick<BuildResult, 'exporterResponse' | 'metadata'>): Promise<BuildOutcome>;
}

/**
 * A build in a user's words as its client makes it, without an engine. Dispose it when the build is over.
 *
 * @param asUser credentials that the user has stored serve
 * @throws {TareError} InvalidArgument: options that exclude each other
 */
export async function openClientSide(
  options: BuildOptions,
  { asUser }: { asUser: boolean },
  signal: AbortSignal,
): Promise<ClientSide> {
  // They bring the builder, which few who open an engine need.
  const [{ openLocalSession }, { nameInOwnLayout }, { nameLocalCaches, planBuild }] = await Promise.all([
    import('./local-session.ts'),
    import('./layout-outputs.ts'),
    import('./plan-build.ts'),
  ]);
  await using opening = new AsyncDisposableStack();
  const plan = opening.use(await planBuild(undefined, options, signal));
  const session = opening.use(openLocalSession({ ...plan.session, asUser }));
  const outputs = plan.session.outputs ?? {};
  const owned = opening.move();
  return {
    request: plan.request,
    session,
    isFolder: (id) => Object.hasOwn(outputs, id) && 'folder' in outputs[id]!,
    finish: async (result) => {
      await nameLocalCaches(plan.request.cacheExports, result.exporterResponse);
      await nameInOwnLayout(options.outputs ?? [], result.exporterResponse);
      // What it was made of, the daemon’s record of the build tells those who ask.
      return outcomeOf({ ...result, provenance: new Map(), isMultiPlatform: false });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
