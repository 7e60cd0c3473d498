import { messageOf, TareError } from '../../errors/index.ts';
import type { Digest } from '../../storage/index.ts';
import type { Reference } from '../reference.ts';
import type { Requirement, SignedBy, SigstoreSigned } from './requirement.ts';
import { type FoundSignature, MAX_SIGNATURES, type Signature, type SignedManifest } from './signature.ts';
import { identityMismatch } from './signed-identity.ts';
import type { SignedClaim } from './signed-payload.ts';
import type { SigstoreSigner } from './sigstore.ts';

/** What requirements are asked about. */
export interface TrustSubject {
  /** The name that the image is asked for by; undefined: its transport has no names. */
  reference?: Reference;
  /** The manifest, and the index that it was chosen from: a signature of either speaks for the image. */
  manifests: readonly SignedManifest[];
  /** Asked at most once, and only when a requirement needs signatures. */
  signatures(): Promise<readonly FoundSignature[]>;
}

/** A signature that satisfies a requirement. */
export interface Accepted {
  signature: Signature;
  claim: SignedClaim;
  signer: SigstoreSigner | { fingerprint: string; recordedMs: number };
}

/**
 * Why a requirement does not hold, a reason for each signature that was looked at; or the first signature by which it holds.
 * @throws {TareError} what the policy's own key files have wrong, or signatures that cannot be fetched
 */
export async function evaluate(
  requirement: Requirement,
  subject: TrustSubject,
  signatures: () => Promise<readonly FoundSignature[]>,
): Promise<{ holds: true; by?: Accepted } | { holds: false; reasons: string[] }> {
  if (requirement.type === 'insecureAcceptAnything') return { holds: true };
  if (requirement.type === 'reject') return { holds: false, reasons: ['it rejects every image'] };
  const { accepted, reasons } = await acceptedSignatures(requirement, subject, await signatures(), 'first');
  const [by] = accepted;
  return by === undefined ? { holds: false, reasons } : { holds: true, by };
}

/** The signatures that satisfy a requirement, and why others do not. */
export async function acceptedSignatures(
  requirement: SignedBy | SigstoreSigned,
  subject: TrustSubject,
  signatures: readonly FoundSignature[],
  want: 'first' | 'all',
): Promise<{ accepted: Accepted[]; reasons: string[] }> {
  const isOfKind = (signature: FoundSignature): signature is Signature =>
    signature.kind !== 'unreadable' && (requirement.type === 'signedBy') === (signature.kind === 'simple');
  const candidates = signatures.filter(isOfKind);
  const accepted: Accepted[] = [];
  const reasons: string[] = [];
  const verify = requirement.type === 'signedBy' ? await gpgVerifier(requirement) : await sigstoreVerifier(requirement);
  for (const signature of candidates.slice(0, MAX_SIGNATURES)) {
    try {
      accepted.push({ signature, ...(await judge(requirement, subject, await verify(signature, subject.manifests))) });
      if (want === 'first') break;
    } catch (error) {
      if (!(error instanceof TareError) || error.kind === 'Internal') throw error;
      reasons.push(messageOf(error));
    }
  }
  if (candidates.length > MAX_SIGNATURES) {
    reasons.push(`it has ${candidates.length} signatures, of which ${MAX_SIGNATURES} were looked at`);
  }
  reasons.push(...signatures.filter((one) => one.kind === 'unreadable').map(({ why }) => why));
  if (candidates.length === 0) {
    reasons.push(requirement.type === 'signedBy' ? 'it has no GPG signature' : 'it has no sigstore signature');
  }
  return { accepted, reasons };
}

interface Evidence {
  claims: readonly SignedClaim[];
  signer: Accepted['signer'];
}

type Verify = (signature: Signature, manifests: readonly SignedManifest[]) => Promise<Evidence>;

async function gpgVerifier({ keyring }: SignedBy): Promise<Verify> {
  const { readKeys } = await import('./key-file.ts');
  const { verifyGpgMessage } = await import('./gpg.ts');
  const { parseSignedPayload } = await import('./signed-payload.ts');
  const keyrings = readKeys(keyring, 'keyPath');
  return async (signature) => {
    if (signature.kind !== 'simple') throw new TareError('Internal', 'not a GPG signature');
    const { payload, fingerprint, signedMs } = await verifyGpgMessage(signature.bytes, keyrings);
    return { claims: [parseSignedPayload(payload, 'simple')], signer: { fingerprint, recordedMs: signedMs } };
  };
}

async function sigstoreVerifier(requirement: SigstoreSigned): Promise<Verify> {
  const { readSigstoreTrust } = await import('./sigstore-trust.ts');
  const { verifySigstore } = await import('./sigstore.ts');
  const trust = await readSigstoreTrust(requirement);
  return async (signature, manifests) => {
    if (signature.kind === 'simple') throw new TareError('Internal', 'not a sigstore signature');
    return await verifySigstore(signature, trust, manifests);
  };
}

/** Compares what a verified signature claims with the image at hand. @throws {TareError} Forbidden */
function judge(
  { signedIdentity }: SignedBy | SigstoreSigned,
  { reference, manifests }: TrustSubject,
  { claims, signer }: Evidence,
): Omit<Accepted, 'signature'> {
  const digests = new Set<Digest>(manifests.map(({ digest }) => digest));
  const claim = claims.find(({ manifestDigest }) => digests.has(manifestDigest));
  if (claim === undefined) {
    const other = claims[0]?.manifestDigest;
    throw new TareError('Forbidden', `the signature is for ${other}, the image is ${[...digests].join(' in ')}`);
  }
  const mismatch = identityMismatch(signedIdentity, reference, claim.reference);
  if (mismatch !== undefined) throw new TareError('Forbidden', mismatch);
  return { claim, signer };
}
