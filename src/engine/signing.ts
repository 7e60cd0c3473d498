import { TareError } from '../errors/index.ts';
import {
  bestPlatform,
  type Credentials,
  canonical,
  hostPlatform,
  isAttestation,
  parseManifest,
  parseReference,
  type Reference,
  type Registries,
  type RepositoryReader,
  withDefaultTag,
} from '../image/index.ts';
import type {
  Accepted,
  CertificateIdentity,
  ImageOrigin,
  PolicySubject,
  Requirement,
  Signature,
  TextRule,
} from '../image/trust/index.ts';
import type { Descriptor, Digest } from '../storage/index.ts';
import type { TrustSettings } from './config.ts';
import { signaturesInRegistry } from './image-trust.ts';
import type { ImageService } from './image-types.ts';

/** What signing and verifying work with. Each is asked for only when a name calls for it. */
export interface SigningParts {
  registries(): Promise<Registries>;
  /** For the registry; undefined: those that are stored. */
  credentials?: Credentials;
  images(): Promise<Pick<ImageService, 'signed' | 'addSignature'>>;
  settings: TrustSettings;
}

const REGISTRY = 'docker://';

export interface SignRequest {
  /** A private key in PEM, cosign's or openssl's. */
  key: Buffer;
  /** What the key is called in errors. */
  keyName: string;
  password(): Promise<string>;
  /** PEM; a certificate of the key, and those of its authorities. */
  certificate?: Buffer;
  chain?: Buffer;
  annotations: Readonly<Record<string, string>>;
  /** Cosign's tag beside the image, or a bundle that refers to it. */
  as: 'tag' | 'referrer';
  /** False: the signature is made and given back, and kept nowhere. */
  stores: boolean;
  signal?: AbortSignal;
}

export interface MadeSignature {
  /** Of what was signed. */
  digest: Digest;
  /** The name that the signature vouches for. */
  reference: string;
  /** base64; undefined in a bundle. */
  signature?: string;
  payload: Buffer;
  /** Where it is kept: a tag, a referrer's digest, or `local`. */
  stored?: string;
}

/**
 * Signs an image, in a registry (`docker://NAME`) or in the store. A digest in the name is what is signed.
 * @throws {TareError} NotFound: the image; InvalidArgument, Unauthorized: the key, its password
 */
export async function signImage(parts: SigningParts, ref: string, request: SignRequest): Promise<MadeSignature> {
  const trust = await import('../image/trust/index.ts');
  // A wrong name is told before a password is asked for.
  const target = await findTarget(parts, ref, request.signal);
  const key = await trust.readPrivateKey(request.key, request.keyName, request.password);
  const { certificate, chain, annotations } = request;
  const signing = {
    ...{ key, annotations },
    ...(certificate === undefined ? {} : { certificate }),
    ...(chain === undefined ? {} : { chain }),
  };
  const { root, reference } = target;
  const made: Signature =
    request.as === 'tag'
      ? trust.makeCosignSignature(root.digest, reference, signing)
      : await trust.makeBundleSignature(root.digest, reference, signing);
  const stored = request.stores ? await target.store(made) : undefined;
  return {
    digest: root.digest,
    reference: canonical(reference),
    ...(made.kind === 'cosign'
      ? { signature: trust.signatureText(made), payload: made.payload }
      : { payload: made.bytes }),
    ...(stored === undefined ? {} : { stored }),
  };
}

interface Target {
  root: Descriptor;
  reference: Reference;
  store(signature: Signature): Promise<string>;
}

async function findTarget(parts: SigningParts, ref: string, signal: AbortSignal | undefined): Promise<Target> {
  const options = signal === undefined ? {} : { signal };
  if (!ref.startsWith(REGISTRY)) {
    const images = await parts.images();
    const { reference, root } = await images.signed(ref);
    if (reference === undefined) {
      throw new TareError('InvalidArgument', `image ${ref} has no name that a signature could vouch for: tag it first`);
    }
    return {
      ...{ reference, root },
      store: async (signature) => {
        await images.addSignature(ref, signature);
        return 'local';
      },
    };
  }
  const reference = withDefaultTag(parseReference(ref.slice(REGISTRY.length)));
  const repository = (await parts.registries()).repository(reference, parts.credentials);
  const { digest, tag = 'latest' } = reference;
  const root = await repository.resolve(digest === undefined ? { tag } : { digest }, options);
  return {
    ...{ reference, root },
    store: async (signature) => {
      const { attachSignature } = await import('../image/trust/index.ts');
      return await attachSignature(repository, root, signature, options);
    },
  };
}

/** A new pair of keys in cosign's form, PEM. */
export async function newSigningKeys(password: string): Promise<{ privateKey: string; publicKey: string }> {
  const { generateKeyPair } = await import('../image/trust/index.ts');
  return await generateKeyPair(password);
}

/** Whose signatures are looked for. */
export type Signers =
  /** The policy in this file, or the one in force. */
  | { by: 'policy'; path?: string }
  /** Public keys or certificates, PEM. */
  | { by: 'key'; keys: readonly Buffer[] }
  | { by: 'identity'; issuer: IdentityText; subject: IdentityText; authorities?: readonly Buffer[] }
  /** Keyrings of GPG. */
  | { by: 'gpg'; keyrings: readonly Buffer[] };

export type IdentityText = { is: string } | { matches: string };

export interface VerifyRequest {
  signers: Signers;
  /** Keys of transparency logs, PEM. */
  logKeys?: readonly Buffer[];
  /** A `trusted_root.json`. */
  trustedRoot?: string;
  /** What must stand among the signer's own words. */
  annotations: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

export interface VerifiedSignature {
  format: Signature['kind'];
  manifestDigest: Digest;
  /** The name that the signature vouches for. */
  reference?: string;
  optional: Readonly<Record<string, unknown>>;
  /** SHA-256 of the public key, hex, or a GPG fingerprint. */
  key: string;
  /** Whom the certificate names, and who vouched for that. */
  subjects?: string[];
  issuer?: string;
  recordedMs?: number;
}

export interface Verification {
  digest: Digest;
  reference?: string;
  /** The policy's file and scope, when one was asked. */
  policy?: { file: string; scope: string };
  signatures: VerifiedSignature[];
}

/**
 * Looks for signatures of an image and verifies them.
 * @returns at least one, unless a policy accepts the image without
 * @throws {TareError} Forbidden: none counts, and why; NotFound: the image
 */
export async function verifyImage(parts: SigningParts, ref: string, request: VerifyRequest): Promise<Verification> {
  const trust = await import('../image/trust/index.ts');
  const requirement = requirementOf(request, trust.parsePattern);
  const { subject, root, stored } = await findSubject(parts, ref, request.signal);
  const about = {
    digest: root,
    ...(subject.reference === undefined ? {} : { reference: canonical(subject.reference) }),
  };
  if (requirement === undefined) {
    const path = request.signers.by === 'policy' ? request.signers.path : undefined;
    const policy = await readPolicyInForce(path ?? parts.settings.signaturePolicy);
    // As before a start: whoever has rules for what is stored here means those.
    const applicable = (stored && policy.scoped(stored)) ?? policy.applicable(subject.origin);
    const accepted = await policy.requireAll(subject, applicable);
    const { scope } = applicable;
    return { ...about, policy: { file: policy.file, scope }, signatures: accepted.map(describe) };
  }
  const signatures = await subject.signatures();
  const { accepted, reasons } = await trust.acceptedSignatures(requirement, subject, signatures, 'all');
  const wanted = Object.entries(request.annotations);
  const fitting = accepted.filter(({ claim }) => wanted.every(([key, value]) => claim.optional[key] === value));
  if (accepted.length > fitting.length) reasons.push('the annotations are others');
  if (fitting.length === 0) throw new TareError('Forbidden', `no signature of ${ref} counts: ${reasons.join('; ')}`);
  return { ...about, signatures: fitting.map(describe) };
}

async function readPolicyInForce(path: string | undefined) {
  const { findPolicyFile } = await import('../image/index.ts');
  const { readPolicy } = await import('../image/trust/index.ts');
  const file = findPolicyFile(path);
  if (file !== undefined) return readPolicy(file);
  throw new TareError('InvalidArgument', 'no signature policy is in force: name a key, an identity or a policy');
}

type SigningRequirement = Extract<Requirement, { signedIdentity: unknown }>;

function requirementOf(
  { signers, logKeys, trustedRoot }: VerifyRequest,
  pattern: (text: string, where: string) => RegExp,
): SigningRequirement | undefined {
  const signedIdentity = { type: 'matchDigestOnly' } as const;
  const logs = {
    ...(logKeys === undefined ? {} : { rekorKeys: { datas: logKeys } }),
    ...(trustedRoot === undefined ? {} : { trustedRootPath: trustedRoot }),
  };
  switch (signers.by) {
    case 'policy':
      return undefined;
    case 'gpg':
      return { type: 'signedBy', keyring: { datas: signers.keyrings }, signedIdentity };
    case 'key':
      return { type: 'sigstoreSigned', keys: { datas: signers.keys }, ...logs, signedIdentity };
    case 'identity': {
      const rule = (text: IdentityText, where: string): TextRule =>
        'is' in text ? text : { matches: pattern(text.matches, where) };
      const identity: CertificateIdentity = {
        issuer: rule(signers.issuer, 'certificate-oidc-issuer-regexp'),
        subject: rule(signers.subject, 'certificate-identity-regexp'),
      };
      const ca = signers.authorities;
      if (trustedRoot === undefined && (ca === undefined || logKeys === undefined)) {
        throw new TareError(
          'InvalidArgument',
          'an identity is verified with a trusted root, or with a certificate authority and the key of a log',
        );
      }
      const fulcio = { ...identity, ...(ca === undefined ? {} : { ca: { datas: ca } }) };
      return { type: 'sigstoreSigned', fulcio, ...logs, signedIdentity };
    }
  }
}

async function findSubject(
  parts: SigningParts,
  ref: string,
  signal: AbortSignal | undefined,
): Promise<{ subject: PolicySubject; root: Digest; stored?: ImageOrigin }> {
  if (!ref.startsWith(REGISTRY)) {
    const { reference, root, manifests, signatures, origins } = await (await parts.images()).signed(ref);
    const stored: ImageOrigin = {
      transport: 'containers-storage',
      ...(reference === undefined ? {} : { reference }),
    };
    const origin = origins.at(-1) ?? stored;
    const named = origin.reference ?? reference;
    return {
      ...{ root: root.digest, stored },
      subject: {
        ...{ origin, manifests },
        ...(named === undefined ? {} : { reference: named }),
        signatures: async () => signatures,
      },
    };
  }
  const reference = withDefaultTag(parseReference(ref.slice(REGISTRY.length)));
  const repository = (await parts.registries()).repository(reference, parts.credentials);
  const documents = await documentsOf(repository, reference, signal);
  return {
    root: documents[0]!.descriptor.digest,
    subject: {
      origin: { transport: 'docker', reference },
      reference,
      manifests: documents.map(({ descriptor, bytes }) => ({ digest: descriptor.digest, bytes: async () => bytes })),
      signatures: () => signaturesInRegistry(repository, reference, documents, parts.settings, undefined, signal),
    },
  };
}

/** What a pull would take: the root, and the manifest for this machine. */
async function documentsOf(repository: RepositoryReader, reference: Reference, signal: AbortSignal | undefined) {
  const options = signal === undefined ? {} : { signal };
  const { digest, tag = 'latest' } = reference;
  const root = await repository.manifest(digest === undefined ? { tag } : { digest }, options);
  const document = parseManifest(root.bytes, canonical(reference), root.descriptor.mediaType);
  if (document.kind === 'manifest') return [root];
  const choices = document.manifests.filter((one) => !isAttestation(one));
  const chosen = bestPlatform(choices, ({ platform }) => platform ?? { os: 'linux', architecture: '' }, hostPlatform());
  return chosen === undefined ? [root] : [root, await repository.manifest({ digest: chosen.digest }, options)];
}

function describe({ signature, claim, signer }: Accepted): VerifiedSignature {
  const common = {
    format: signature.kind,
    manifestDigest: claim.manifestDigest,
    ...(claim.reference === undefined ? {} : { reference: claim.reference }),
    optional: claim.optional,
    ...(signer.recordedMs === undefined ? {} : { recordedMs: signer.recordedMs }),
  };
  if ('fingerprint' in signer) return { ...common, key: signer.fingerprint };
  if (signer.identity === undefined) return { ...common, key: signer.keyHash };
  const { emails, uris, others, hostnames, issuer } = signer.identity;
  return {
    ...common,
    key: signer.keyHash,
    subjects: [...emails, ...uris, ...others, ...hostnames],
    ...(issuer === undefined ? {} : { issuer }),
  };
}
