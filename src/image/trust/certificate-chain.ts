import { X509Certificate } from 'node:crypto';
import { TareError } from '../../errors/index.ts';

const MAX_CERTIFICATES = 100;
const MAX_DEPTH = 6;
/** Object identifier of the purpose (RFC 5280, section 4.2.1.12). */
export const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const ANY_PURPOSE = '2.5.29.37.0';
const NAME_CONSTRAINTS = '2.5.29.30';

/** The package, which the caller has loaded. */
export type SigstoreCore = typeof import('@sigstore/core');

/**
 * Certificates of a PEM text.
 * @throws {TareError} InvalidArgument: none, too many, or damaged ones
 */
export function parseCertificates(pem: Buffer | string, what: string): X509Certificate[] {
  const text = pem.toString('latin1');
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES) {
    throw new TareError('InvalidArgument', `${what}: ${blocks.length} PEM certificates: want 1 to ${MAX_CERTIFICATES}`);
  }
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new TareError('InvalidArgument', `${what}: ${(cause as Error).message}`, { cause });
  }
}

export interface CertificatePool {
  roots: readonly X509Certificate[];
  /** Not trusted by themselves. */
  intermediates: readonly X509Certificate[];
}

/**
 * Why a certificate may not sign code at a time; undefined: a root vouches for it.
 * @see RFC 5280, section 6
 */
export function chainFault(
  core: SigstoreCore,
  leaf: X509Certificate,
  pool: CertificatePool,
  at: Date,
): string | undefined {
  if (!isValidAt(leaf, at)) {
    return `the certificate is valid from ${leaf.validFrom} to ${leaf.validTo}, not at ${at.toISOString()}`;
  }
  if (leaf.ca) return 'the certificate is that of an authority, not of a signer';
  // Node calls the extended purposes keyUsage.
  if (!leaf.keyUsage?.includes(CODE_SIGNING)) return 'the certificate is not for signing code';
  if (isVouched(core, leaf, pool, at, 0)) return undefined;
  return 'no trusted certificate authority vouches for the certificate';
}

function isVouched(
  core: SigstoreCore,
  certificate: X509Certificate,
  pool: CertificatePool,
  at: Date,
  below: number,
): boolean {
  const isIssuer = (issuer: X509Certificate) =>
    mayIssue(core, issuer, at, below) && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  if (pool.roots.some(isIssuer)) return true;
  if (below >= MAX_DEPTH) return false;
  return pool.intermediates.filter(isIssuer).some((issuer) => isVouched(core, issuer, pool, at, below + 1));
}

/** @param below authorities between this one and the signer's certificate */
function mayIssue(core: SigstoreCore, issuer: X509Certificate, at: Date, below: number): boolean {
  if (!issuer.ca || !isValidAt(issuer, at)) return false;
  if (issuer.keyUsage !== undefined && !issuer.keyUsage.some((use) => use === CODE_SIGNING || use === ANY_PURPOSE)) {
    return false;
  }
  const fields = core.X509Certificate.parse(Buffer.from(issuer.raw));
  // Limits on names are for authorities that are trusted in part; to ignore one would be to trust it wholly.
  if (fields.extension(NAME_CONSTRAINTS) !== undefined) return false;
  const longest = fields.extBasicConstraints?.pathLenConstraint;
  return longest === undefined || below <= longest;
}

const isValidAt = (certificate: X509Certificate, at: Date): boolean =>
  certificate.validFromDate <= at && at <= certificate.validToDate;
