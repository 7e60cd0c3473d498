import { createHash } from 'node:crypto';
import { TareError } from '../../../errors/index.ts';
import { MAX_MANIFEST_BYTES, mediaTypes, parseReference, withDefaultTag } from '../../../image/index.ts';
import { type Descriptor, type Digest, digestOf, isDigest } from '../../../storage/index.ts';
import type { BuilderParts } from '../../builder-parts.ts';
import type { Attributes } from '../../exporters/attributes.ts';
import type { BuildSession } from '../../session.ts';

/** Where a cache is read: an image that is here, a repository, or a folder at the client. */
export interface CacheSource {
  /** For progress and errors: `registry:example.com/app:cache`. */
  readonly name: string;
  /** @throws {TareError} NotFound: there is no cache (yet) */
  root(signal: AbortSignal): Promise<{ mediaType: string; bytes: Uint8Array }>;
  /** A document by its digest, checked. */
  document(descriptor: Descriptor, limitBytes: number, signal: AbortSignal): Promise<Uint8Array>;
  blob(descriptor: Descriptor, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** Where a cache can be written, too. */
export interface CachePlace extends CacheSource {
  put(descriptor: Descriptor, bytes: (offset: number) => AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  putRoot(mediaType: string, bytes: Buffer, signal: AbortSignal): Promise<Descriptor>;
}

type PlaceParts = Pick<BuilderParts, 'images'>;

/** A repository and a tag of it. @throws {TareError} InvalidArgument, Forbidden */
export async function registryPlace(
  { images }: PlaceParts,
  attributes: Attributes,
  sessions: readonly BuildSession[],
): Promise<CachePlace> {
  const ref = attributes.text('ref');
  if (ref === undefined)
    throw attributes.wrong('ref', 'the image reference of the cache, such as example.com/app:cache');
  const reference = withDefaultTag(parseReference(ref));
  const insecure = attributes.flag('registry.insecure', false);
  const repository = await images.repository(ref, { insecure, sessions });
  const name = reference.digest === undefined ? { tag: reference.tag! } : { digest: reference.digest };
  return {
    name: `registry:${ref}`,
    root: async (signal) => {
      const { descriptor, bytes } = await repository.manifest(name, { signal });
      return { mediaType: descriptor.mediaType, bytes };
    },
    document: async (descriptor, limitBytes, signal) => {
      if (descriptor.mediaType === mediaTypes.manifest || descriptor.mediaType === mediaTypes.dockerManifest) {
        return (await repository.manifest({ digest: descriptor.digest }, { signal })).bytes;
      }
      return await whole(repository.blob(descriptor, { signal }), descriptor, limitBytes);
    },
    blob: (descriptor, offset, signal) => repository.blob(descriptor, { offset, signal }),
    put: async (descriptor, bytes, signal) => {
      const from = images.blobSources(descriptor.digest, reference.domain).filter((path) => path !== reference.path);
      await repository.putBlob(descriptor, bytes, { signal, from });
    },
    putRoot: (mediaType, bytes, signal) => repository.putManifest(name, mediaType, bytes, { signal }),
  };
}

/** The cache inside of an image that is here; undefined: there is no such image. @param ref a name or an id */
export async function storedPlace(
  { images, content }: Pick<BuilderParts, 'images' | 'content'>,
  ref: string,
): Promise<CacheSource | undefined> {
  const manifest = await images.stored(ref);
  if (manifest === undefined) return undefined;
  return {
    name: `image:${ref}`,
    root: async () => ({
      mediaType: manifest.mediaType,
      bytes: await content.read(manifest.digest, MAX_MANIFEST_BYTES),
    }),
    document: ({ digest }, limitBytes) => content.read(digest, limitBytes),
    blob: ({ digest }, offset) => content.open(digest, offset),
  };
}

/** A folder of the client's, which it offers as a content store and whose index it keeps itself. */
export function localPlace(attributes: Attributes, key: 'src' | 'dest', session: BuildSession): CachePlace {
  const path = attributes.text(key);
  if (path === undefined) throw attributes.wrong(key, 'the folder of the cache');
  const digest = attributes.text('digest');
  attributes.ignore('tag');
  const store = session.contentStore(`local:${path}`);
  const read = (of: Digest, limitBytes: number, size?: number) =>
    whole(store.read(of), { digest: of, size: size ?? limitBytes }, limitBytes);
  return {
    name: `local:${path}`,
    root: async () => {
      if (digest === undefined) throw new TareError('NotFound', `local cache ${path}: it has no index yet`);
      if (!isDigest(digest)) throw attributes.wrong('digest', 'sha256: and 64 lower-case hex digits');
      const bytes = await read(digest, MAX_MANIFEST_BYTES);
      return { mediaType: typeIn(bytes), bytes };
    },
    document: ({ digest: of, size }, limitBytes) => read(of, limitBytes, size),
    blob: ({ digest: of }, offset) => store.read(of, offset),
    put: ({ digest: of, size }, bytes) => store.write(of, { digest: of, sizeBytes: size }, bytes(0)),
    putRoot: async (mediaType, bytes) => {
      const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
      const once = async function* () {
        yield bytes;
      };
      await store.write(descriptor.digest, { digest: descriptor.digest, sizeBytes: bytes.byteLength }, once());
      return descriptor;
    },
  };
}

/** What a document says of itself; an index where it says nothing. */
function typeIn(bytes: Uint8Array): string {
  try {
    const { mediaType } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { mediaType?: unknown };
    return typeof mediaType === 'string' ? mediaType : mediaTypes.index;
  } catch {
    return mediaTypes.index;
  }
}

/** All of a small blob. @throws {TareError} InvalidArgument: too large, or not what its digest names */
async function whole(
  bytes: AsyncIterable<Uint8Array>,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  limitBytes: number,
): Promise<Buffer> {
  if (size > limitBytes)
    throw new TareError('InvalidArgument', `blob ${digest} has ${size} bytes, at most ${limitBytes} are allowed`);
  const chunks: Uint8Array[] = [];
  const hash = createHash('sha256');
  let received = 0;
  for await (const chunk of bytes) {
    received += chunk.byteLength;
    if (received > size) throw new TareError('InvalidArgument', `blob ${digest} has more than ${size} bytes`);
    hash.update(chunk);
    chunks.push(Buffer.from(chunk));
  }
  if (`sha256:${hash.digest('hex')}` !== digest) {
    throw new TareError('InvalidArgument', `blob ${digest} is damaged: its bytes have another digest`);
  }
  return Buffer.concat(chunks);
}
