/** Where keys or certificates are: files, or bytes that stand in the policy itself. */
export type KeySource = { paths: readonly string[] } | { datas: readonly Buffer[] };

/** How the name in a signature must relate to the name that the image goes by (containers-policy.json(5), "signedIdentity"). */
export type IdentityRule =
  | { type: 'matchExact' }
  | { type: 'matchRepoDigestOrExact' }
  | { type: 'matchRepository' }
  | { type: 'exactReference'; dockerReference: string }
  | { type: 'exactRepository'; dockerRepository: string }
  | { type: 'remapIdentity'; prefix: string; signedPrefix: string }
  /** Ours: the signature need not name the image, as those of cosign 3 do not; its digest is enough. */
  | { type: 'matchDigestOnly' };

/** Signed with a key of a GPG keyring (simple signing). */
export interface SignedBy {
  type: 'signedBy';
  keyring: KeySource;
  signedIdentity: IdentityRule;
}

/** Text that must be equal, or that a regular expression must find something in. */
export type TextRule = { is: string } | { matches: RegExp };

/** Whose certificate it must be: who vouched for whom when Fulcio issued it. */
export interface CertificateIdentity {
  issuer: TextRule;
  /** An e-mail address or a URI. */
  subject: TextRule;
  /** Names of this kind alone; undefined: of any, a user's name among them. */
  among?: 'emails' | 'uris';
}

/** Signed with a key whose certificate Fulcio issued to an identity. */
export interface FulcioAuthority extends CertificateIdentity {
  /** Undefined: the trusted root's authorities. */
  ca?: KeySource;
}

/** Signed with a key whose certificate a certificate authority of one's own issued. */
export interface PkiAuthority {
  roots: KeySource;
  intermediates?: KeySource;
  subjectEmail?: string;
  subjectHostname?: string;
}

/** Signed in cosign's formats: exactly one of keys, fulcio and pki. */
export interface SigstoreSigned {
  type: 'sigstoreSigned';
  keys?: KeySource;
  fulcio?: FulcioAuthority;
  pki?: PkiAuthority;
  /** Keys of the transparency log that must have recorded the signature. */
  rekorKeys?: KeySource;
  /** Ours: a `trusted_root.json` in place of the CA and the log's key. */
  trustedRootPath?: string;
  signedIdentity: IdentityRule;
}

export type Requirement = { type: 'insecureAcceptAnything' } | { type: 'reject' } | SignedBy | SigstoreSigned;

/** A policy.json. All of the requirements of the most specific scope must hold. */
export interface PolicyDocument {
  default: readonly Requirement[];
  /** Transport → scope → requirements. */
  transports: ReadonlyMap<string, ReadonlyMap<string, readonly Requirement[]>>;
}
