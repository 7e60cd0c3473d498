import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Images } from '../images.ts';
import type { EngineParts } from '../parts.ts';
import { builderFolders, hasBuildCache, openBuildCache } from './build-cache.ts';

/**
 * Ends steps of builds whose process has died, removes what they left, and mends the cache's records. Nothing is loaded where nobody
 * ever built. Layers that no record has any more are the next collection's.
 */
export async function reconcileBuilds(parts: EngineParts, images: Pick<Images, 'collect'>): Promise<void> {
  await removeContexts(parts);
  if (!hasBuildCache(parts.config)) return;
  await reconcileSteps(parts);
  await (await openBuildCache(parts, images)).reconcile();
}

async function removeContexts(parts: EngineParts): Promise<void> {
  const contexts = join(builderFolders(parts.config).directory, 'contexts');
  if (!existsSync(contexts) || readdirSync(contexts).length === 0) return;
  const { removeAbandonedContexts } = await import('./unpack-context.ts');
  await removeAbandonedContexts(parts);
}

/** Ends steps whose process has died. */
export async function reconcileSteps(parts: EngineParts): Promise<void> {
  const { execDirectory } = builderFolders(parts.config);
  // Whoever looks after a build that ended well needs no builder.
  if (!existsSync(execDirectory) || !readdirSync(execDirectory).some((name) => name.startsWith('step'))) return;
  const build = await import('../../build/index.ts');
  const { locks, layers, runtime } = parts;
  await build.reconcileSteps({
    ...{ execDirectory, locks, layers, runtime },
    runtimeBinary: () => parts.runtimeFor(''),
    report: (subject, error) => parts.onError(subject, error),
  });
}
