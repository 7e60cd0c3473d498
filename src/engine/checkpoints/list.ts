import type { EngineParts } from '../parts.ts';
import { CheckpointsFolder } from './folder.ts';

/** @see ContainerService.checkpoints */
export function listCheckpoints(
  { config, store }: Pick<EngineParts, 'config' | 'store'>,
  ref: string,
  directory?: string,
): string[] {
  const { id } = store.get(ref);
  using folder = CheckpointsFolder.open(config, id, directory);
  return folder?.names() ?? [];
}
