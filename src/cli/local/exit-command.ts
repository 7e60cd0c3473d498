import type { EngineValues } from '../engine-options.ts';
import { configFrom, openEngine } from './open-engine.ts';

/** Records a container's end and frees what it held; conmon starts this when no living process watches. */
export async function runExitCommand(values: EngineValues, id: string): Promise<void> {
  await using engine = await openEngine(configFrom(values));
  await engine.handleExit(id);
}
