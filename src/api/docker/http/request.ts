import type { IncomingMessage } from 'node:http';
import type { BulkSource, Caller } from '../../../engine/index.ts';
import type { ApiRequest } from '../messages.ts';

/**
 * The API's view of a request of node:http.
 * @param from who sent it, and why it must not be answered
 * @param body where it is not the request's own
 */
export function toApiRequest(
  request: IncomingMessage,
  signal: AbortSignal,
  from: { caller: Caller | undefined; refusal: string | undefined },
  body?: BulkSource,
): ApiRequest {
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  return {
    method: request.method ?? 'GET',
    path: mark < 0 ? url : url.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    headers: singleHeaders(request),
    // Who leaves a body before its end must still be answered: the connection stays.
    body: body ?? { [Symbol.asyncIterator]: () => request.iterator({ destroyOnReturn: false }) },
    signal,
    ...(from.caller === undefined ? {} : { caller: from.caller }),
    ...(from.refusal === undefined ? {} : { refusal: from.refusal }),
  };
}

function singleHeaders(request: IncomingMessage): Record<string, string> {
  const headers: [string, string][] = [];
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.push([name, Array.isArray(value) ? value.join(', ') : value]);
  }
  return Object.fromEntries(headers);
}
