import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import type { Bundle, TransparencyLogEntry } from '@sigstore/bundle';
import type { SignedEntity, TrustMaterial, VerifierOptions } from '@sigstore/verify';
import { messageOf, TareError } from '../../errors/index.ts';
import { CODE_SIGNING, chainFault, parseCertificates } from './certificate-chain.ts';
import { type CertificateNames, certificateNames, identityFault } from './certificate-identity.ts';
import { cosignLogEntries, cosignTimestamp, logKeyFault } from './cosign-annotations.ts';
import { isSignedBy, publicKeyBytes } from './key-bytes.ts';
import {
  annotationKeys,
  type BundleSignature,
  type CosignSignature,
  MAX_SIGNATURE_BYTES,
  type SignedManifest,
} from './signature.ts';
import { parseSignedPayload, parseSignStatement, type SignedClaim, STATEMENT_TYPE } from './signed-payload.ts';
import type { SigstoreTrust } from './sigstore-trust.ts';

/** Who was found to have signed. */
export interface SigstoreSigner {
  /** SHA-256 of the public key, hex. */
  keyHash: string;
  identity?: CertificateNames;
  /** When a log or an authority recorded it, in milliseconds since the epoch. */
  recordedMs?: number;
}

export interface SigstoreEvidence {
  claims: readonly SignedClaim[];
  signer: SigstoreSigner;
}

const refuse = (why: string, cause?: unknown) => new TareError('Forbidden', why, { cause });

/** What is to be verified, whichever format it came in. */
interface Material {
  signature: SignedEntity['signature'];
  certificate?: X509Certificate;
  intermediates: readonly X509Certificate[];
  logEntries: readonly TransparencyLogEntry[];
  timestamps: SignedEntity['timestamps'];
}

/**
 * Verifies a signature in one of cosign's formats: its bytes, its signer, and what logs and authorities say of it.
 *
 * @param manifests what it may be about: a bundle can cover a manifest's own bytes
 * @returns what the signer claims. Whether that is about the image at hand is for the caller to compare
 * @throws {TareError} Forbidden: why it does not count
 */
export async function verifySigstore(
  signature: CosignSignature | BundleSignature,
  trust: SigstoreTrust,
  manifests: readonly SignedManifest[],
): Promise<SigstoreEvidence> {
  try {
    if (signature.kind === 'bundle') return await verifyBundle(signature, trust, manifests);
    const signer = await verifyMaterial(await cosignMaterial(signature, trust), trust);
    return { claims: [parseSignedPayload(signature.payload, 'cosign')], signer };
  } catch (cause) {
    // Whatever a parser makes of foreign bytes, it means that this signature does not count.
    throw refuse(reasonOf(cause), cause);
  }
}

/** A library's general words with the particular reason behind them. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  const isGeneral = error instanceof Error && !(error instanceof TareError) && cause instanceof Error;
  return isGeneral ? `${messageOf(error)}: ${messageOf(cause)}` : messageOf(error);
}

async function cosignMaterial({ payload, annotations }: CosignSignature, trust: SigstoreTrust): Promise<Material> {
  const core = await import('@sigstore/core');
  const text = annotations[annotationKeys.signature];
  if (!text) throw refuse(`it has no annotation ${annotationKeys.signature}`);
  const bytes = Buffer.from(text, 'base64');
  const pem = annotations[annotationKeys.certificate];
  const chain = annotations[annotationKeys.chain];
  const [certificate, ...others] = pem ? parseCertificates(pem, 'certificate annotation') : [];
  if (others.length > 0) throw refuse('its certificate annotation holds several certificates');
  const timestamp = trust.timestampAuthorities.length === 0 ? undefined : cosignTimestamp(annotations);
  return {
    signature: {
      signature: bytes,
      compareSignature: (other) => other.equals(bytes),
      compareDigest: (digest) => digest.equals(sha256(payload)),
      compareSignedDigest: (digest) => digest.equals(sha256(payload)),
      verifySignature: (key) => isSignedBy(key, payload, bytes),
    },
    certificate,
    intermediates: chain ? parseCertificates(chain, 'chain annotation') : [],
    logEntries: cosignLogEntries(annotations),
    timestamps:
      timestamp === undefined
        ? []
        : [{ $case: 'timestamp-authority', timestamp: core.RFC3161Timestamp.parse(timestamp) }],
  };
}

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

async function verifyBundle(
  { bytes }: BundleSignature,
  trust: SigstoreTrust,
  manifests: readonly SignedManifest[],
): Promise<SigstoreEvidence> {
  const { bundleFromJSON } = await import('@sigstore/bundle');
  if (bytes.byteLength > MAX_SIGNATURE_BYTES) throw refuse(`the bundle has ${bytes.byteLength} bytes`);
  const bundle = bundleFromJSON(JSON.parse(bytes.toString('utf8')));
  const { content } = bundle;
  if (content.$case === 'dsseEnvelope') {
    const { payloadType, payload } = content.dsseEnvelope;
    if (payloadType !== STATEMENT_TYPE) throw refuse(`its payload is of type ${JSON.stringify(payloadType)}`);
    const signer = await verifyMaterial(await bundleMaterial(bundle), trust);
    return { claims: parseSignStatement(payload), signer };
  }
  // A signature of bytes: they must be those of a manifest that was asked about.
  const { algorithm, digest } = content.messageSignature.messageDigest;
  const manifest = manifests.find((one) => one.digest === `sha256:${digest.toString('hex')}`);
  const { HashAlgorithm } = await import('@sigstore/protobuf-specs');
  if (manifest === undefined || algorithm !== HashAlgorithm.SHA2_256) throw refuse('it is about other bytes');
  const artifact = await manifest.bytes();
  const signer = await verifyMaterial(await bundleMaterial(bundle, artifact), trust);
  return { claims: [{ manifestDigest: manifest.digest, optional: {} }], signer };
}

async function bundleMaterial(bundle: Bundle, artifact?: Buffer): Promise<Material> {
  const { toSignedEntity } = await import('@sigstore/verify');
  const entity = toSignedEntity(bundle, artifact);
  const { content, tlogEntries } = bundle.verificationMaterial;
  const chain =
    content.$case === 'certificate'
      ? [content.certificate]
      : content.$case === 'x509CertificateChain'
        ? content.x509CertificateChain.certificates
        : [];
  const [certificate, ...intermediates] = chain.map(({ rawBytes }) => new X509Certificate(rawBytes));
  return {
    signature: signatureOf(bundle, entity, artifact),
    certificate,
    intermediates,
    logEntries: tlogEntries,
    timestamps: entity.timestamps.filter(({ $case }) => $case === 'timestamp-authority'),
  };
}

/** The package's own, but for Ed25519 over bytes, which it asks Node.js for with a hash. */
function signatureOf(bundle: Bundle, entity: SignedEntity, artifact?: Buffer): SignedEntity['signature'] {
  const { signature } = entity;
  if (bundle.content.$case === 'dsseEnvelope' || artifact === undefined) return signature;
  return {
    signature: signature.signature,
    compareSignature: (other) => signature.compareSignature(other),
    compareDigest: (digest) => signature.compareDigest(digest),
    compareSignedDigest: (digest) => signature.compareSignedDigest(digest),
    verifySignature: (key) => isSignedBy(key, artifact, signature.signature),
  };
}

async function verifyMaterial(material: Material, trust: SigstoreTrust): Promise<SigstoreSigner> {
  const { signer } = trust;
  switch (signer.by) {
    case 'key': {
      const faults: unknown[] = [];
      for (const key of signer.keys) {
        try {
          return await verifyWithKey(material, trust, key);
        } catch (fault) {
          faults.push(fault);
        }
      }
      throw faults.at(-1) ?? refuse('no key is trusted');
    }
    case 'trusted root':
      return await verifyWithTrustedRoot(material, trust, signer);
    default:
      return await verifyWithAuthority(material, trust, signer);
  }
}

async function verifyWithKey(material: Material, trust: SigstoreTrust, key: KeyObject): Promise<SigstoreSigner> {
  if (!material.signature.verifySignature(key)) throw refuse('it was not made with the key');
  const options = { timestampThreshold: 0, tlogThreshold: trust.logs.length > 0 ? 1 : 0 };
  const recordedMs = await verifyRecords(material, trust, { key }, options);
  return { keyHash: keyHash(key), ...(recordedMs === undefined ? {} : { recordedMs }) };
}

const keyHash = (key: KeyObject): string => sha256(publicKeyBytes(key)).toString('hex');

const signerCertificate = ({ certificate }: Material): X509Certificate => {
  if (certificate === undefined) throw refuse('it carries no certificate');
  return certificate;
};

/** Fulcio's certificates live minutes, so what counts is the time of which a log speaks; one's own live until they expire. */
async function verifyWithAuthority(
  material: Material,
  trust: SigstoreTrust,
  signer: Extract<SigstoreTrust['signer'], { by: 'fulcio' | 'pki' }>,
): Promise<SigstoreSigner> {
  const core = await import('@sigstore/core');
  const certificate = signerCertificate(material);
  const names = certificateNames(core.X509Certificate.parse(Buffer.from(certificate.raw)));
  const trusted = signer.by === 'pki' ? signer.intermediates : [];
  const pool = { roots: signer.roots, intermediates: [...trusted, ...material.intermediates] };
  const requireChain = (at: Date) => {
    const fault = chainFault(core, certificate, pool, at);
    if (fault !== undefined) throw refuse(fault);
    return true;
  };
  let recordedMs: number | undefined;
  if (signer.by === 'pki') {
    requireChain(new Date());
    const { subjectEmail, subjectHostname } = signer.names;
    if (subjectEmail !== undefined && !names.emails.includes(subjectEmail)) {
      throw refuse(`the certificate is for ${JSON.stringify(names.emails)}, not for ${subjectEmail}`);
    }
    if (subjectHostname !== undefined && certificate.checkHost(subjectHostname, { subject: 'never' }) === undefined) {
      throw refuse(`the certificate is for ${JSON.stringify(names.hostnames)}, not for ${subjectHostname}`);
    }
    if (!material.signature.verifySignature(certificate.publicKey)) throw refuse('it does not fit its certificate');
  } else {
    const options = { timestampThreshold: 1, tlogThreshold: 1 };
    recordedMs = await verifyRecords(material, trust, { key: certificate.publicKey, isValidAt: requireChain }, options);
    const fault = identityFault(names, signer.identity);
    if (fault !== undefined) throw refuse(fault);
  }
  return {
    keyHash: keyHash(certificate.publicKey),
    identity: names,
    ...(recordedMs === undefined ? {} : { recordedMs }),
  };
}

async function verifyWithTrustedRoot(
  material: Material,
  trust: SigstoreTrust,
  { material: root, identity }: Extract<SigstoreTrust['signer'], { by: 'trusted root' }>,
): Promise<SigstoreSigner> {
  const core = await import('@sigstore/core');
  const certificate = signerCertificate(material);
  const parsed = core.X509Certificate.parse(Buffer.from(certificate.raw));
  if (!certificate.keyUsage?.includes(CODE_SIGNING)) throw refuse('the certificate is not for signing code');
  const options = {
    ctlogThreshold: root.ctlogs.length > 0 ? 1 : 0,
    tlogThreshold: root.tlogs.length > 0 ? 1 : 0,
    timestampThreshold: 1,
  };
  const recordedMs = await verifyRecords(material, trust, { key: certificate.publicKey, parsed, root }, options);
  const names = certificateNames(parsed);
  const fault = identityFault(names, identity);
  if (fault !== undefined) throw refuse(fault);
  return {
    keyHash: keyHash(certificate.publicKey),
    identity: names,
    ...(recordedMs === undefined ? {} : { recordedMs }),
  };
}

/** The signer of whom records are wanted. */
interface Subject {
  key: KeyObject;
  /** @throws {TareError} Forbidden: why it was not valid then */
  isValidAt?(at: Date): boolean;
  parsed?: Extract<SignedEntity['key'], { $case: 'certificate' }>['certificate'];
  root?: TrustMaterial;
}

/** Verifies the signature with what logs and authorities say of it. @returns when it was recorded */
async function verifyRecords(
  material: Material,
  trust: SigstoreTrust,
  subject: Subject,
  options: VerifierOptions,
): Promise<number | undefined> {
  const { Verifier } = await import('@sigstore/verify');
  // Without a log that is trusted, what the signature says of logs is hearsay.
  const entries = trust.logs.length === 0 ? [] : material.logEntries;
  for (const entry of entries) {
    const fault = logKeyFault(entry, subject.key, material.certificate);
    if (fault !== undefined) throw refuse(fault);
  }
  const stamped = entries.filter((entry) => entry.inclusionPromise !== undefined && Number(entry.integratedTime) > 0);
  const timestamps: SignedEntity['timestamps'] = [
    ...stamped.map((tlogEntry) => ({ $case: 'transparency-log' as const, tlogEntry })),
    ...(trust.timestampAuthorities.length === 0 ? [] : material.timestamps),
  ];
  const { isValidAt = () => true, parsed, root } = subject;
  const verifier = new Verifier(
    {
      certificateAuthorities: root?.certificateAuthorities ?? [],
      ctlogs: root?.ctlogs ?? [],
      timestampAuthorities: trust.timestampAuthorities,
      tlogs: trust.logs.map((log) => (log.baseURL === '' ? { ...log, baseURL: checkpoints(entries) } : log)),
      publicKey: () => ({ publicKey: subject.key, validFor: isValidAt }),
    },
    { ctlogThreshold: 0, ...options },
  );
  verifier.verify({
    signature: material.signature,
    key: parsed === undefined ? { $case: 'public-key', hint: '' } : { $case: 'certificate', certificate: parsed },
    tlogEntries: [...entries],
    timestamps,
  });
  const [first] = stamped;
  if (first !== undefined) return Number(first.integratedTime) * 1000;
  const stamp = timestamps.find((one) => one.$case === 'timestamp-authority');
  return stamp?.timestamp.signingTime.getTime();
}

/** A policy gives a log's key without its address, so whatever name the key signed a checkpoint under is its own. */
const checkpoints = (entries: readonly TransparencyLogEntry[]): string =>
  entries.map((entry) => entry.inclusionProof?.checkpoint?.envelope ?? '').join('\n');
