import type { ApiBody, ApiResponse } from './messages.ts';
import { jsonLines } from './stream/json-lines.ts';
import type { ApiVersion } from './version.ts';

const encoder = new TextEncoder();

/** Clients of before API 1.42 did not know the multiplexed type. */
export function streamType(multiplex: boolean, version: ApiVersion): string {
  return multiplex && version >= 42 ? 'application/vnd.docker.multiplexed-stream' : 'application/vnd.docker.raw-stream';
}

export function json(value: unknown, status = 200): ApiResponse {
  const body = encoder.encode(`${JSON.stringify(value)}\n`);
  return { status, headers: { 'content-type': 'application/json', 'content-length': String(body.byteLength) }, body };
}

export function empty(status: 200 | 201 | 204): ApiResponse {
  return { status, headers: status === 204 ? {} : { 'content-length': '0' } };
}

export function text(value: string, headers: Record<string, string> = {}): ApiResponse {
  const body = encoder.encode(value);
  return {
    status: 200,
    headers: { 'content-type': 'text/plain; charset=utf-8', 'content-length': String(body.byteLength), ...headers },
    body,
  };
}

export function bytes(body: ApiBody, type: string, headers: Record<string, string> = {}): ApiResponse {
  return { status: 200, headers: { 'content-type': type, ...headers }, body };
}

/** One JSON document a line; what goes wrong meanwhile becomes the last line, as `{"errorDetail":…,"error":…}`. */
export function lines(values: AsyncIterable<unknown>): ApiResponse {
  return bytes(jsonLines(values), 'application/json');
}
