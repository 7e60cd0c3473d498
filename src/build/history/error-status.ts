import { create } from '@bufbuild/protobuf';
import { messageOf } from '../../errors/index.ts';
import { status } from '../../protocol/index.ts';
import type { LineRange, SourceFile } from '../progress.ts';
import { SourceError } from '../source-error.ts';
import { type ErrorDetail, FrontendError, VertexError } from '../vertex-error.ts';

/** gRPC's status codes. Clients put a code's name before the message, but not this one's, which BuildKit has for all that fails in a build. */
const UNKNOWN = 2;
const CANCELED = 1;
/** Errors have causes, but not this many. */
const MAX_CAUSES = 32;

/**
 * An error of a build as gRPC's clients read it, with what they show of it: the vertex, and the lines of the files that it came from.
 * @param isCanceled the client gave up, which is what it is told
 */
export function statusOf(error: unknown, isCanceled = false): status.Status {
  const code = isCanceled ? CANCELED : UNKNOWN;
  return create(status.StatusSchema, { code, message: messageOf(error), details: detailsOf(error) });
}

function detailsOf(error: unknown): ErrorDetail[] {
  const details: ErrorDetail[] = [];
  let current = error instanceof SuppressedError ? error.suppressed : error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
    if (current instanceof SourceError && current.source !== undefined)
      details.push(sourceDetail(current.source, current.ranges));
    else if (current instanceof VertexError) {
      details.push(jsonDetail('errdefs.Vertex+json', { digest: current.vertex }));
      for (const place of current.places) details.push(sourceDetail(place.source, place.ranges));
    } else if (current instanceof FrontendError) details.push(...current.details);
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
