import type { Duplex } from 'node:stream';
import { type ErrorKind, TareError } from '../../errors/index.ts';

/** A list is repeated, `names=a&names=b`; undefined, false and '' are left out. */
export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

export interface Request {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** Without query and without the API's version: `/containers/json`. */
  path: string;
  query?: Query;
  /** A list is sent as several fields. */
  headers?: Record<string, string | readonly string[]>;
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}

export interface Response {
  status: number;
  /** Lower-case names. */
  headers: Record<string, string>;
  /** Leaving it before its end drops the connection. */
  body: AsyncIterable<Uint8Array>;
}

/** A way to the Docker Engine API: a daemon's socket, or the engine in this process. */
export interface Transport {
  request(request: Request): Promise<Response>;
  /** Takes the connection over after the answer's head (attach, exec). @throws {ApiError} refused */
  upgrade(request: Request): Promise<Duplex>;
  close(): Promise<void>;
  /** The engine runs in this process. */
  readonly local: boolean;
  /** For messages: `unix:///run/tare/tare.sock`. */
  readonly address: string;
}

/** An answer that is not a success; the message is the engine's own. */
export class ApiError extends TareError {
  readonly status: number;
  constructor(status: number, message: string) {
    super(kinds[status] ?? 'Internal', message);
    this.status = status;
  }
}

const kinds: Record<number, ErrorKind> = {
  304: 'NotModified',
  400: 'InvalidArgument',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  501: 'Unsupported',
  503: 'Unavailable',
};

/** The messages of the Docker Engine API over any transport. */
export class Client {
  readonly #transport: Transport;
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get local(): boolean {
    return this.#transport.local;
  }

  get address(): string {
    return this.#transport.address;
  }

  /** The answer as JSON; undefined when it has no body. @throws {ApiError} */
  async json<T>(
    method: Request['method'],
    path: string,
    options: { query?: Query; body?: unknown; signal?: AbortSignal } = {},
  ): Promise<T> {
    const { body, ...rest } = options;
    const response = await this.stream(method, path, {
      ...rest,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await textOf(response.body);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** The answer with its body still to be read. @throws {ApiError} */
  async stream(
    method: Request['method'],
    path: string,
    options: Omit<Request, 'method' | 'path'> = {},
  ): Promise<Response> {
    const response = await this.#transport.request({ method, path, ...options });
    if (response.status >= 400) throw await apiError(response);
    return response;
  }

  /** The connection itself, after a request with a JSON body. @throws {ApiError} */
  upgrade(
    path: string,
    options: { query?: Query; body?: unknown; headers?: NonNullable<Request['headers']> } = {},
  ): Promise<Duplex> {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    return this.#transport.upgrade({
      method: 'POST',
      path,
      ...(options.query ? { query: options.query } : {}),
      ...(body === undefined ? {} : { body }),
      headers: { ...options.headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    });
  }

  close(): Promise<void> {
    return this.#transport.close();
  }
}

/** Reads an error answer: `{"message": …}`, or the text as it is. */
export async function apiError(response: Response): Promise<ApiError> {
  const text = (await textOf(response.body)).trim();
  let message = text;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) message = String(parsed.message);
  } catch {
    // Not JSON: a proxy's page, or plain text.
  }
  return new ApiError(response.status, message || `the engine answered with status ${response.status}`);
}

/** A bounded body as text. @throws {TareError} Unavailable: over 256 MiB */
export async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > 256 * 2 ** 20)
      throw new TareError('Unavailable', 'the engine answered with over 256 MiB where a document was expected');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** `a=1&b=true` */
export function queryText(query: Query = {}): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === false || value === '') continue;
    for (const each of Array.isArray(value) ? value : [value])
      parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(each)}`);
  }
  return parts.join('&');
}
