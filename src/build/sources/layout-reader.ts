import { kindOf, TareError } from '../../errors/index.ts';
import { parseManifest, type RemoteDocument, type RepositoryReader } from '../../image/index.ts';
import { type Descriptor, type Digest, DigestMismatch, digestOf } from '../../storage/index.ts';
import type { SessionContentStore } from '../session.ts';

const MAX_MANIFEST_BYTES = 4 << 20;

/** A content store at a client as a repository to pull from. All that it sends is compared with the digests that were asked for. */
export function layoutReader(store: SessionContentStore, reference: string): RepositoryReader {
  const document = async (digest: Digest): Promise<RemoteDocument> => {
    const bytes = await gather(store.read(digest), `${reference}: manifest ${digest}`);
    const actual = digestOf(bytes);
    if (actual !== digest) throw new DigestMismatch(`${reference}: manifest`, digest, actual);
    const { mediaType } = parseManifest(bytes, `${reference}: ${digest}`);
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  };
  const named = async (name: Parameters<RepositoryReader['manifest']>[0]): Promise<RemoteDocument> => {
    if ('digest' in name) return await document(name.digest);
    throw new TareError(
      'InvalidArgument',
      `${reference}: an image of an OCI layout is named by its digest: want …@sha256:…`,
    );
  };
  return {
    name: { domain: 'oci-layout', path: reference },
    resolve: async (name) => (await named(name)).descriptor,
    manifest: named,
    blob: (descriptor: Descriptor, options = {}) =>
      bounded(store.read(descriptor.digest, options.offset), descriptor, options),
    blobSize: async (digest) => {
      try {
        return (await store.info(digest)).sizeBytes;
      } catch (error) {
        if (kindOf(error) === 'NotFound') return undefined;
        throw error;
      }
    },
    tags: async function* () {},
    referrers: async () => [],
  };
}

async function* bounded(
  bytes: AsyncIterable<Uint8Array>,
  { digest, size }: Descriptor,
  { offset = 0, signal }: { offset?: number; signal?: AbortSignal },
): AsyncGenerator<Uint8Array> {
  let left = size - offset;
  for await (const chunk of bytes) {
    signal?.throwIfAborted();
    left -= chunk.length;
    if (left < 0)
      throw new TareError(
        'InvalidArgument',
        `blob ${digest} of an OCI layout is larger than the ${size} bytes that its descriptor says`,
      );
    yield chunk;
  }
  if (left > 0)
    throw new TareError(
      'InvalidArgument',
      `blob ${digest} of an OCI layout is shorter than the ${size} bytes that its descriptor says`,
    );
}

async function gather(bytes: AsyncIterable<Uint8Array>, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > MAX_MANIFEST_BYTES)
      throw new TareError('InvalidArgument', `${what} is larger than ${MAX_MANIFEST_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
