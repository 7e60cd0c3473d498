import type { Static, TSchema } from 'typebox';
import { TareError } from '../../../errors/index.ts';
import type { ApiRequest } from '../messages.ts';
import { decodeJson } from './decode.ts';

const LIMIT_BYTES = 16 * 1024 * 1024;
/** A document is there at once; who sends it drop by drop only holds a connection. */
const LIMIT_MS = 60_000;

/**
 * Reads a JSON body. An empty one is undefined: docker's engine takes it for "nothing given".
 *
 * @throws {TareError} InvalidArgument: not JSON, of another content type, over 16 MiB, a minute late, or not of the schema
 */
export async function readBody<S extends TSchema>(request: ApiRequest, schema: S): Promise<Static<S> | undefined> {
  const text = await readText(request);
  if (text === '') return undefined;
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new TareError('InvalidArgument', `unsupported Content-Type header (${type}): must be 'application/json'`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TareError('InvalidArgument', `invalid JSON: ${(cause as Error).message}`, { cause });
  }
  return value === null ? undefined : decodeJson(schema, value);
}

async function readText(request: ApiRequest): Promise<string> {
  if (request.headers['content-length'] === '0') return '';
  const late = Promise.withResolvers<never>();
  const message = `the request body is not complete after ${LIMIT_MS / 1000} seconds`;
  const timer = setTimeout(() => late.reject(new TareError('InvalidArgument', message)), LIMIT_MS);
  try {
    return await Promise.race([textOf(request), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function textOf(request: ApiRequest): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > LIMIT_BYTES) throw new TareError('InvalidArgument', `request body is over ${LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size).toString('utf8').trim();
}
