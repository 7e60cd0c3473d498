import type { ClientHttp2Session } from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { TypedOptions } from '../../../build/index.ts';
import { control } from '../../../protocol/index.ts';
import { callOnce } from '../session/grpc-call.ts';
import type { RemoteBuild } from './remote-build.ts';

/** Has a daemon solve and export. Resolves when the build is over. */
export async function solve(
  http2: ClientHttp2Session,
  request: control.SolveRequest,
  signal: AbortSignal,
): Promise<control.SolveResponse> {
  const answer = await callOnce(
    http2,
    '/moby.buildkit.v1.Control/Solve',
    toBinary(control.SolveRequestSchema, request),
    { signal },
  );
  return fromBinary(control.SolveResponseSchema, answer);
}

export function solveRequest({ request, session }: RemoteBuild, ref: string): control.SolveRequest {
  const options = ({ type, attributes }: TypedOptions) => ({ Type: type, Attrs: { ...attributes } });
  return create(control.SolveRequestSchema, {
    Ref: ref,
    Session: session.id,
    Frontend: request.frontend ?? '',
    FrontendAttrs: { ...request.frontendOptions },
    // Docker's name for an image in its own store; ours are the same.
    Exporters: request.exporters.map(options).map((one) => (one.Type === 'image' ? { ...one, Type: 'moby' } : one)),
    Cache: { Exports: request.cacheExports.map(options), Imports: request.cacheImports.map(options) },
    Entitlements: [...request.entitlements],
    Internal: request.isInternal ?? false,
  });
}
