import { toBinary } from '@bufbuild/protobuf';
import type { loadErrorStatus } from '../../engine/index.ts';
import { status } from '../../protocol/index.ts';

/** Of all details: they go in a header, and Go's clients take 16 MiB of these, servers in between less. */
const MAX_DETAILS_BYTES = 1 << 20;

/** An error as gRPC carries it. */
export interface WireError {
  code: number;
  message: string;
  /** Value of `grpc-status-details-bin`; undefined: no details. */
  detailsHeader: string | undefined;
}

/** How errors become messages; the builder has it. */
export type StatusOf = Awaited<ReturnType<typeof loadErrorStatus>>;

/** @param isCanceled the client gave up, which is what it is told */
export function wireError(statusOf: StatusOf, error: unknown, isCanceled = false): WireError {
  const message = statusOf(error, isCanceled);
  const bytes = message.details.length === 0 ? undefined : toBinary(status.StatusSchema, message);
  const detailsHeader =
    bytes === undefined || bytes.length > MAX_DETAILS_BYTES
      ? undefined
      : Buffer.from(bytes).toString('base64').replace(/=+$/, '');
  return { code: message.code, message: message.message, detailsHeader };
}
