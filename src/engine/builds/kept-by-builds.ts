import type { Database } from '../../state/index.ts';
import type { LayerName, LayerStore } from '../../storage/index.ts';
import { layersOfBuilds } from '../image-collect.ts';

/** What the build cache and the history of builds keep, whatever becomes of images. */
export interface KeptByBuilds {
  /** By diffID. */
  layers: ReadonlySet<string>;
  blobs: ReadonlySet<string>;
}

/** Reads records only: inside of a transaction too. */
export function keptByBuilds(db: Pick<Database, 'all'>, layers: Pick<LayerStore, 'diffIDOf'>): KeptByBuilds {
  const names = [...layersOfBuilds(db)] as LayerName[];
  return {
    layers: new Set(names.flatMap((name) => layers.diffIDOf(name) ?? [])),
    blobs: new Set(
      db
        .all<{ digest: string }>('SELECT digest FROM build_blobs UNION SELECT digest FROM build_history_blobs')
        .map(({ digest }) => digest),
    ),
  };
}
