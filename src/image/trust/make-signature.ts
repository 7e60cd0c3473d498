import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { TareError } from '../../errors/index.ts';
import { type Digest, hexOf } from '../../storage/index.ts';
import { canonical, canonicalName, type Reference } from '../reference.ts';
import { parseCertificates } from './certificate-chain.ts';
import { publicKeyBytes, signBytes } from './key-bytes.ts';
import { annotationKeys, BUNDLE_TYPE, type BundleSignature, type CosignSignature } from './signature.ts';
import { cosignPayload, SIGN_PREDICATE, STATEMENT_TYPE } from './signed-payload.ts';

export interface Signing {
  key: KeyObject;
  /** Certificates in PEM that go with the signature: the key's own, and those of its authorities. */
  certificate?: Buffer;
  chain?: Buffer;
  /** Added to what is signed. */
  annotations: Readonly<Record<string, string>>;
}

/**
 * Signs in the form that cosign 1 and 2 store.
 *
 * @param name the name that the signature vouches for; with its tag if it has one, as containers/image writes it, so that
 *   no other tag can be passed off as this one
 * @throws {TareError} InvalidArgument: the certificate is not the key's
 */
export function makeCosignSignature(digest: Digest, name: Reference, signing: Signing): CosignSignature {
  const payload = cosignPayload(digest, signedName(name), signing.annotations);
  const { certificate, chain } = checkedCertificate(signing);
  return {
    kind: 'cosign',
    payload,
    annotations: {
      [annotationKeys.signature]: signBytes(signing.key, payload).toString('base64'),
      ...(certificate === undefined ? {} : { [annotationKeys.certificate]: certificate }),
      ...(chain === undefined ? {} : { [annotationKeys.chain]: chain }),
    },
  };
}

/** Signs in the form that cosign 3 attaches: a bundle with a statement. The statement also names the image. */
export async function makeBundleSignature(digest: Digest, name: Reference, signing: Signing): Promise<BundleSignature> {
  const core = await import('@sigstore/core');
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [
      {
        name: signedName(name),
        digest: { sha256: hexOf(digest) },
        ...(Object.keys(signing.annotations).length === 0 ? {} : { annotations: signing.annotations }),
      },
    ],
    predicateType: SIGN_PREDICATE,
    predicate: {},
  };
  const payload = Buffer.from(JSON.stringify(statement));
  const signature = signBytes(signing.key, core.dsse.preAuthEncoding(STATEMENT_TYPE, payload));
  const { raw } = checkedCertificate(signing);
  const bundle = {
    mediaType: BUNDLE_TYPE,
    verificationMaterial:
      raw === undefined
        ? { publicKey: { hint: keyHint(signing.key) } }
        : { certificate: { rawBytes: raw.toString('base64') } },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType: STATEMENT_TYPE,
      signatures: [{ sig: signature.toString('base64') }],
    },
  };
  return { kind: 'bundle', bytes: Buffer.from(JSON.stringify(bundle)) };
}

/** By digest the repository alone: the signer has not seen that a tag pointed there. */
const signedName = (name: Reference): string =>
  name.tag === undefined || name.digest !== undefined ? canonicalName(name) : canonical(name);

/** The key's name as cosign writes it: base64 of the SHA-256 of its DER form. */
const keyHint = (key: KeyObject): string =>
  createHash('sha256')
    .update(publicKeyBytes(createPublicKey(key)))
    .digest('base64');

function checkedCertificate({ key, certificate, chain }: Signing): {
  raw?: Buffer;
  certificate?: string;
  chain?: string;
} {
  if (certificate === undefined) return {};
  const [leaf, ...others] = parseCertificates(certificate, 'certificate');
  if (others.length > 0) throw new TareError('InvalidArgument', 'the certificate file holds several: give one');
  if (!publicKeyBytes(leaf!.publicKey).equals(publicKeyBytes(createPublicKey(key)))) {
    throw new TareError('InvalidArgument', 'the certificate is not for this key');
  }
  const authorities = chain === undefined ? [] : parseCertificates(chain, 'certificate chain');
  return {
    raw: leaf!.raw,
    certificate: leaf!.toString(),
    ...(authorities.length === 0 ? {} : { chain: authorities.map(String).join('') }),
  };
}
