import { type KeyObject, X509Certificate } from 'node:crypto';
import type { TransparencyLogEntry } from '@sigstore/bundle';
import { type Foreign, integerAt, objectAt, parseJson, textAt } from '../json.ts';
import { parsePublicKey, publicKeyBytes } from './key-bytes.ts';
import { annotationKeys, MAX_SIGNATURE_BYTES } from './signature.ts';

/**
 * What the annotation `bundle` says of the transparency log: one entry or none.
 * @throws {TareError} InvalidArgument
 * @see cosign, specs/SIGNATURE_SPEC.md, "Bundle"
 */
export function cosignLogEntries(annotations: Readonly<Record<string, string>>): TransparencyLogEntry[] {
  const text = annotations[annotationKeys.bundle];
  if (!text) return [];
  const what = 'bundle annotation';
  const document = objectAt(parseJson(Buffer.from(text), what, MAX_SIGNATURE_BYTES), what);
  const payload = objectAt(document['Payload'], `${what}: Payload`);
  const canonicalizedBody = Buffer.from(textAt(payload['body'], `${what}: body`), 'base64');
  const body = objectAt(parseJson(canonicalizedBody, `${what}: body`, MAX_SIGNATURE_BYTES), `${what}: body`);
  return [
    {
      logIndex: String(integerAt(payload['logIndex'], `${what}: logIndex`)),
      logId: { keyId: Buffer.from(textAt(payload['logID'], `${what}: logID`), 'hex') },
      kindVersion: {
        kind: textAt(body['kind'], `${what}: kind`),
        version: textAt(body['apiVersion'], `${what}: apiVersion`),
      },
      integratedTime: String(integerAt(payload['integratedTime'], `${what}: integratedTime`)),
      inclusionPromise: {
        signedEntryTimestamp: Buffer.from(
          textAt(document['SignedEntryTimestamp'], `${what}: SignedEntryTimestamp`),
          'base64',
        ),
      },
      inclusionProof: undefined,
      canonicalizedBody,
    },
  ];
}

/** A timestamp authority's answer (RFC 3161), DER. @throws {TareError} InvalidArgument */
export function cosignTimestamp(annotations: Readonly<Record<string, string>>): Buffer<ArrayBuffer> | undefined {
  const text = annotations[annotationKeys.timestamp];
  if (!text) return undefined;
  const what = 'rfc3161timestamp annotation';
  const document = objectAt(parseJson(Buffer.from(text), what, MAX_SIGNATURE_BYTES), what);
  return Buffer.from(textAt(document['SignedRFC3161Timestamp'], what), 'base64');
}

/**
 * Why a log's entry is about another signer's key; undefined: it is about this one. The log's word for a time must be a
 * word about this very key.
 */
export function logKeyFault(
  entry: TransparencyLogEntry,
  key: KeyObject,
  certificate: X509Certificate | undefined,
): string | undefined {
  const recorded = recordedKey(entry);
  if (recorded === undefined) return undefined;
  const isSame = recorded.includes('-----BEGIN CERTIFICATE-----')
    ? certificate !== undefined && new X509Certificate(recorded).raw.equals(certificate.raw)
    : publicKeyBytes(parsePublicKey(recorded, 'log entry')).equals(publicKeyBytes(key));
  return isSame ? undefined : 'the transparency log recorded another key for it';
}

/** The PEM in an entry of Rekor's first version; later ones are compared by the signature itself. */
function recordedKey({ canonicalizedBody, kindVersion }: TransparencyLogEntry): string | undefined {
  if (kindVersion.version !== '0.0.1') return undefined;
  const body = objectAt(parseJson(canonicalizedBody, 'log entry', MAX_SIGNATURE_BYTES), 'log entry');
  const spec = objectAt(body['spec'], 'log entry: spec');
  if (kindVersion.kind === 'hashedrekord') {
    const { publicKey } = objectAt(spec['signature'], 'log entry: signature') as Foreign;
    return pemOf(objectAt(publicKey, 'log entry: publicKey')['content']);
  }
  if (kindVersion.kind === 'dsse') {
    const [first] = spec['signatures'] as unknown[];
    return pemOf(objectAt(first, 'log entry: signatures[0]')['verifier']);
  }
  return undefined;
}

const pemOf = (value: unknown): string => Buffer.from(textAt(value, 'log entry: key'), 'base64').toString('latin1');
