import { createHash } from 'node:crypto';
import { kindOf, messageOf } from '../../errors/index.ts';
import { type Descriptor, type Digest, DigestMismatch, hexOf } from '../../storage/index.ts';
import { mediaTypes, parseManifest } from '../manifest.ts';
import type { RepositoryReader, RequestOptions } from '../registry/registry.ts';
import {
  annotationKeys,
  COSIGN_PAYLOAD_TYPE,
  type FoundSignature,
  MAX_SIGNATURE_BYTES,
  MAX_SIGNATURES,
} from './signature.ts';
import { SIGN_PREDICATE } from './signed-payload.ts';

type SignatureRepository = Pick<RepositoryReader, 'manifest' | 'blob' | 'referrers' | 'name'>;

/** The tag under which cosign stores the signatures of a manifest. */
export const signatureTag = (digest: Digest): string => `sha256-${hexOf(digest)}.sig`;

const LEGACY_REFERRER_TYPE = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const isBundleType = (type: string): boolean => /^application\/vnd\.dev\.sigstore\.bundle(\.v|\+json)/.test(type);

/** Attestations come as bundles too; where a registry tells which they are, they are not fetched. */
function mayBeSignature({ artifactType = '', annotations = {} }: Descriptor): boolean {
  const predicate = annotations['dev.sigstore.bundle.predicateType'] ?? SIGN_PREDICATE;
  return artifactType === LEGACY_REFERRER_TYPE || (isBundleType(artifactType) && predicate === SIGN_PREDICATE);
}

/**
 * Signatures in cosign's formats that a repository has for a manifest: under cosign's tag, and among its referrers. What
 * is damaged or too large hides none of the others.
 *
 * @throws {TareError} Unauthorized, Unavailable: the registry does not tell
 */
export async function repositorySignatures(
  repository: SignatureRepository,
  digest: Digest,
  options: RequestOptions = {},
): Promise<FoundSignature[]> {
  const tagged = await readSignatures(repository, { tag: signatureTag(digest) }, MAX_SIGNATURES, options);
  const found = [...tagged];
  let manifests = 0;
  for (const referrer of await repository.referrers(digest, options)) {
    if (!mayBeSignature(referrer)) continue;
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
): Promise<FoundSignature[]> {
  const found: FoundSignature[] = [];
  const place = 'tag' in name ? name.tag : name.digest;
  try {
    const layers = await signatureLayers(repository, name, options);
    for (const layer of layers.slice(0, limit)) found.push(await readSignature(repository, layer, options));
    if (layers.length > limit) {
      found.push({
        kind: 'unreadable',
        why: `${place} has ${layers.length} signatures, of which ${limit} were looked at`,
      });
    }
  } catch (error) {
    if (!isDamage(error)) throw error;
    found.push({ kind: 'unreadable', why: `${place}: ${messageOf(error)}` });
  }
  return found;
}

async function readSignature(
  repository: SignatureRepository,
  layer: Descriptor,
  options: RequestOptions,
): Promise<FoundSignature> {
  const isBundle = isBundleType(layer.mediaType);
  const unreadable = (why: string) => ({ kind: 'unreadable' as const, why: `signature ${layer.digest}: ${why}` });
  if (!isBundle && layer.mediaType !== COSIGN_PAYLOAD_TYPE) return unreadable(`unknown type ${layer.mediaType}`);
  if (layer.size > MAX_SIGNATURE_BYTES) {
    return unreadable(`${layer.size} bytes, at most ${MAX_SIGNATURE_BYTES} are allowed`);
  }
  try {
    const bytes = await readBlob(repository, layer, options);
    return isBundle
      ? { kind: 'bundle', bytes }
      : { kind: 'cosign', payload: bytes, annotations: signatureAnnotations(layer) };
  } catch (error) {
    if (!isDamage(error) && kindOf(error) !== 'NotFound') throw error;
    return unreadable(messageOf(error));
  }
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
    if (kindOf(error) === 'NotFound') return [];
    throw error;
  }
}

/** A small blob, compared with its digest. */
async function readBlob(
  repository: SignatureRepository,
  descriptor: Descriptor,
  options: RequestOptions,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const hash = createHash('sha256');
  for await (const chunk of repository.blob(descriptor, options)) {
    hash.update(chunk);
    chunks.push(chunk);
  }
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== descriptor.digest) throw new DigestMismatch('the blob', descriptor.digest, actual);
  return Buffer.concat(chunks);
}

const isDamage = (error: unknown): boolean => ['InvalidArgument', 'Unsupported'].includes(kindOf(error));
