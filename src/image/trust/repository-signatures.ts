import { createHash } from 'node:crypto';
import { kindOf, TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, DigestMismatch, hexOf } from '../../storage/index.ts';
import { mediaTypes, parseManifest } from '../manifest.ts';
import type { RepositoryReader, RequestOptions } from '../registry/registry.ts';
import {
  annotationKeys,
  COSIGN_PAYLOAD_TYPE,
  MAX_SIGNATURE_BYTES,
  MAX_SIGNATURES,
  type Signature,
} from './signature.ts';

type SignatureRepository = Pick<RepositoryReader, 'manifest' | 'blob' | 'referrers' | 'name'>;

/** The tag under which cosign stores the signatures of a manifest. */
export const signatureTag = (digest: Digest): string => `sha256-${hexOf(digest)}.sig`;

export const LEGACY_REFERRER_TYPE = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const isBundleType = (type: string): boolean => /^application\/vnd\.dev\.sigstore\.bundle(\.v|\+json)/.test(type);

/**
 * Signatures in cosign's formats that a repository has for a manifest: under cosign's tag, and among its referrers. What
 * is damaged or too large is left out: it cannot speak for the image.
 *
 * @throws {TareError} Unauthorized, Unavailable: the registry does not tell
 */
export async function repositorySignatures(
  repository: SignatureRepository,
  digest: Digest,
  options: RequestOptions = {},
): Promise<Signature[]> {
  const tagged = await readSignatures(repository, { tag: signatureTag(digest) }, MAX_SIGNATURES, options);
  const found = [...tagged];
  let manifests = 0;
  for (const referrer of await repository.referrers(digest, options)) {
    const type = referrer.artifactType ?? '';
    if (type !== LEGACY_REFERRER_TYPE && !isBundleType(type)) continue;
    // A manifest each: whoever attaches thousands makes nobody fetch them all.
    manifests += 1;
    if (manifests > MAX_SIGNATURES || found.length >= MAX_SIGNATURES) break;
    found.push(
      ...(await readSignatures(repository, { digest: referrer.digest }, MAX_SIGNATURES - found.length, options)),
    );
  }
  return found;
}

async function readSignatures(
  repository: SignatureRepository,
  name: { tag: string } | { digest: Digest },
  limit: number,
  options: RequestOptions,
): Promise<Signature[]> {
  const layers = await signatureLayers(repository, name, options);
  const found: Signature[] = [];
  for (const layer of layers.slice(0, limit)) {
    const isBundle = isBundleType(layer.mediaType);
    if ((!isBundle && layer.mediaType !== COSIGN_PAYLOAD_TYPE) || layer.size > MAX_SIGNATURE_BYTES) continue;
    const bytes = await readBlob(repository, layer, options);
    if (bytes === undefined) continue;
    if (isBundle) found.push({ kind: 'bundle', bytes });
    else found.push({ kind: 'cosign', payload: bytes, annotations: signatureAnnotations(layer) });
  }
  return found;
}

/** Only what verification reads is kept of an annotation map. */
function signatureAnnotations({ annotations = {} }: Descriptor): Record<string, string> {
  const keys: readonly string[] = Object.values(annotationKeys);
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => keys.includes(key)));
}

async function signatureLayers(
  repository: SignatureRepository,
  name: { tag: string } | { digest: Digest },
  options: RequestOptions,
): Promise<Descriptor[]> {
  try {
    const { bytes, descriptor } = await repository.manifest(name, options);
    const manifest = parseManifest(bytes, 'signature manifest', descriptor.mediaType);
    return manifest.kind === 'manifest' && manifest.mediaType === mediaTypes.manifest ? manifest.layers : [];
  } catch (error) {
    if (isMissingOrDamaged(error)) return [];
    throw error;
  }
}

/** A small blob, compared with its digest; undefined: it is not there, or not what it should be. */
async function readBlob(
  repository: SignatureRepository,
  descriptor: Descriptor,
  options: RequestOptions,
): Promise<Buffer | undefined> {
  try {
    const chunks: Uint8Array[] = [];
    const hash = createHash('sha256');
    for await (const chunk of repository.blob(descriptor, options)) {
      hash.update(chunk);
      chunks.push(chunk);
    }
    const actual = `sha256:${hash.digest('hex')}`;
    if (actual !== descriptor.digest) throw new DigestMismatch('signature', descriptor.digest, actual);
    return Buffer.concat(chunks);
  } catch (error) {
    if (isMissingOrDamaged(error)) return undefined;
    throw error;
  }
}

const isMissingOrDamaged = (error: unknown): boolean =>
  error instanceof TareError && ['NotFound', 'InvalidArgument', 'Unsupported'].includes(kindOf(error));
