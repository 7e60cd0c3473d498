import type { BuildOptions, BuildOutcome, BuildWatch } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';

/** Builds with the engine of this machine's folders, in this process. */
export async function buildHere(
  globals: GlobalValues,
  options: BuildOptions,
  watch: BuildWatch,
): Promise<BuildOutcome> {
  await using engine = await openEngineHere(globals);
  return await engine.builds.build(options, watch);
}
