import { type Caller, currentRequest, type RequestContext, withinRequest } from '../../engine/index.ts';
import { type ErrorKind, kindOf, messageOf } from '../../errors/index.ts';

/** Who had what built over a connection that had other builds before, in the shape of the Docker API's audit log. */
export interface BuildAuditEntry {
  /** When it was asked for, RFC 3339. */
  time: string;
  /** undefined: whoever runs this process. */
  caller?: Caller;
  method: 'POST';
  route: '/moby.buildkit.v1.Control/Solve';
  /** What was understood of it. */
  subject?: Record<string, unknown>;
  /** As an HTTP answer would have it. */
  status: number;
  /** Until it was over. */
  ms: number;
  /** Why it was refused. */
  refusal?: string;
}

const statuses: Partial<Record<ErrorKind, number>> = {
  InvalidArgument: 400,
  NotFound: 404,
  Conflict: 409,
  AlreadyExists: 409,
  Unauthorized: 401,
  Forbidden: 403,
  Unsupported: 501,
  Unavailable: 503,
};
const LONGEST = 1024;

/** Has something built for the caller at work, and tells of it when it is over. */
export async function audited<T>(
  tell: ((entry: BuildAuditEntry) => void) | undefined,
  build: () => Promise<T>,
): Promise<T> {
  const caller = currentRequest()?.caller;
  // Of its own: one connection asks for several builds.
  const context: RequestContext = caller === undefined ? {} : { caller };
  const startedMs = Date.now();
  const entry = (status: number, refusal?: string): BuildAuditEntry => ({
    time: new Date(startedMs).toISOString(),
    ...(caller === undefined ? {} : { caller }),
    ...{ method: 'POST', route: '/moby.buildkit.v1.Control/Solve' },
    ...(context.subject === undefined ? {} : { subject: context.subject }),
    ...{ status, ms: Date.now() - startedMs },
    ...(refusal === undefined ? {} : { refusal: refusal.slice(0, LONGEST) }),
  });
  try {
    const result = await withinRequest(context, build);
    tell?.(entry(200));
    return result;
  } catch (error) {
    const status = statuses[kindOf(error)] ?? 500;
    tell?.(entry(status, status === 403 ? messageOf(error) : undefined));
    throw error;
  }
}
