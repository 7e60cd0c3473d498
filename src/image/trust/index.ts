export { attachSignature } from './attach-signature.ts';
export { type Accepted, acceptedSignatures, type TrustSubject } from './evaluate.ts';
export { parsePublicKey } from './key-bytes.ts';
export { readKeyFile } from './key-file.ts';
export { type Lookaside, lookasideFolder, lookasideOf, lookasideSignatures } from './lookaside.ts';
export { makeBundleSignature, makeCosignSignature, type Signing } from './make-signature.ts';
export { MAX_POLICY_BYTES, parsePattern, parsePolicy } from './policy-document.ts';
export { readPolicy } from './policy-file.ts';
export { type Applicable, type ImageOrigin, requirementsFor, scopesOf } from './policy-scope.ts';
export { encryptPrivateKey, generateKeyPair, readPrivateKey } from './private-key.ts';
export { repositorySignatures, signatureTag } from './repository-signatures.ts';
export type {
  CertificateIdentity,
  IdentityRule,
  KeySource,
  PolicyDocument,
  Requirement,
  SignedBy,
  SigstoreSigned,
  TextRule,
} from './requirement.ts';
export {
  type BundleSignature,
  type CosignSignature,
  decodeSignature,
  encodeSignature,
  type FoundSignature,
  isSignatureType,
  keepSignatures,
  MAX_SIGNATURE_BYTES,
  MAX_SIGNATURES,
  parseSignatureFile,
  type Signature,
  type SignedManifest,
  signatureText,
} from './signature.ts';
export { PolicyRefusal, type PolicySubject, SignaturePolicy } from './signature-policy.ts';
export type { SignedClaim } from './signed-payload.ts';
export type { SigstoreSigner } from './sigstore.ts';
