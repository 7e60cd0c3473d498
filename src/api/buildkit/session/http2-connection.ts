import type { Duplex } from 'node:stream';

/**
 * A connection that has become HTTP/2 by an answer to a request. With TLS, node's server would look for what was agreed on when it began,
 * which was another protocol, and hang up.
 */
export function becomeHttp2(connection: Duplex): Duplex {
  if ('alpnProtocol' in connection) connection.alpnProtocol = 'h2';
  return connection;
}
