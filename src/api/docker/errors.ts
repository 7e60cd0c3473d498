import { type ErrorKind, kindOf, messageOf } from '../../errors/index.ts';
import type { ApiResponse } from './messages.ts';
import { json } from './responses.ts';

const statuses: Record<ErrorKind, number> = {
  InvalidArgument: 400,
  NotFound: 404,
  Conflict: 409,
  AlreadyExists: 409,
  NotModified: 304,
  Unauthorized: 401,
  Forbidden: 403,
  Unsupported: 501,
  Unavailable: 503,
  NotExecutable: 400,
  CommandNotFound: 400,
  Internal: 500,
};

/** Status of any thrown value. */
function statusOf(error: unknown): number {
  return statuses[kindOf(error)];
}

/** `{"message": …}` with the status of the error's kind; 304 has no body. */
export function errorResponse(error: unknown): ApiResponse {
  const status = statusOf(error);
  return status === 304 ? { status, headers: {} } : json({ message: messageOf(error) }, status);
}
