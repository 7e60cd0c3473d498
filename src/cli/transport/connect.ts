import { statSync } from 'node:fs';
import { messageOf, TareError } from '../../errors/index.ts';
import type { GlobalValues } from '../command.ts';
import { userFolders } from '../rootless.ts';
import { Client } from './client.ts';
import { parseHost, type Way } from './host.ts';

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
      return new Client(await SocketClient.open(await wayTo(named, globals, env)));
    } catch (error) {
      if (error instanceof TareError) throw error;
      throw new TareError(
        'Unavailable',
        `cannot connect to the daemon at ${describeHost(named)}: ${messageOf(error)}; is 'tare serve' running there?`,
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

/** A daemon that was asked for: by its address, or by the name of a context. */
export type NamedHost = { host: string } | { context: string };

/** For messages. */
export const describeHost = (named: NamedHost): string =>
  'host' in named ? named.host : `the host of context ${named.context}`;

const SECURE_PORT = 2376;

/** Only what goes over TCP is worth a look for certificates. */
async function wayTo(named: NamedHost, globals: GlobalValues, env: NodeJS.ProcessEnv): Promise<Way> {
  if ('context' in named) {
    const { readContext } = await import('./context-store.ts');
    const { host, tls } = readContext(named.context, env);
    return tls === undefined ? parseHost(host) : { ...parseHost(host, SECURE_PORT), tls };
  }
  const address = parseHost(named.host);
  if ('path' in address) return address;
  const { clientTls } = await import('./client-tls.ts');
  const tls = clientTls(globals, env);
  return tls === undefined ? address : { ...parseHost(named.host, SECURE_PORT), tls };
}

/** The daemon that was asked for by name, if any. @throws {TareError} InvalidArgument: more than one */
export function namedHost(globals: GlobalValues, env: NodeJS.ProcessEnv): NamedHost | undefined {
  if (globals.host.length > 1)
    throw new TareError('InvalidArgument', `one -H is enough to talk to a daemon, ${globals.host.length} are given`);
  if (globals.host[0] !== undefined) {
    if (globals.context !== undefined)
      throw new TareError('InvalidArgument', 'conflicting options: -H and --context name a daemon each');
    return { host: globals.host[0] };
  }
  if (globals.context !== undefined) return contextNamed(globals.context);
  // Flags that name an engine's folders say more than an environment that was set up long ago.
  if (globals['data-root'] !== undefined || globals['exec-root'] !== undefined) return undefined;
  const host = env['TARE_HOST'] || env['DOCKER_HOST'];
  return host ? { host } : undefined;
}

/** docker's name for what there is without a context. */
const contextNamed = (context: string): NamedHost | undefined => (context === 'default' ? undefined : { context });

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
