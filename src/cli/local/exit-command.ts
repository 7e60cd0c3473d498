import { Engine } from '../../engine/index.ts';
import type { EngineValues } from '../engine-options.ts';
import { configFrom } from './open-engine.ts';

/** Records a container's end and frees what it held; conmon starts this when no living process watches. */
export async function runExitCommand(values: EngineValues, id: string): Promise<void> {
  await using engine = await Engine.open(configFrom(values));
  await engine.handleExit(id);
}
