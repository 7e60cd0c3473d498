import type { Duplex } from 'node:stream';
import type { BulkBytes, BulkSource, Caller } from '../../engine/index.ts';

/** One request, free of any HTTP library. */
export interface ApiRequest {
  method: string;
  /** With or without a `/v1.NN` prefix; no query string. */
  path: string;
  query: URLSearchParams;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: BulkSource;
  /** Aborted when the client went away. */
  signal: AbortSignal;
  /** Who sent it; undefined: whoever runs this process. */
  caller?: Caller;
  /** Why it must not be answered, by what let it in. */
  refusal?: string;
}

export interface ApiBody extends BulkBytes {
  /** Takes back the memory of a chunk that was written and that nobody reads any more. Nobody has to call it. */
  reuse?(chunk: Uint8Array): void;
}

export interface ApiResponse {
  status: number;
  headers: Record<string, string>;
  /** An iterable that throws after its first chunk cannot be answered with a status any more: the connection breaks. */
  body?: Uint8Array | ApiBody;
  /**
   * Takes over the connection once status and headers are out (attach, exec start). Resolves when both directions are
   * done and everything was written; the duplex has been ended by then.
   */
  upgrade?: (duplex: Duplex, headers: Record<string, string>) => Promise<void>;
  /** `upgrade` writes status and headers itself: its protocol has a handshake of its own. */
  shakesHands?: boolean;
}

export interface Api {
  /** Never rejects: errors are responses. */
  handle(request: ApiRequest): Promise<ApiResponse>;
  /** Whether this request's answer may take over the connection; such requests must reach `handle` with their raw socket kept. */
  hijacks(method: string, path: string): boolean;
  /** Whether this request's body may be large, and is best read past the HTTP parser. */
  takesBulk(method: string, path: string): boolean;
}

/** Where the face reports what a client cannot be told in full (pino's shape). */
export interface ApiLogger {
  error(fields: object, message: string): void;
}
