import { kindOf, TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, digestOf } from '../../storage/index.ts';
import { MAX_MANIFEST_BYTES, mediaTypes, parseManifest } from '../manifest.ts';
import type { Repository, RequestOptions } from '../registry/registry.ts';
import { signatureTag } from './repository-signatures.ts';
import { BUNDLE_TYPE, COSIGN_PAYLOAD_TYPE, type Signature } from './signature.ts';
import { SIGN_PREDICATE } from './signed-payload.ts';

const EMPTY = Buffer.from('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';

/**
 * Stores a signature beside its image: cosign's under a tag that its digest makes, beside those that are there; a bundle
 * as a referrer. Two who sign at the same moment under the tag may lose one of the two, as with cosign.
 *
 * @param subject the manifest that was signed
 * @returns what was stored: the tag, or the referrer's digest
 */
export async function attachSignature(
  repository: Repository,
  subject: Descriptor,
  signature: Signature,
  options: RequestOptions = {},
): Promise<string> {
  if (signature.kind === 'bundle') return await attachReferrer(repository, subject, signature.bytes, options);
  if (signature.kind === 'simple') throw new TareError('Unsupported', 'GPG signatures have no place in a registry');
  const layer = await putBlob(repository, COSIGN_PAYLOAD_TYPE, signature.payload, options);
  const tag = signatureTag(subject.digest);
  const before = await storedLayers(repository, tag, options);
  const added = { ...layer, annotations: { ...signature.annotations } };
  // Signing twice with the same key makes two different signatures of the same payload; both stay, as with cosign.
  const layers = [...before, added];
  const config = Buffer.from(
    JSON.stringify({
      architecture: '',
      created: '0001-01-01T00:00:00Z',
      history: layers.map(() => ({ created: '0001-01-01T00:00:00Z' })),
      os: '',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      config: {},
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await putBlob(repository, mediaTypes.config, config, options),
    layers,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    throw new TareError('Conflict', `tag ${tag} holds so many signatures that no more fit: delete it`);
  }
  await repository.putManifest({ tag }, mediaTypes.manifest, bytes, options);
  return tag;
}

async function storedLayers(repository: Repository, tag: string, options: RequestOptions): Promise<Descriptor[]> {
  try {
    const { bytes, descriptor } = await repository.manifest({ tag }, options);
    const manifest = parseManifest(bytes, `signatures ${tag}`, descriptor.mediaType);
    if (manifest.kind === 'manifest') return manifest.layers;
    throw new TareError('Conflict', `tag ${tag} holds an index instead of signatures: delete it`);
  } catch (error) {
    if (kindOf(error) === 'NotFound') return [];
    throw error;
  }
}

async function attachReferrer(
  repository: Repository,
  subject: Descriptor,
  bundle: Buffer,
  options: RequestOptions,
): Promise<Digest> {
  const { mediaType, digest, size } = subject;
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: BUNDLE_TYPE,
    config: await putBlob(repository, EMPTY_TYPE, EMPTY, options),
    layers: [await putBlob(repository, BUNDLE_TYPE, bundle, options)],
    subject: { mediaType, digest, size },
    annotations: {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': SIGN_PREDICATE,
      'org.opencontainers.image.created': new Date().toISOString(),
    },
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await repository.putManifest({ digest: digestOf(bytes) }, mediaTypes.manifest, bytes, options);
  return digestOf(bytes);
}

async function putBlob(
  repository: Repository,
  mediaType: string,
  bytes: Buffer,
  options: RequestOptions,
): Promise<Descriptor> {
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  await repository.putBlob(
    descriptor,
    async function* (offset) {
      yield bytes.subarray(offset);
    },
    options,
  );
  return descriptor;
}
