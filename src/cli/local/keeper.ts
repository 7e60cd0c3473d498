import { runKeeper } from '../../keeper/index.ts';
import type { EngineValues } from '../engine-options.ts';
import { configFrom } from './open-engine.ts';
import { toldToStop } from './signals.ts';

/** Is the keeper of an engine root until nothing needs one, or until told to stop. */
export async function runKeeperHere(values: EngineValues): Promise<void> {
  await runKeeper(configFrom(values), toldToStop());
}
