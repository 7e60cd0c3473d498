import { statSync } from 'node:fs';
import { messageOf, TareError } from '../../errors/index.ts';
import type { GlobalValues } from '../command.ts';
import { userFolders } from '../rootless.ts';
import { Client } from './client.ts';
import { parseHost } from './host.ts';

/**
 * The engine a command line means: the daemon named by -H; the engine of the folders that flags name; the daemon named by TARE_HOST
 * or DOCKER_HOST; the engine of the default folders. An engine's daemon is asked when one answers, else the engine opens in this
 * process.
 *
 * @throws {TareError} Unavailable: a daemon was named and does not answer
 */
export async function connect(globals: GlobalValues, env: NodeJS.ProcessEnv = process.env): Promise<Client> {
  const named = namedHost(globals, env);
  if (named !== undefined) {
    const { SocketClient } = await import('./socket-client.ts');
    try {
      return new Client(await SocketClient.open(parseHost(named)));
    } catch (error) {
      if (error instanceof TareError) throw error;
      throw new TareError(
        'Unavailable',
        `cannot connect to the daemon at ${named}: ${messageOf(error)}; is 'tare serve' running there?`,
        { cause: error },
      );
    }
  }
  const path = defaultSocket(globals, env);
  // Asking for the file first spares the socket code when there is no daemon.
  if (path !== undefined && statSync(path, { throwIfNoEntry: false })?.isSocket()) {
    const { SocketClient } = await import('./socket-client.ts');
    try {
      return new Client(await SocketClient.open({ path }));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // Left behind by a daemon that was killed.
      if (code !== 'ECONNREFUSED' && code !== 'ENOENT')
        throw new TareError('Unavailable', `cannot connect to the daemon at ${path}: ${messageOf(error)}`, {
          cause: error,
        });
    }
  }
  const { LocalClient } = await import('../local.ts');
  return new Client(await LocalClient.open(globals));
}

/** The daemon that was asked for by name, if any. @throws {TareError} InvalidArgument: more than one */
export function namedHost(globals: GlobalValues, env: NodeJS.ProcessEnv): string | undefined {
  if (globals.host.length > 1)
    throw new TareError('InvalidArgument', `one -H is enough to talk to a daemon, ${globals.host.length} are given`);
  if (globals.host[0] !== undefined) return globals.host[0];
  // Flags that name an engine's folders say more than an environment that was set up long ago.
  if (globals['data-root'] !== undefined || globals['exec-root'] !== undefined) return undefined;
  return env['TARE_HOST'] || env['DOCKER_HOST'] || undefined;
}

/** Whether there is a daemon to ask, as far as one can see without asking. */
export function hasDaemon(globals: GlobalValues, env: NodeJS.ProcessEnv): boolean {
  if (globals.host.length > 0 || namedHost(globals, env) !== undefined) return true;
  const path = defaultSocket(globals, env);
  return path !== undefined && statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}

/** The socket of the daemon on the wanted engine root; undefined when only the data folder was chosen, whose daemon nobody can guess. */
export function defaultSocket(globals: GlobalValues, env: NodeJS.ProcessEnv): string | undefined {
  if (globals['exec-root'] !== undefined) return `${globals['exec-root']}/tare.sock`;
  if (globals['data-root'] !== undefined || globals.config !== undefined) return undefined;
  return `${userFolders(env)?.execRoot ?? '/run/tare'}/tare.sock`;
}
