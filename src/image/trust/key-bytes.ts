import { constants, createPublicKey, type KeyObject, sign, verify, X509Certificate } from 'node:crypto';
import { TareError } from '../../errors/index.ts';

/**
 * A public key as cosign writes it, or that of a certificate.
 * @throws {TareError} InvalidArgument: none, or of a kind that nothing is signed with
 */
export function parsePublicKey(pem: Buffer | string, what: string): KeyObject {
  const text = pem.toString('latin1');
  let key: KeyObject;
  try {
    if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) throw new Error('it is a private key: give the public one');
    key = text.includes('-----BEGIN CERTIFICATE-----') ? new X509Certificate(text).publicKey : createPublicKey(text);
  } catch (cause) {
    throw new TareError('InvalidArgument', `${what} is not a public key in PEM: ${(cause as Error).message}`, {
      cause,
    });
  }
  return requireSigningKey(key, what);
}

const curves: Record<string, string> = { prime256v1: 'sha256', secp384r1: 'sha384', secp521r1: 'sha512' };
const MIN_RSA_BITS = 2048;

/** @throws {TareError} InvalidArgument */
export function requireSigningKey(key: KeyObject, what: string): KeyObject {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519') return key;
  if (type === 'ec' && (details?.namedCurve ?? '') in curves) return key;
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) return key;
  throw new TareError(
    'InvalidArgument',
    `${what}: keys of type ${type} (${details?.namedCurve ?? details?.modulusLength}) are not supported: want ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of ${MIN_RSA_BITS} bits or more`,
  );
}

/** Signs as cosign does: SHA-256 for all keys but Ed25519, which hashes by itself; PKCS #1 v1.5 for RSA. */
export function signBytes(key: KeyObject, bytes: Uint8Array): Buffer {
  return key.asymmetricKeyType === 'ed25519' ? sign(null, bytes, key) : sign('sha256', bytes, key);
}

/** Whether a signature fits. Curves larger than P-256 may have been used with their own hash, as newer tools do. */
export function isSignedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  try {
    if (type === 'ed25519') return verify(null, bytes, key, signature);
    if (type === 'rsa') {
      return verify('sha256', bytes, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    }
    const hashes = new Set(['sha256', curves[details?.namedCurve ?? ''] ?? 'sha256']);
    return [...hashes].some((hash) => verify(hash, bytes, key, signature));
  } catch {
    // OpenSSL throws at what is no signature at all.
    return false;
  }
}

/** The name of a key for people: the hash of its DER form. */
export const publicKeyBytes = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
