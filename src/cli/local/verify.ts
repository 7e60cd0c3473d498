import { Engine, type VerifyMessage, type VerifyOptions } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { configFrom } from './open-engine.ts';
import { toldToStop } from './signals.ts';

/** Checks what an engine has stored; `told` of each step. */
export async function verify(
  globals: GlobalValues,
  options: VerifyOptions,
  told: (message: VerifyMessage) => void,
): Promise<void> {
  await using engine = await Engine.open(configFrom(globals));
  for await (const message of engine.images.verify({ ...options, signal: toldToStop() })) told(message);
}
