import type { Engine } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { GlobalValues } from '../command.ts';
import { describeHost, namedHost } from '../transport/connect.ts';
import { configFrom, openEngine } from './open-engine.ts';

/**
 * Opens the engine of this machine's folders, for what no daemon does for its clients.
 *
 * @throws {TareError} Unsupported: a daemon is named that is not this engine's own
 */
export async function openEngineHere(globals: GlobalValues, env: NodeJS.ProcessEnv = process.env): Promise<Engine> {
  const config = configFrom(globals);
  const named = namedHost(globals, env);
  if (named === undefined || ('host' in named && named.host === `unix://${config.execRoot}/tare.sock`))
    return await openEngine(config, { asUser: true });
  throw new TareError(
    'Unsupported',
    `this works on the engine of ${config.dataRoot}, but ${describeHost(named)} is named (by -H, --context, TARE_HOST or DOCKER_HOST): leave that out, or run the command where that engine is`,
  );
}
