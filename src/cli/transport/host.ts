import { TareError } from '../../errors/index.ts';
import type { ClientTls } from './client-tls.ts';

/** Where a daemon listens. */
export type Address = { path: string } | { host: string; port: number };

/** How to reach it. */
export type Way = Address & { tls?: ClientTls };

const PLAIN_PORT = 2375;

/**
 * Reads a daemon's address: `unix:///path`, `tcp://host[:port]` (2375 unless said otherwise), `tcp://[v6]:port`.
 *
 * @param usualPort where none is given
 * @throws {TareError} InvalidArgument, or Unsupported for schemes docker has and we have not
 */
export function parseHost(text: string, usualPort = PLAIN_PORT): Address {
  const [, scheme = '', rest = ''] = /^(?:([a-z]+):\/\/)?(.*)$/s.exec(text) ?? [];
  if (scheme === 'unix' || (scheme === '' && rest.startsWith('/'))) {
    if (!rest.startsWith('/'))
      throw new TareError(
        'InvalidArgument',
        `host ${JSON.stringify(text)}: a unix socket needs an absolute path, unix:///run/tare/tare.sock`,
      );
    return { path: rest };
  }
  if (scheme === 'tcp' || scheme === 'http') {
    const parts = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^:/[\]]*))(?::(\d{1,5}))?\/?$/.exec(rest);
    const port = Number(parts?.[3] ?? usualPort);
    if (!parts || port < 1 || port > 65535)
      throw new TareError('InvalidArgument', `host ${JSON.stringify(text)}: expected tcp://HOST:PORT`);
    return { host: parts[1] ?? (parts[2] || '127.0.0.1'), port };
  }
  if (scheme === 'ssh' || scheme === 'npipe' || scheme === 'fd' || scheme === 'https')
    throw new TareError(
      'Unsupported',
      `host ${JSON.stringify(text)}: ${scheme} is not supported; use unix:// or tcp://`,
    );
  throw new TareError('InvalidArgument', `host ${JSON.stringify(text)}: expected unix://PATH or tcp://HOST:PORT`);
}
