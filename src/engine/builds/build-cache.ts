import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { BuildCache, CachePolicy } from '../../build/cache/index.ts';
import type { EngineConfig } from '../config.ts';
import { everyImage } from '../image-records.ts';
import type { Images } from '../images.ts';
import type { EngineParts } from '../parts.ts';

/** Where the builder keeps what it needs, and where its steps run. */
export const builderFolders = ({ dataRoot, execRoot }: { dataRoot: string; execRoot: string }) => ({
  directory: join(dataRoot, 'build'),
  execDirectory: join(execRoot, 'build'),
});

/** Makes them, with mode 0700. */
export function makeBuilderFolders(config: EngineConfig): ReturnType<typeof builderFolders> {
  const folders = builderFolders(config);
  for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folders;
}

/** Whether anything was ever built: else nothing needs to be loaded to say what the cache holds. */
export const hasBuildCache = (config: EngineConfig): boolean => existsSync(builderFolders(config).directory);

/** Opens the cache of builds, without what building needs. */
export async function openBuildCache(
  { config, db, locks, layers }: Pick<EngineParts, 'config' | 'db' | 'locks' | 'layers'>,
  images: Pick<Images, 'collect'>,
): Promise<BuildCache> {
  const { BuildCache } = await import('../../build/cache/index.ts');
  return new BuildCache({
    ...makeBuilderFolders(config),
    ...{ db, locks, layers },
    now: () => Date.now(),
    imageLayers: () => new Set(everyImage(db).flatMap((image) => image.layers.map(({ diffID }) => diffID))),
    collect: () => images.collect(),
  });
}

/** The rules by which the cache is pruned by itself, as the configuration is now. */
export async function cachePolicy(config: EngineConfig): Promise<CachePolicy> {
  const { isEnabled, limits, rules } = config.builder.gc;
  if (!isEnabled) return [];
  const { defaultPolicy, policyOf } = await import('../../build/cache/index.ts');
  const { directory } = makeBuilderFolders(config);
  return rules === undefined ? defaultPolicy(directory, limits) : policyOf(directory, rules);
}

/** Steps that run at once: they wait for disks and networks as much as they compute, and the kernel shares the cores among them. */
export const parallelism = ({ builder }: EngineConfig): number =>
  builder.maxParallelism ?? Math.max(16, availableParallelism() * 4);
