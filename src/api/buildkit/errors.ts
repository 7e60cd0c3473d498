import { create, toBinary } from '@bufbuild/protobuf';
import type { ErrorDetail, FrontendError, LineRange, SourceError, SourceFile, VertexError } from '../../build/index.ts';
import { messageOf } from '../../errors/index.ts';
import { status } from '../../protocol/index.ts';

/** gRPC's status codes. Clients put a code's name before the message, but not this one's, which BuildKit has for all that fails in a build. */
const UNKNOWN = 2;
const CANCELED = 1;
/** Errors have causes, but not this many. */
const MAX_CAUSES = 32;
/** Of all details: they go in a header, and Go's clients take 16 MiB of these, servers in between less. */
const MAX_DETAILS_BYTES = 1 << 20;

/** An error as gRPC carries it. */
export interface WireError {
  code: number;
  message: string;
  /** Value of `grpc-status-details-bin`; undefined: no details. */
  detailsHeader: string | undefined;
}

/** @param isCancelled the client gave up, which is what it is told */
export function wireError(error: unknown, isCancelled = false): WireError {
  const message = statusOf(error, isCancelled);
  const bytes = message.details.length === 0 ? undefined : toBinary(status.StatusSchema, message);
  const detailsHeader =
    bytes === undefined || bytes.length > MAX_DETAILS_BYTES
      ? undefined
      : Buffer.from(bytes).toString('base64').replace(/=+$/, '');
  return { code: message.code, message: message.message, detailsHeader };
}

/** The same as a message, for what is kept of a build. */
export function statusOf(error: unknown, isCancelled = false): status.Status {
  const code = isCancelled ? CANCELED : UNKNOWN;
  return create(status.StatusSchema, { code, message: messageOf(error), details: detailsOf(error) });
}

/** What clients show of an error: the vertex, and the lines of the files that it came from. */
function detailsOf(error: unknown): ErrorDetail[] {
  const details: ErrorDetail[] = [];
  let current = error instanceof SuppressedError ? error.suppressed : error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
    // Only the types of these are a face's to know.
    const { source, ranges } = current as Partial<SourceError>;
    const { vertex, places } = current as Partial<VertexError>;
    const foreign = (current as Partial<FrontendError>).details;
    if (source !== undefined && ranges !== undefined) details.push(sourceDetail(source, ranges));
    if (vertex !== undefined) details.push(jsonDetail('errdefs.Vertex+json', { digest: vertex }));
    for (const place of places ?? []) details.push(sourceDetail(place.source, place.ranges));
    if (Array.isArray(foreign)) details.push(...foreign);
    current = current.cause;
  }
  return details;
}

function sourceDetail({ filename, data, language }: SourceFile, ranges: readonly LineRange[]): ErrorDetail {
  const info = { filename, data: Buffer.from(data).toString('base64'), language };
  return jsonDetail('errdefs.Source+json', { info, ranges });
}

/** BuildKit's clients read the details that they know as JSON. */
const jsonDetail = (name: string, value: object): ErrorDetail => ({
  typeUrl: `github.com/moby/buildkit/${name}`,
  value: Buffer.from(JSON.stringify(value)),
});
