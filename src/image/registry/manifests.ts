import { TareError } from '../../errors/index.ts';
import { type Descriptor, DigestMismatch, digestOf, isDigest } from '../../storage/index.ts';
import { isIndexType, isManifestType, MAX_MANIFEST_BYTES, mediaTypes, parseManifest } from '../manifest.ts';
import type { WireResponse } from './exchange.ts';
import type { ManifestName, RemoteDocument, RepositoryName, RequestOptions } from './registry.ts';
import { RegistryError } from './registry-error.ts';
import type { RegistryHost } from './registry-host.ts';
import { lengthOf } from './response-headers.ts';

/** docker's schema 1, which a registry may answer though nobody asked for it. */
const SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/;
const ACCEPT = [mediaTypes.index, mediaTypes.manifest, mediaTypes.dockerIndex, mediaTypes.dockerManifest].join(', ');
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** A repository with who asks it. */
export interface Place {
  host: RegistryHost;
  name: RepositoryName;
}

export const pullScope = ({ name }: Place): string[] => [`repository:${name.path}:pull`];
export const pushScope = ({ name }: Place): string[] => [`repository:${name.path}:pull,push`];

/** `manifest a/b:latest`, for errors. */
export const manifestWord = ({ name }: Place, manifest: ManifestName): string =>
  'tag' in manifest ? `manifest ${name.path}:${manifest.tag}` : `manifest ${name.path}@${manifest.digest}`;

/** @throws {TareError} InvalidArgument: what must not become a part of a URL */
export function manifestPath({ name }: Place, manifest: ManifestName): string {
  const reference = 'tag' in manifest ? manifest.tag : manifest.digest;
  if ('tag' in manifest ? !tagPattern.test(reference) : !isDigest(reference)) {
    throw new TareError('InvalidArgument', `invalid tag or digest ${JSON.stringify(reference)}`);
  }
  return `/v2/${name.path}/manifests/${reference}`;
}

/** Answers to HEAD without a digest or a length are not enough; some registries do not know HEAD at all. */
export async function resolveManifest(
  place: Place,
  manifest: ManifestName,
  options: RequestOptions = {},
): Promise<Descriptor> {
  const what = manifestWord(place, manifest);
  using response = await place.host.call({
    what,
    method: 'HEAD',
    path: manifestPath(place, manifest),
    scopes: pullScope(place),
    headers: { accept: ACCEPT },
    wanted: [200, 405],
    signal: options.signal,
  });
  const digest = response.header('docker-content-digest');
  const size = lengthOf(response.header('content-length'));
  const mediaType = typeOf(response);
  const isEnough =
    response.status === 200 && digest !== undefined && isDigest(digest) && size !== undefined && size > 0;
  if (!isEnough || !isKnown(mediaType)) return (await fetchManifest(place, manifest, options)).descriptor;
  refuseLarge(place, what, size);
  if ('digest' in manifest && digest !== manifest.digest) {
    throw new DigestMismatch(`registry ${place.host.domain}: ${what}`, manifest.digest, digest);
  }
  return { mediaType, digest, size };
}

export async function fetchManifest(
  place: Place,
  manifest: ManifestName,
  options: RequestOptions = {},
): Promise<RemoteDocument> {
  const what = manifestWord(place, manifest);
  const { response, bytes } = await readManifest(place, manifest, what, options);
  const label = `registry ${place.host.domain}: ${what}`;
  const digest = digestOf(bytes);
  const promised = 'digest' in manifest ? manifest.digest : response.header('docker-content-digest');
  // A tag's digest of another algorithm cannot be compared; the bytes then stand for themselves.
  if (promised !== undefined && isDigest(promised) && promised !== digest) {
    throw new DigestMismatch(label, promised, digest);
  }
  const said = typeOf(response);
  if (SCHEMA_1.test(said)) parseManifest(bytes, label);
  const mediaType = isKnown(said) ? said : ownType(bytes, said, label);
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

/** A break in so small a body is met by asking again. */
async function readManifest(place: Place, manifest: ManifestName, what: string, options: RequestOptions) {
  for (let attempt = 1; ; attempt += 1) {
    using response = await place.host.call({
      what,
      method: 'GET',
      path: manifestPath(place, manifest),
      scopes: pullScope(place),
      headers: { accept: ACCEPT },
      wanted: [200],
      signal: options.signal,
    });
    refuseLarge(place, what, lengthOf(response.header('content-length')) ?? 0);
    try {
      return { response, bytes: await place.host.read(what, response, MAX_MANIFEST_BYTES) };
    } catch (error) {
      const isPassing = error instanceof RegistryError && error.isPassing;
      if (!isPassing || attempt >= place.host.limits.attempts) throw error;
    }
  }
}

function refuseLarge(place: Place, what: string, sizeBytes: number): void {
  if (sizeBytes <= MAX_MANIFEST_BYTES) return;
  throw new RegistryError(
    'InvalidArgument',
    place.host.purpose(what),
    `a manifest of ${sizeBytes} bytes: at most ${MAX_MANIFEST_BYTES} are allowed`,
  );
}

const typeOf = (response: WireResponse): string =>
  (response.header('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();

const isKnown = (mediaType: string): boolean => isIndexType(mediaType) || isManifestType(mediaType);

/** A registry that names no type of its own leaves it to the document. */
function ownType(bytes: Buffer, said: string, label: string): string {
  const isSilent = ['', 'application/json', 'application/octet-stream', 'text/plain', 'binary/octet-stream'].includes(
    said,
  );
  if (isSilent) return parseManifest(bytes, label).mediaType;
  throw new TareError(
    'InvalidArgument',
    `${label}: its media type ${JSON.stringify(said.slice(0, 200))} is not that of an image manifest or index`,
  );
}
