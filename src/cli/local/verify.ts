import { openConfiguredRegistries, type VerifyMessage, type VerifyOptions } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';
import { configFrom } from './open-engine.ts';
import { toldToStop } from './signals.ts';

/** Checks what an engine has stored; `told` of each step. */
export async function verify(
  globals: GlobalValues,
  options: VerifyOptions,
  told: (message: VerifyMessage) => void,
): Promise<void> {
  const config = configFrom(globals);
  await using engine = await openEngineHere(globals);
  // Opened here, for it is this user's credentials that count.
  using registries = options.repair ? openConfiguredRegistries(config) : undefined;
  const access = registries === undefined ? {} : { registries };
  for await (const message of engine.images.verify({ ...options, ...access, signal: toldToStop() })) told(message);
}
