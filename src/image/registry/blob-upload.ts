import { type Descriptor, isDigest } from '../../storage/index.ts';
import { blobSize, blobWord } from './blob-download.ts';
import type { WireResponse } from './exchange.ts';
import { type Place, pushScope } from './manifests.ts';
import type { BlobBytes, RequestOptions } from './registry.ts';
import { RegistryError } from './registry-error.ts';
import { lengthOf, uploadedBytes } from './response-headers.ts';
import { backOff } from './retry.ts';

export interface UploadOptions extends RequestOptions {
  from?: readonly string[];
  onProgress?(sentBytes: number): void;
}

/** An upload that a registry has begun. */
interface Session {
  url: URL;
  /** Bytes that the registry has. */
  offset: number;
  minChunkBytes: number;
}

/** Repositories that are asked for a blob before it is sent. */
const MAX_MOUNTS = 5;
const octets = { 'content-type': 'application/octet-stream' };
const uploadsPath = ({ name }: Place) => `/v2/${name.path}/blobs/uploads/`;

/** @see distribution-spec, "Push" */
export async function uploadBlob(
  place: Place,
  descriptor: Descriptor,
  bytes: BlobBytes,
  options: UploadOptions = {},
): Promise<'existed' | 'mounted' | 'uploaded'> {
  const { digest } = descriptor;
  // A token for a push: one to read may not be had for a repository that does not exist yet.
  const isThere = async () => (await blobSize(place, digest, options, pushScope(place))) !== undefined;
  if (await isThere()) return 'existed';
  const mounted = await mountBlob(place, descriptor, options);
  if (mounted === 'mounted') return 'mounted';
  const { limits } = place.host;
  let session = mounted;
  for (let failures = 0; ; ) {
    try {
      session ??= await startUpload(place, digest, options);
      await sendBlob(place, descriptor, bytes, session, options);
      return 'uploaded';
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof RegistryError)) throw error;
      const isLost = session !== undefined && isForgotten(error);
      if (!error.isPassing && !isLost) throw error;
      failures += 1;
      if (failures > limits.resumptions) throw error;
      await backOff(limits, failures, error.retryAfterMs, options.signal);
      // Only the answer may have been lost.
      if (await isThere()) return 'uploaded';
      session = session === undefined || isLost ? undefined : await uploadStatus(place, digest, session, options);
    }
  }
}

/** The registry does not know the upload, or not at this place: it must begin anew. */
const isForgotten = (error: RegistryError): boolean =>
  [404, 410, 416].includes(error.status ?? 0) ||
  error.code === 'BLOB_UPLOAD_UNKNOWN' ||
  error.code === 'BLOB_UPLOAD_INVALID';

/** @returns an upload that the registry began instead; undefined: nothing was asked */
async function mountBlob(
  place: Place,
  { digest }: Descriptor,
  { from = [], signal }: UploadOptions,
): Promise<'mounted' | Session | undefined> {
  const others = [...new Set(from)].filter((path) => path !== place.name.path).slice(0, MAX_MOUNTS);
  let session: Session | undefined;
  for (const other of others) {
    const what = blobWord(place, digest);
    try {
      using response = await place.host.call({
        what,
        method: 'POST',
        path: `${uploadsPath(place)}?mount=${digest}&from=${encodeURIComponent(other)}`,
        scopes: [...pushScope(place), `repository:${other}:pull`],
        wanted: [201, 202],
        signal,
      });
      if (session !== undefined) await cancelUpload(place, digest, session, signal);
      if (response.status === 201) return 'mounted';
      session = sessionOf(place, what, response, 0);
    } catch (error) {
      // The other repository may be closed to this login, or gone: then the bytes are sent.
      const isRefused = error instanceof RegistryError && [400, 401, 403, 404, 405].includes(error.status ?? 0);
      if (!isRefused) throw error;
    }
  }
  return session;
}

async function startUpload(place: Place, digest: string, { signal }: UploadOptions): Promise<Session> {
  const what = blobWord(place, digest);
  using response = await place.host.call({
    what,
    method: 'POST',
    path: uploadsPath(place),
    scopes: pushScope(place),
    wanted: [202],
    signal,
  });
  return sessionOf(place, what, response, 0);
}

function sessionOf(place: Place, what: string, response: WireResponse, offset: number, before?: Session): Session {
  const location = response.header('location');
  if (location === undefined && before === undefined) {
    throw new RegistryError('InvalidArgument', place.host.purpose(what), 'its upload has no Location to send to');
  }
  return {
    url: location === undefined ? before!.url : place.host.link(what, response, location),
    offset,
    minChunkBytes: lengthOf(response.header('oci-chunk-min-length')) ?? before?.minChunkBytes ?? 0,
  };
}

/** Sends what the registry does not have yet, and closes the upload. `session` follows what the registry says. */
async function sendBlob(
  place: Place,
  { digest, size }: Descriptor,
  bytes: BlobBytes,
  session: Session,
  options: UploadOptions,
): Promise<void> {
  const { monolithicBytes, chunkBytes } = place.host.limits;
  const what = blobWord(place, digest);
  const send = (method: string, url: URL, end: number, headers: Record<string, string>, wanted: number[]) =>
    place.host.call({
      what,
      method,
      path: url,
      scopes: pushScope(place),
      headers: { ...octets, ...headers },
      body: {
        sizeBytes: end - session.offset,
        bytes: () => firstBytes(bytes, session.offset, end),
        onSent: (sent) => options.onProgress?.(session.offset + sent),
      },
      wanted,
      // What went over before a break need not go again, so a further try is not the same request.
      attempts: 1,
      signal: options.signal,
    });
  while (session.offset < size && (session.offset > 0 || size > monolithicBytes)) {
    const end = Math.min(size, session.offset + Math.max(chunkBytes, session.minChunkBytes));
    const isWhole = session.offset === 0 && end === size;
    // A stream of the whole goes without a range, as docker sends it: every registry takes that.
    const headers: Record<string, string> = isWhole ? {} : { 'content-range': `${session.offset}-${end - 1}` };
    using response = await send('PATCH', session.url, end, headers, [202]);
    const has = uploadedBytes(response.header('range')) ?? end;
    if (has > end || has < session.offset) {
      const problem = `after bytes ${session.offset} to ${end} it says that it has ${has}`;
      throw new RegistryError('InvalidArgument', place.host.purpose(what), problem);
    }
    const isStuck = has === session.offset;
    Object.assign(session, sessionOf(place, what, response, has, session));
    if (isStuck) {
      throw new RegistryError('Unavailable', place.host.purpose(what), 'it took none of the bytes', {
        isPassing: true,
      });
    }
  }
  const url = new URL(session.url);
  url.searchParams.set('digest', digest);
  using response = await send('PUT', url, size, {}, [201, 204]);
  const stored = response.header('docker-content-digest');
  if (stored !== undefined && isDigest(stored) && stored !== digest) {
    throw new RegistryError('InvalidArgument', place.host.purpose(what), `it stored ${stored} instead`);
  }
}

async function* firstBytes(bytes: BlobBytes, offset: number, end: number): AsyncGenerator<Uint8Array, void, void> {
  let left = end - offset;
  if (left === 0) return;
  for await (const chunk of bytes(offset)) {
    const part = chunk.byteLength > left ? chunk.subarray(0, left) : chunk;
    left -= part.byteLength;
    yield part;
    if (left === 0) return;
  }
}

/** Asks how far an upload has come. @returns undefined: the registry no longer knows it */
async function uploadStatus(
  place: Place,
  digest: string,
  session: Session,
  { signal }: UploadOptions,
): Promise<Session | undefined> {
  const what = blobWord(place, digest);
  try {
    using response = await place.host.call({
      what,
      method: 'GET',
      path: session.url,
      scopes: pushScope(place),
      wanted: [204, 202, 200],
      signal,
    });
    const offset = uploadedBytes(response.header('range'));
    return offset === undefined ? undefined : sessionOf(place, what, response, offset, session);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof RegistryError && error.status !== undefined && error.status < 500) return undefined;
    throw error;
  }
}

/** Best effort: registries also clean up by themselves. */
async function cancelUpload(place: Place, digest: string, session: Session, signal: AbortSignal | undefined) {
  try {
    using _response = await place.host.call({
      what: blobWord(place, digest),
      method: 'DELETE',
      path: session.url,
      scopes: pushScope(place),
      wanted: [204, 200, 202, 404],
      attempts: 1,
      signal,
    });
  } catch {
    signal?.throwIfAborted();
  }
}
