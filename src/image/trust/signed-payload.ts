import { TareError } from '../../errors/index.ts';
import { type Digest, parseDigest } from '../../storage/index.ts';
import { mapAt, objectAt, textAt } from '../json.ts';
import { exactObjectAt, parseStrictJson } from './strict-json.ts';

/** What a signer says: that these bytes are an image of this name. */
export interface SignedClaim {
  manifestDigest: Digest;
  /** Undefined: the signature names no image. */
  reference?: string;
  /** What the signer added freely. */
  optional: Readonly<Record<string, unknown>>;
}

const MAX_PAYLOAD_BYTES = 1 << 20;
const SIMPLE_SIGNING = 'atomic container signature';
const COSIGN = 'cosign container image signature';

/**
 * Reads the document that simple signing and cosign sign. Call it with bytes of which the signature has been verified.
 *
 * @throws {TareError} InvalidArgument: another kind of document, or fields whose meaning nobody knows
 * @see containers-signature(5); cosign, specs/SIGNATURE_SPEC.md, "Simple Signing"
 */
export function parseSignedPayload(bytes: Uint8Array, format: 'simple' | 'cosign'): SignedClaim {
  const what = 'signed payload';
  const document = exactObjectAt(parseStrictJson(bytes, what, MAX_PAYLOAD_BYTES), what, ['critical', 'optional']);
  const critical = exactObjectAt(document['critical'], `${what}: critical`, ['type', 'image', 'identity']);
  const type = textAt(critical['type'], `${what}: critical.type`);
  // A signature of one format must not pass for the other's: their keys are trusted for different things.
  const wanted = format === 'simple' ? [SIMPLE_SIGNING] : [COSIGN, 'cosign container signature'];
  if (!wanted.includes(type)) {
    throw new TareError('InvalidArgument', `${what}: critical.type: want ${wanted[0]}, not ${JSON.stringify(type)}`);
  }
  const image = exactObjectAt(critical['image'], `${what}: critical.image`, ['docker-manifest-digest']);
  const identity = exactObjectAt(critical['identity'], `${what}: critical.identity`, ['docker-reference']);
  const reference = textAt(identity['docker-reference'], `${what}: critical.identity.docker-reference`);
  return {
    manifestDigest: parseDigest(image['docker-manifest-digest']),
    ...(reference === '' ? {} : { reference }),
    optional: mapAt(document['optional'] ?? {}, `${what}: optional`, (value) => value),
  };
}

const STATEMENTS = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];
export const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
export const STATEMENT_TYPE = 'application/vnd.in-toto+json';
const MAX_SUBJECTS = 100;

/**
 * Reads the statement by which cosign 3 signs an image. Provenance and other attestations speak of an image too, but do
 * not say that it is good; they are refused.
 *
 * @throws {TareError} InvalidArgument
 * @see in-toto attestation, spec/v1/statement.md
 */
export function parseSignStatement(bytes: Uint8Array): SignedClaim[] {
  const what = 'signed statement';
  const document = objectAt(parseStrictJson(bytes, what, MAX_PAYLOAD_BYTES), what);
  if (!STATEMENTS.includes(document['_type'] as string)) {
    throw new TareError('InvalidArgument', `${what}: _type: want ${STATEMENTS[0]}`);
  }
  const predicate = textAt(document['predicateType'], `${what}: predicateType`);
  if (predicate !== SIGN_PREDICATE) {
    throw new TareError('InvalidArgument', `it is an attestation (${predicate}), which signs no image`);
  }
  const subjects = document['subject'];
  if (!Array.isArray(subjects) || subjects.length === 0 || subjects.length > MAX_SUBJECTS) {
    throw new TareError('InvalidArgument', `${what}: subject: want a list of 1 to ${MAX_SUBJECTS}`);
  }
  return subjects.map((value, position) => {
    const where = `${what}: subject[${position}]`;
    const subject = objectAt(value, where);
    const digests = objectAt(subject['digest'], `${where}.digest`);
    const name = subject['name'];
    return {
      manifestDigest: parseDigest(`sha256:${textAt(digests['sha256'], `${where}.digest.sha256`)}`),
      ...(typeof name === 'string' && name !== '' ? { reference: name } : {}),
      optional: mapAt(subject['annotations'] ?? {}, `${where}.annotations`, (entry) => entry),
    };
  });
}

/** The payload that a key signs, in cosign's field order. @param reference in full, with its tag if it has one */
export function cosignPayload(
  manifestDigest: Digest,
  reference: string,
  optional: Readonly<Record<string, string>>,
): Buffer {
  const critical = {
    identity: { 'docker-reference': reference },
    image: { 'docker-manifest-digest': manifestDigest },
    type: COSIGN,
  };
  return Buffer.from(JSON.stringify({ critical, optional: Object.keys(optional).length === 0 ? null : optional }));
}
