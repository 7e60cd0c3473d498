import type { Duplex } from 'node:stream';
import type { ApiRequest, ApiResponse } from '../messages.ts';

/** The answer that takes over the connection: 101 to a client that asked for an upgrade, a bare 200 otherwise. */
export function takeOver(request: ApiRequest, type: string, upgrade: (duplex: Duplex) => Promise<void>): ApiResponse {
  const protocol = request.headers.upgrade;
  return protocol === undefined
    ? { status: 200, headers: { 'content-type': type }, upgrade }
    : { status: 101, headers: { 'content-type': type, connection: 'Upgrade', upgrade: protocol }, upgrade };
}
