/** Every bound of the client; tests make them small. */
export interface RegistryLimits {
  /** From the start until the connection stands, TLS and a proxy's tunnel included. */
  connectTimeoutMs: number;
  /** From the request's last byte to the answer's head. */
  headersTimeoutMs: number;
  /** Between two pieces of a body, either way. */
  idleTimeoutMs: number;
  /** A body must bring `progressBytes` in every `progressWindowMs` spent waiting for it; a slow reader is not counted. */
  progressWindowMs: number;
  progressBytes: number;
  /** Tries of one request, the first included. */
  attempts: number;
  /** The first pause before a further try; it doubles, up to `maxBackoffMs`, and is then cut at random by up to a half. */
  backoffMs: number;
  maxBackoffMs: number;
  /** The longest `Retry-After` that is waited for; a longer one is an error at once. */
  maxRetryAfterMs: number;
  /** How often one blob's transfer is taken up again. */
  resumptions: number;
  redirects: number;
  errorBodyBytes: number;
  tokenBytes: number;
  /** One page of tags, names or referrers, and an answer to a search. */
  pageBytes: number;
  /** All tags of a repository, or names of a catalog. */
  listEntries: number;
  /** A blob up to this size goes up in one PUT; a larger one by PATCH. */
  monolithicBytes: number;
  /** What one PATCH carries; a registry's OCI-Chunk-Min-Length raises it. */
  chunkBytes: number;
}

export const defaultLimits: RegistryLimits = {
  connectTimeoutMs: 30_000,
  headersTimeoutMs: 60_000,
  idleTimeoutMs: 60_000,
  progressWindowMs: 60_000,
  progressBytes: 16 * 1024,
  attempts: 4,
  backoffMs: 250,
  maxBackoffMs: 10_000,
  maxRetryAfterMs: 60_000,
  resumptions: 10,
  redirects: 5,
  errorBodyBytes: 64 * 1024,
  tokenBytes: 1024 * 1024,
  pageBytes: 4 * 1024 * 1024,
  listEntries: 1_000_000,
  monolithicBytes: 4 * 1024 * 1024,
  // A layer in one stream, as docker sends it.
  chunkBytes: Number.POSITIVE_INFINITY,
};
