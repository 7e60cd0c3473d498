import type { Duplex } from 'node:stream';
import type { BuildSession } from '../../../build/index.ts';
import type { ApiRequest, ApiResponse } from '../messages.ts';
import { type Route, route } from '../routing.ts';

/** Who serves connections on which BuildKit's protocol is spoken. */
export interface BuildConnections {
  /** Serves gRPC. Resolves when the connection is closed. */
  serve(connection: Duplex): Promise<void>;
  /** The client serves gRPC, and introduces itself in headers. */
  session(connection: Duplex, headers: Readonly<Record<string, string>>): Promise<void>;
  /** The session of a client that is there, or about to come. @param id '': of one that offers nothing @throws {TareError} NotFound */
  findSession(id: string, signal: AbortSignal): Promise<BuildSession>;
}

/** Connections that turn into HTTP/2 after their first answer. */
export const buildConnectionRoutes = (builds: BuildConnections): Route[] => [
  route({
    method: 'POST',
    path: '/grpc',
    hijack: true,
    handler: async ({ request }) => becomeHttp2(request, (connection) => builds.serve(connection)),
  }),
  route({
    method: 'POST',
    path: '/session',
    hijack: true,
    handler: async ({ request }) => becomeHttp2(request, (connection) => builds.session(connection, request.headers)),
  }),
];

function becomeHttp2(request: ApiRequest, upgrade: (connection: Duplex) => Promise<void>): ApiResponse {
  const headers = { connection: 'Upgrade', upgrade: request.headers['upgrade'] ?? 'h2c' };
  return { status: 101, headers, upgrade };
}
