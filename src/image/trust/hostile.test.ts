import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { digestOf } from '../../storage/index.ts';
import { parseReference } from '../reference.ts';
import { acceptedSignatures, type TrustSubject } from './evaluate.ts';
import { issueCertificate, signKeyless, TestLog } from './fulcio.fixture.ts';
import { makeBundleSignature } from './make-signature.ts';
import { parsePolicy } from './policy-document.ts';
import type { SigstoreSigned } from './requirement.ts';
import { annotationKeys, parseSignatureFile, type Signature } from './signature.ts';
import { cosignPayload, parseSignedPayload, parseSignStatement } from './signed-payload.ts';

const manifest = Buffer.from('{}');
const digest = digestOf(manifest);
const reference = parseReference('a.example/app:1');
const subject: TrustSubject = {
  reference,
  manifests: [{ digest, bytes: async () => manifest }],
  signatures: async () => [],
};
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pem = publicKey.export({ type: 'spki', format: 'pem' });
const keyed: SigstoreSigned = {
  type: 'sigstoreSigned',
  keys: { datas: [Buffer.from(pem)] },
  signedIdentity: { type: 'matchRepoDigestOrExact' },
};

const refusesOnly = (read: () => unknown) => {
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(TareError);
    expect((error as TareError).kind).not.toBe('Internal');
  }
};

/** A document with one of its values replaced or removed. */
function changed(document: unknown, at: readonly number[], value: unknown): unknown {
  if (typeof document !== 'object' || document === null || at.length === 0) return value;
  const copy = structuredClone(document) as Record<string, unknown>;
  const keys = Object.keys(copy);
  if (keys.length === 0) return value;
  const key = keys[at[0]! % keys.length]!;
  const next = changed(copy[key], at.slice(1), value);
  if (next === undefined) delete copy[key];
  else copy[key] = next;
  return copy;
}

const path = fc.array(fc.nat(20), { minLength: 1, maxLength: 6 });
const replacement = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined), fc.base64String());

describe('foreign documents are refused, and nothing else happens', () => {
  const policy = {
    default: [{ type: 'reject' }],
    transports: {
      docker: {
        'a.example': [
          { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/x', signedIdentity: { type: 'matchExact' } },
          { type: 'sigstoreSigned', trustedRootPath: '/x', fulcio: { oidcIssuer: 'i', subjectRegExp: '^x$' } },
          { type: 'sigstoreSigned', pki: { caRootsData: 'AAAA', subjectEmail: 'x' } },
        ],
      },
    },
  };
  test('a policy', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => Buffer.from(text)),
      fc.tuple(path, replacement).map(([at, value]) => Buffer.from(JSON.stringify(changed(policy, at, value)) ?? '')),
    );
    fc.assert(
      fc.property(bytes, (text) => refusesOnly(() => parsePolicy(text, 'policy'))),
      { numRuns: 3000 },
    );
  });

  test('a payload, a statement, a signature file', () => {
    const payload = JSON.parse(cosignPayload(digest, 'a.example/app:1', { a: 'b' }).toString());
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((one) => Buffer.from(one)),
      fc.json().map((text) => Buffer.from(text)),
      fc.tuple(path, replacement).map(([at, value]) => Buffer.from(JSON.stringify(changed(payload, at, value)) ?? '')),
    );
    fc.assert(
      fc.property(bytes, (text) => {
        refusesOnly(() => parseSignedPayload(text, 'cosign'));
        refusesOnly(() => parseSignStatement(text));
        refusesOnly(() => parseSignatureFile(Buffer.concat([Buffer.from('\0sigstore-json\n'), text])));
      }),
      { numRuns: 3000 },
    );
  });

  /** Whatever is done to a signature, the answer is yes or a reason. */
  const judged = async (requirement: SigstoreSigned, signature: Signature): Promise<boolean> => {
    const { accepted, reasons } = await acceptedSignatures(requirement, subject, [signature], 'all');
    expect(accepted.length + reasons.length).toBe(1);
    return accepted.length === 1;
  };

  test('a bundle', async () => {
    const made = await makeBundleSignature(digest, reference, { key: privateKey, annotations: {} });
    const bundle = JSON.parse(made.bytes.toString());
    const { payload, signatures } = bundle.dsseEnvelope;
    await fc.assert(
      fc.asyncProperty(path, replacement, async (at, value) => {
        const other = changed(bundle, at, value) as typeof bundle;
        const bytes = Buffer.from(JSON.stringify(other) ?? '');
        if (!(await judged(keyed, { kind: 'bundle', bytes }))) return;
        // What passes still says the same by the same signature.
        expect(Buffer.from(other.dsseEnvelope.payload, 'base64')).toEqual(Buffer.from(payload, 'base64'));
        expect(Buffer.from(other.dsseEnvelope.signatures[0].sig, 'base64')).toEqual(
          Buffer.from(signatures[0].sig, 'base64'),
        );
      }),
      { numRuns: 500 },
    );
  });

  test('annotations of a signature with a certificate', async () => {
    const [root, log] = [issueCertificate({ isAuthority: true }), new TestLog()];
    const own = issueCertificate({ names: 'email:me@a.example', oidcIssuer: 'https://i', issuer: root });
    const keyless: SigstoreSigned = {
      type: 'sigstoreSigned',
      fulcio: {
        ca: { datas: [Buffer.from(root.cert)] },
        ...{ issuer: { is: 'https://i' }, subject: { is: 'me@a.example' } },
      },
      rekorKeys: { datas: [Buffer.from(log.publicKey)] },
      signedIdentity: { type: 'matchRepoDigestOrExact' },
    };
    const good = signKeyless(cosignPayload(digest, 'a.example/app:1', {}), own, log, new Date('2025-01-01'), root.cert);
    expect(await judged(keyless, good)).toBe(true);
    const bundle = JSON.parse(good.annotations[annotationKeys.bundle]!);
    const text = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.base64String(),
      fc.tuple(path, replacement).map(([at, value]) => JSON.stringify(changed(bundle, at, value)) ?? ''),
      fc.nat(own.cert.length - 1).map((at) => `${own.cert.slice(0, at)}A${own.cert.slice(at + 1)}`),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.values(annotationKeys)), text, async (key, value) => {
        await judged(keyless, { ...good, annotations: { ...good.annotations, [key]: value } });
      }),
      { numRuns: 500 },
    );
  });
});
