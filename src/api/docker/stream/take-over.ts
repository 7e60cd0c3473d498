import type { Duplex } from 'node:stream';
import type { ApiRequest, ApiResponse } from '../messages.ts';
import { streamType } from '../responses.ts';
import type { ApiVersion } from '../version.ts';

/**
 * The answer that takes over the connection: 101 to a client that asked for an upgrade, a bare 200 otherwise. Only the former is
 * told whether frames come; the latter must know.
 */
export function takeOver(
  request: ApiRequest,
  { multiplex, version }: { multiplex: boolean; version: ApiVersion },
  upgrade: (duplex: Duplex) => Promise<void>,
): ApiResponse {
  const protocol = request.headers.upgrade;
  if (protocol === undefined) return { status: 200, headers: { 'content-type': streamType(false, version) }, upgrade };
  const type = streamType(multiplex, version);
  return { status: 101, headers: { 'content-type': type, connection: 'Upgrade', upgrade: protocol }, upgrade };
}
