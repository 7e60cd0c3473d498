import type { Caller } from '../../engine/index.ts';
import type { ApiRequest, ApiResponse } from './messages.ts';

/** Who asked for what, and how it ended. Nothing in it is secret. */
export interface AuditEntry {
  /** When the request came, RFC 3339. */
  time: string;
  /** undefined: whoever runs this process. */
  caller?: Caller;
  method: string;
  /** `/containers/:id/start`; the path itself where no route has it. */
  route: string;
  /** The name or id in the path, as it was given. */
  target?: string;
  query?: Record<string, string>;
  /** What was understood of an object that was made or run. */
  subject?: Record<string, unknown>;
  status: number;
  /** Until the answer began. */
  ms: number;
  /** Why it was refused. */
  refusal?: string;
}

/** Parameters that say what is meant; others may carry anything. */
const shown = new Set([
  ...['name', 'container', 'fromImage', 'repo', 'tag', 'platform', 'force', 'v', 'link', 'signal', 't', 'path', 'all'],
  ...[
    'dockerfile',
    'target',
    'networkmode',
    'version',
    'condition',
    'stdin',
    'stream',
    'newname',
    'checkpoint',
    'noprune',
    'filters',
  ],
]);
const LONGEST = 1024;

const clip = (text: string): string => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);

/** @param found the route that has the path, with its parameters */
export function auditEntry(
  request: ApiRequest,
  found: { path: string; target: string } | undefined,
  response: Pick<ApiResponse, 'status'> & { refusal?: string },
  times: { startedMs: number; endedMs: number },
  subject: Record<string, unknown> | undefined,
): AuditEntry {
  const query = [...request.query].filter(([name]) => shown.has(name)).map(([name, value]) => [name, clip(value)]);
  return {
    time: new Date(times.startedMs).toISOString(),
    ...(request.caller === undefined ? {} : { caller: request.caller }),
    method: request.method,
    route: found?.path ?? clip(request.path),
    ...(found === undefined || found.target === '' ? {} : { target: clip(found.target) }),
    ...(query.length === 0 ? {} : { query: Object.fromEntries(query) }),
    ...(subject === undefined ? {} : { subject }),
    status: response.status,
    ms: Math.round(times.endedMs - times.startedMs),
    ...(response.refusal === undefined ? {} : { refusal: clip(response.refusal) }),
  };
}
