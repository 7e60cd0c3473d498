import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Digest, digestOf } from '../../storage/index.ts';
import { parseReference } from '../reference.ts';
import { acceptedSignatures, type TrustSubject } from './evaluate.ts';
import {
  type CertificateRequest,
  type Issued,
  issueCertificate,
  signKeyless,
  TestLog,
  TestTimestampAuthority,
  trustedRoot,
} from './fulcio.fixture.ts';
import { makeBundleSignature, makeCosignSignature } from './make-signature.ts';
import { parsePolicy } from './policy-document.ts';
import type { SigstoreSigned } from './requirement.ts';
import {
  annotationKeys,
  type BundleSignature,
  type CosignSignature,
  decodeSignature,
  encodeSignature,
  MAX_SIGNATURES,
  type Signature,
} from './signature.ts';
import { cosignPayload } from './signed-payload.ts';

const manifest = Buffer.from('{"schemaVersion":2}');
const digest = digestOf(manifest);
const otherDigest = `sha256:${'b'.repeat(64)}` as Digest;
const reference = parseReference('a.example/app:1');
const subject: TrustSubject = {
  reference,
  manifests: [{ digest, bytes: async () => manifest }],
  signatures: async () => [],
};

/** As a policy says it, so that its reader is tested too. */
const requirement = (fields: object): SigstoreSigned =>
  parsePolicy(Buffer.from(JSON.stringify({ default: [{ type: 'sigstoreSigned', ...fields }] })), 'policy')
    .default[0] as SigstoreSigned;

const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64');
const pemOf = (key: KeyObject) => createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string;

/** Why a signature does not count; '' when it does. */
async function fault(wanted: SigstoreSigned, signature: Signature, about = subject): Promise<string> {
  const { accepted, reasons } = await acceptedSignatures(wanted, about, [signature], 'all');
  expect(accepted.length).toBe(reasons.length === 0 ? 1 : 0);
  return reasons.join('; ');
}

const keys: Record<string, KeyObject> = {
  'P-256': generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'P-384': generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  Ed25519: generateKeyPairSync('ed25519').privateKey,
  'RSA 2048': generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
};
const key = keys['P-256']!;
const signedBy = (...pems: string[]) => requirement({ keyDatas: pems.map(base64) });
const wanted = signedBy(pemOf(key));
const plain = { annotations: {} };
const payloadFor = (name: string, of: Digest = digest) => cosignPayload(of, name, {});

describe.each(Object.keys(keys))('%s', (name) => {
  const own = keys[name]!;
  test('cosign’s format: openssl agrees with what we make', async () => {
    const made = makeCosignSignature(digest, reference, { key: own, annotations: { who: 'me' } });
    expect(JSON.parse(made.payload.toString())).toEqual({
      critical: {
        identity: { 'docker-reference': 'a.example/app:1' },
        image: { 'docker-manifest-digest': digest },
        type: 'cosign container image signature',
      },
      optional: { who: 'me' },
    });
    const signature = Buffer.from(made.annotations[annotationKeys.signature]!, 'base64');
    expect(verify(name === 'Ed25519' ? null : 'sha256', made.payload, createPublicKey(own), signature)).toBe(true);
    expect(await fault(signedBy(pemOf(own)), made)).toBe('');
  });

  test('a bundle, with the statement of cosign 3', async () => {
    const made = await makeBundleSignature(digest, reference, { key: own, ...plain });
    const { dsseEnvelope: envelope } = JSON.parse(made.bytes.toString());
    const payload = Buffer.from(envelope.payload, 'base64');
    // DSSE's pre-authentication encoding, by hand.
    const type = 'application/vnd.in-toto+json';
    const encoded = Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} ${payload}`);
    const signature = Buffer.from(envelope.signatures[0].sig, 'base64');
    expect(verify(name === 'Ed25519' ? null : 'sha256', encoded, createPublicKey(own), signature)).toBe(true);
    expect(await fault(signedBy(pemOf(own)), made)).toBe('');
  });

  test('kept and read again', async () => {
    for (const made of [
      makeCosignSignature(digest, reference, { key: own, ...plain }),
      await makeBundleSignature(digest, reference, { key: own, ...plain }),
    ]) {
      const { mediaType, bytes } = encodeSignature(made);
      expect(await fault(signedBy(pemOf(own)), decodeSignature(mediaType, bytes))).toBe('');
    }
  });
});

describe('a key', () => {
  const made = makeCosignSignature(digest, reference, { key, ...plain });
  const changed = (change: (payload: string) => string): CosignSignature => ({
    ...made,
    payload: Buffer.from(change(made.payload.toString())),
  });
  const signed = (payload: Buffer): CosignSignature => {
    const folder = mkdtempSync(join(tmpdir(), 'tare-openssl-'));
    try {
      writeFileSync(join(folder, 'key'), key.export({ type: 'pkcs8', format: 'pem' }));
      writeFileSync(join(folder, 'payload'), payload);
      const signature = execFileSync('openssl', [
        'dgst',
        '-sha256',
        '-sign',
        join(folder, 'key'),
        join(folder, 'payload'),
      ]);
      return { kind: 'cosign', payload, annotations: { [annotationKeys.signature]: signature.toString('base64') } };
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  test('what openssl signed', async () => expect(await fault(wanted, signed(payloadFor('a.example/app:1')))).toBe(''));
  test('one of several keys', async () => {
    expect(await fault(signedBy(pemOf(keys['RSA 2048']!), pemOf(key)), made)).toBe('');
  });

  test.each([
    {
      what: 'another key',
      signature: makeCosignSignature(digest, reference, { key: keys['P-384']!, ...plain }),
      want: /not made with the key/,
    },
    {
      what: 'another payload',
      signature: changed((text) => text.replace('app:1', 'app:2')),
      want: /not made with the key/,
    },
    {
      what: 'another digest',
      signature: makeCosignSignature(otherDigest, reference, { key, ...plain }),
      want: /is for sha256:bbb/,
    },
    {
      what: 'another tag',
      signature: makeCosignSignature(digest, parseReference('a.example/app:2'), { key, ...plain }),
      want: /matchRepoDigestOrExact does not take/,
    },
    {
      what: 'another repository',
      signature: makeCosignSignature(digest, parseReference('a.example/other:1'), { key, ...plain }),
      want: /a\.example\/other:1/,
    },
    {
      what: 'the repository alone',
      signature: makeCosignSignature(digest, parseReference('a.example/app'), { key, ...plain }),
      want: /matchRepoDigestOrExact/,
    },
    { what: 'no signature', signature: { ...made, annotations: {} }, want: /no annotation/ },
    {
      what: 'no base64',
      signature: { ...made, annotations: { [annotationKeys.signature]: '%%%' } },
      want: /not made with the key/,
    },
    { what: 'an empty payload', signature: signed(Buffer.from('{}')), want: /critical/ },
    { what: 'no JSON', signature: signed(Buffer.from('hello')), want: /not valid JSON/ },
    {
      what: 'GPG’s payload',
      signature: signed(
        Buffer.from(payloadFor('a.example/app:1').toString().replace('cosign container image', 'atomic container')),
      ),
      want: /critical\.type/,
    },
    {
      what: 'a digest twice',
      signature: signed(
        Buffer.from(
          payloadFor('a.example/app:1')
            .toString()
            .replace('"image":{', `"image":{"docker-manifest-digest":"${otherDigest}",`),
        ),
      ),
      want: /stands twice/,
    },
    {
      what: 'a critical field that nobody knows',
      signature: signed(
        Buffer.from(payloadFor('a.example/app:1').toString().replace('"critical":{', '"critical":{"expires":1,')),
      ),
      want: /unknown field "expires"/,
    },
    { what: 'a bundle of another key', signature: 'bundle' as const, want: /not made with the key|signature/ },
  ])('refuses $what', async ({ signature, want }) => {
    const given =
      signature === 'bundle'
        ? await makeBundleSignature(digest, reference, { key: keys['P-384']!, ...plain })
        : (signature as CosignSignature);
    expect(await fault(wanted, given)).toMatch(want);
  });

  test.each([
    {
      what: 'other text',
      change: (bundle: Bundle) => {
        bundle.dsseEnvelope.payload = base64('{}');
      },
      want: /not made with the key/,
    },
    { what: 'an attestation', predicate: 'https://slsa.dev/provenance/v1', want: /attestation/ },
    {
      what: 'two signatures',
      change: (bundle: Bundle) => {
        bundle.dsseEnvelope.signatures.push(bundle.dsseEnvelope.signatures[0]!);
      },
      want: /invalid bundle/,
    },
    {
      what: 'no content',
      change: (bundle: Bundle) => {
        delete (bundle as Partial<Bundle>).dsseEnvelope;
      },
      want: /invalid bundle|content/,
    },
    {
      what: 'another media type',
      change: (bundle: Bundle) => {
        bundle.mediaType = 'application/json';
      },
      want: /invalid bundle/,
    },
  ])('refuses a bundle with $what', async ({ change, predicate, want }) => {
    const made = await makeBundleSignature(digest, reference, { key, ...plain });
    let bytes = made.bytes;
    if (predicate !== undefined) bytes = await signedStatement(predicate);
    else {
      const bundle = JSON.parse(bytes.toString()) as Bundle;
      change!(bundle);
      bytes = Buffer.from(JSON.stringify(bundle));
    }
    expect(await fault(wanted, { kind: 'bundle', bytes })).toMatch(want);
  });

  test.each(['', '{', '[]', 'null', '"x"', '{"mediaType":5}', '['.repeat(50_000)])(
    'refuses a bundle that is %j',
    async (text) => {
      expect(await fault(wanted, { kind: 'bundle', bytes: Buffer.from(text) })).not.toBe('');
    },
  );

  test('a bundle without a name passes only where names do not count', async () => {
    const bytes = await signedStatement('https://sigstore.dev/cosign/sign/v1', false);
    expect(await fault(wanted, { kind: 'bundle', bytes })).toMatch(/names no image/);
    const digestOnly = requirement({ keyData: base64(pemOf(key)), signedIdentity: { type: 'matchDigestOnly' } });
    expect(await fault(digestOnly, { kind: 'bundle', bytes })).toBe('');
  });

  test('thousands of signatures: a bounded number is looked at', async () => {
    const bad = { ...made, annotations: {} };
    const { accepted, reasons } = await acceptedSignatures(
      wanted,
      subject,
      [...Array<Signature>(5000).fill(bad), made],
      'first',
    );
    expect(accepted).toEqual([]);
    expect(reasons).toHaveLength(MAX_SIGNATURES + 1);
    expect(reasons.at(-1)).toBe(`it has 5001 signatures, of which ${MAX_SIGNATURES} were looked at`);
  });

  test.each([
    { what: 'no key', pem: 'hello', want: /not a public key/ },
    { what: 'a private key', pem: key.export({ type: 'pkcs8', format: 'pem' }) as string, want: /private key/ },
    {
      what: 'a short RSA key',
      pem: pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
      want: /RSA of 2048/,
    },
    { what: 'a key for key agreement', pem: pemOf(generateKeyPairSync('x25519').privateKey), want: /x25519/ },
  ])('the policy’s own key is $what', async ({ pem, want }) => {
    await expect(fault(signedBy(pem), made)).rejects.toThrow(want);
  });
});

interface Bundle {
  mediaType: string;
  dsseEnvelope: { payload: string; payloadType: string; signatures: { sig: string }[] };
}

/** A bundle whose statement has another predicate, or names no image. */
async function signedStatement(predicateType: string, isNamed = true): Promise<Buffer> {
  const core = await import('@sigstore/core');
  const { signBytes } = await import('./key-bytes.ts');
  const bundle = JSON.parse(
    (await makeBundleSignature(digest, reference, { key, ...plain })).bytes.toString(),
  ) as Bundle;
  const statement = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString());
  statement.predicateType = predicateType;
  if (!isNamed) delete statement.subject[0].name;
  const payload = Buffer.from(JSON.stringify(statement));
  bundle.dsseEnvelope.payload = payload.toString('base64');
  const signature = signBytes(key, core.dsse.preAuthEncoding(bundle.dsseEnvelope.payloadType, payload));
  bundle.dsseEnvelope.signatures = [{ sig: signature.toString('base64') }];
  return Buffer.from(JSON.stringify(bundle));
}

describe('keyless', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-keyless-'));
  const issuer = 'https://accounts.example';
  const signedAt = new Date('2025-06-01T12:05:00Z');
  const minutes = { from: '20250601120000Z', to: '20250601121000Z' };
  const log = new TestLog();
  let root: Issued;
  let intermediate: Issued;
  let rootPath: string;
  beforeAll(() => {
    root = issueCertificate({ isAuthority: true });
    intermediate = issueCertificate({ isAuthority: true, issuer: root, pathLength: 0 });
    rootPath = join(folder, 'trusted_root.json');
    writeFileSync(rootPath, trustedRoot([root.cert], [log]));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const signer = (request: CertificateRequest = {}) =>
    issueCertificate({ names: 'email:me@a.example', oidcIssuer: issuer, issuer: root, ...minutes, ...request });
  const payload = payloadFor('a.example/app:1');
  const fulcio = (identity: object = {}) =>
    requirement({
      fulcio: { caData: base64(root.cert), oidcIssuer: issuer, subjectEmail: 'me@a.example', ...identity },
      rekorPublicKeyData: base64(log.publicKey),
    });
  const rooted = (identity: object = { subjectEmail: 'me@a.example' }) =>
    requirement({ trustedRootPath: rootPath, fulcio: { oidcIssuer: issuer, ...identity } });

  test.each([
    { what: 'an e-mail address', request: {} },
    { what: 'the old extension alone', request: { isOldStyle: true } },
  ])('$what, by CA and log, and by trusted root', async ({ request }) => {
    const signature = signKeyless(payload, signer(request), log, signedAt);
    expect(await fault(fulcio(), signature)).toBe('');
    expect(await fault(rooted(), signature)).toBe('');
    const { accepted } = await acceptedSignatures(fulcio(), subject, [signature], 'first');
    expect(accepted[0]!.signer).toMatchObject({
      identity: { emails: ['me@a.example'], issuer },
      recordedMs: signedAt.getTime(),
    });
  });

  test('a certificate of an intermediate authority that comes with the signature', async () => {
    const signature = signKeyless(
      payload,
      signer({ issuer: intermediate }),
      log,
      signedAt,
      intermediate.cert + root.cert,
    );
    expect(await fault(fulcio(), signature)).toBe('');
    expect(await fault(fulcio(), signKeyless(payload, signer({ issuer: intermediate }), log, signedAt))).toMatch(
      /no trusted/,
    );
  });

  test.each([
    { what: 'a URI', identity: { subjectURI: 'https://ci.example/repo/build@main' }, fits: true },
    { what: 'another URI', identity: { subjectURI: 'https://ci.example/repo/build' }, fits: false },
    { what: 'a pattern', identity: { subjectRegExp: '^https://ci\\.example/repo/.*@main$' }, fits: true },
    { what: 'another pattern', identity: { subjectRegExp: '^https://ci\\.example/fork/' }, fits: false },
    {
      what: 'the URI as an e-mail address',
      identity: { subjectEmail: 'https://ci.example/repo/build@main' },
      fits: false,
    },
    { what: 'an e-mail address instead', identity: { subjectEmail: 'me@a.example' }, fits: false },
  ])('$what: $fits', async ({ identity, fits }) => {
    const own = signer({ names: 'URI:https://ci.example/repo/build@main' });
    expect((await fault(rooted(identity), signKeyless(payload, own, log, signedAt))) === '').toBe(fits);
  });

  test('an issuer by pattern', async () => {
    const wantedIssuer = (oidcIssuerRegExp: string) =>
      requirement({ trustedRootPath: rootPath, fulcio: { oidcIssuerRegExp, subjectEmail: 'me@a.example' } });
    const signature = signKeyless(payload, signer(), log, signedAt);
    expect(await fault(wantedIssuer('^https://accounts\\.'), signature)).toBe('');
    expect(await fault(wantedIssuer('^https://other\\.'), signature)).toMatch(/on the word of/);
  });

  const refusals: { what: string; make: () => Signature; want: RegExp }[] = [
    {
      what: 'another person',
      make: () => signKeyless(payload, signer({ names: 'email:you@a.example' }), log, signedAt),
      want: /is for "you@a.example"/,
    },
    {
      what: 'another issuer',
      make: () => signKeyless(payload, signer({ oidcIssuer: 'https://evil.example' }), log, signedAt),
      want: /on the word of "https:\/\/evil.example"/,
    },
    {
      what: 'no issuer',
      make: () => signKeyless(payload, signer({ oidcIssuer: undefined }), log, signedAt),
      want: /on the word of ""/,
    },
    {
      what: 'two issuers',
      make: () =>
        signKeyless(
          payload,
          signer({
            oidcIssuer: undefined,
            extra: [
              `1.3.6.1.4.1.57264.1.1=DER:${Buffer.from('https://evil.example').toString('hex')}`,
              `1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:${issuer}`,
            ],
          }),
          log,
          signedAt,
        ),
      want: /on the word of ""/,
    },
    {
      what: 'a time before the certificate',
      make: () => signKeyless(payload, signer(), log, new Date('2025-06-01T11:59:00Z')),
      want: /valid/,
    },
    {
      what: 'a time after it',
      make: () => signKeyless(payload, signer(), log, new Date('2025-06-01T12:11:00Z')),
      want: /valid/,
    },
    {
      what: 'another authority',
      make: () => signKeyless(payload, signer({ issuer: issueCertificate({ isAuthority: true }) }), log, signedAt),
      want: /no trusted|verify certificate chain/,
    },
    {
      what: 'a certificate of its own',
      make: () => signKeyless(payload, signer({ issuer: undefined }), log, signedAt),
      want: /no trusted|verify certificate chain/,
    },
    {
      what: 'a certificate for servers',
      make: () => signKeyless(payload, signer({ purpose: 'serverAuth' }), log, signedAt),
      want: /not for signing code/,
    },
    {
      what: 'a certificate for anything',
      make: () => signKeyless(payload, signer({ purpose: '' }), log, signedAt),
      want: /not for signing code/,
    },
    {
      what: 'another log',
      make: () => signKeyless(payload, signer(), new TestLog(), signedAt),
      want: /inclusion promise/,
    },
    {
      what: 'no log',
      make: () => without(signKeyless(payload, signer(), log, signedAt), annotationKeys.bundle),
      want: /expected 1/,
    },
    {
      what: 'no certificate',
      make: () => without(signKeyless(payload, signer(), log, signedAt), annotationKeys.certificate),
      want: /no certificate/,
    },
    {
      what: 'another payload',
      make: () => ({ ...signKeyless(payload, signer(), log, signedAt), payload: payloadFor('a.example/app:2') }),
      want: /digest mismatch|signature/,
    },
    { what: 'a log entry of another key', make: () => borrowed(signer(), signer()), want: /another key|certificate/ },
    {
      what: 'a log entry of another time',
      make: () => late(signKeyless(payload, signer(), log, new Date('2025-06-02T00:00:00Z'))),
      want: /inclusion promise/,
    },
    {
      what: 'another digest',
      make: () => signKeyless(payloadFor('a.example/app:1', otherDigest), signer(), log, signedAt),
      want: /is for sha256:bbb/,
    },
    {
      what: 'another tag',
      make: () => signKeyless(payloadFor('a.example/app:2'), signer(), log, signedAt),
      want: /app:2/,
    },
  ];
  test.each(refusals)('refuses $what', async ({ make, want }) => {
    const signature = make();
    expect(await fault(fulcio(), signature)).toMatch(want);
    expect(await fault(rooted(), signature)).not.toBe('');
  });

  const without = (signature: CosignSignature, gone: string): CosignSignature => ({
    ...signature,
    annotations: Object.fromEntries(Object.entries(signature.annotations).filter(([name]) => name !== gone)),
  });
  /** A stolen signature's log entry beside one's own certificate. */
  const borrowed = (one: Issued, other: Issued): CosignSignature => {
    const signature = signKeyless(payload, one, log, signedAt);
    return { ...signature, annotations: { ...signature.annotations, [annotationKeys.certificate]: other.cert } };
  };
  /** The time of the entry changed after the log promised it. */
  const late = (signature: CosignSignature): CosignSignature => {
    const bundle = JSON.parse(signature.annotations[annotationKeys.bundle]!);
    bundle.Payload.integratedTime = Math.floor(signedAt.getTime() / 1000);
    return { ...signature, annotations: { ...signature.annotations, [annotationKeys.bundle]: JSON.stringify(bundle) } };
  };

  test.each([
    {
      what: 'is too far from the root',
      make: () => ({ pathLength: undefined, issuer: intermediate }),
      want: /no trusted/,
    },
    { what: 'is no authority', make: () => ({ isAuthority: false }), want: /no trusted/ },
    {
      what: 'may only name some',
      make: () => ({ extra: ['nameConstraints=critical,permitted;email:b.example'] }),
      want: /no trusted/,
    },
    { what: 'was not yet valid', make: () => ({ from: '20260101000000Z' }), want: /no trusted/ },
  ])('refuses an intermediate authority that $what', async ({ make, want }) => {
    const other = issueCertificate({ isAuthority: true, issuer: root, ...make() });
    const chain = other.cert + intermediate.cert + root.cert;
    expect(await fault(fulcio(), signKeyless(payload, signer({ issuer: other }), log, signedAt, chain))).toMatch(want);
  });

  test('a bundle with a certificate and a proof that a log holds it', async () => {
    const own = signer();
    const made = await makeBundleSignature(digest, reference, {
      ...{ key: createPrivateKey(own.key), certificate: Buffer.from(own.cert) },
      ...plain,
    });
    const bundle = JSON.parse(made.bytes.toString());
    const payload = Buffer.from(bundle.dsseEnvelope.payload, 'base64');
    const recorded = (entry: object): BundleSignature => {
      const verificationMaterial = { ...bundle.verificationMaterial, tlogEntries: [entry] };
      return { kind: 'bundle', bytes: Buffer.from(JSON.stringify({ ...bundle, verificationMaterial })) };
    };
    const { sig } = bundle.dsseEnvelope.signatures[0];
    const entry = log.prove(payload, sig, own.cert, signedAt) as {
      inclusionProof: { checkpoint: { envelope: string } };
    };
    expect(await fault(fulcio(), recorded(entry))).toBe('');
    expect(await fault(rooted(), recorded(entry))).toBe('');
    expect(await fault(fulcio(), made)).toMatch(/expected 1/);
    expect(await fault(fulcio(), recorded(new TestLog().prove(payload, sig, own.cert, signedAt)))).toMatch(
      /inclusion|checkpoint/,
    );
    expect(await fault(fulcio(), recorded(log.prove(payload, sig, signer().cert, signedAt)))).toMatch(/another key/);
    expect(await fault(fulcio(), recorded(log.prove(Buffer.from('{}'), sig, own.cert, signedAt)))).toMatch(
      /hash mismatch/,
    );
    const { envelope } = entry.inclusionProof.checkpoint;
    const grown = { ...entry.inclusionProof, checkpoint: { envelope: envelope.replace('\n1\n', '\n2\n') } };
    expect(await fault(fulcio(), recorded({ ...entry, inclusionProof: grown }))).toMatch(/checkpoint/);
  });

  test('the time by a timestamp authority, where a trusted root names one', async () => {
    const times = { from: '20240101000000Z', to: '20440101000000Z' };
    const stamped = (authority: TestTimestampAuthority, own: Issued) => {
      const signature = without(signKeyless(payload, own, log, signedAt), annotationKeys.bundle);
      const bytes = Buffer.from(signature.annotations[annotationKeys.signature]!, 'base64');
      const stamp = JSON.stringify(authority.stamp(bytes));
      return { ...signature, annotations: { ...signature.annotations, [annotationKeys.timestamp]: stamp } };
    };
    const authority = new TestTimestampAuthority(times);
    writeFileSync(join(folder, 'stamps.json'), trustedRoot([root.cert], [], { timestamps: authority }));
    const byStamp = requirement({
      trustedRootPath: join(folder, 'stamps.json'),
      fulcio: { oidcIssuer: issuer, subjectEmail: 'me@a.example' },
    });
    const good = stamped(authority, signer(times));
    expect(await fault(byStamp, good)).toBe('');
    expect(await fault(byStamp, without(good, annotationKeys.timestamp))).toMatch(/expected 1 timestamps/);
    expect(await fault(byStamp, stamped(new TestTimestampAuthority(times), signer(times)))).toMatch(/timestamp/);
    // The stamp says now, when the certificate has long ended.
    expect(await fault(byStamp, stamped(authority, signer()))).toMatch(/certificate/);
    const other = stamped(authority, signer(times));
    const moved = { ...good.annotations, [annotationKeys.timestamp]: other.annotations[annotationKeys.timestamp]! };
    expect(await fault(byStamp, { ...good, annotations: moved })).toMatch(/timestamp/);
    // Without an authority that is trusted a stamp counts for nothing.
    expect(await fault(rooted(), good)).toMatch(/expected 1 timestamps/);
  });

  test('a trusted root with a log of certificates: the certificate must have been logged', async () => {
    writeFileSync(join(folder, 'logged.json'), trustedRoot([root.cert], [log], { certificateLogs: [new TestLog()] }));
    const logged = requirement({
      trustedRootPath: join(folder, 'logged.json'),
      fulcio: { oidcIssuer: issuer, subjectEmail: 'me@a.example' },
    });
    expect(await fault(logged, signKeyless(payload, signer(), log, signedAt))).toMatch(/expected 1 SCTs/);
  });

  test('a key, and a log that must have recorded it', async () => {
    const made = makeCosignSignature(digest, reference, { key, ...plain });
    const recorded = requirement({ keyData: base64(pemOf(key)), rekorPublicKeyData: base64(log.publicKey) });
    expect(await fault(recorded, made)).toMatch(/expected 1 tlog/);
    const entry = log.record(made.payload, made.annotations[annotationKeys.signature]!, pemOf(key), signedAt);
    const bundle = { ...made.annotations, [annotationKeys.bundle]: JSON.stringify(entry) };
    expect(await fault(recorded, { ...made, annotations: bundle })).toBe('');
    const foreign = log.record(
      made.payload,
      made.annotations[annotationKeys.signature]!,
      pemOf(keys['P-384']!),
      signedAt,
    );
    const swapped = { ...made.annotations, [annotationKeys.bundle]: JSON.stringify(foreign) };
    expect(await fault(recorded, { ...made, annotations: swapped })).toMatch(/another key/);
    // Whoever trusts no log does not care what a log says.
    expect(await fault(wanted, { ...made, annotations: swapped })).toBe('');
  });

  test('an authority of one’s own: the certificate must be valid now', async () => {
    const pki = (names: object) => requirement({ pki: { caRootsData: base64(root.cert), ...names } });
    const lasting = { from: '20240101000000Z', to: '20440101000000Z' };
    const sign = (request: CertificateRequest) =>
      signKeyless(payload, signer({ ...lasting, ...request }), log, signedAt);
    expect(await fault(pki({ subjectEmail: 'me@a.example' }), sign({}))).toBe('');
    expect(await fault(pki({ subjectEmail: 'you@a.example' }), sign({}))).toMatch(/not for you@/);
    expect(await fault(pki({ subjectHostname: 'build.example' }), sign({ names: 'DNS:build.example' }))).toBe('');
    expect(await fault(pki({ subjectHostname: 'other.example' }), sign({ names: 'DNS:build.example' }))).toMatch(
      /not for other/,
    );
    expect(await fault(pki({ subjectEmail: 'me@a.example' }), sign(minutes))).toMatch(/valid from/);
  });

  test.each([
    { what: 'no file', path: '/nonexistent', text: undefined, want: /ENOENT/ },
    { what: 'no JSON', text: '{', want: /not valid JSON/ },
    { what: 'nobody to trust', text: '{"mediaType":"x"}', want: /neither a transparency log/ },
    {
      what: 'a broken certificate',
      text: () => trustedRoot(['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'], [log]),
      want: /trusted root/,
    },
  ])('a trusted root that is $what', async ({ text, want, path = join(folder, 'bad.json') }) => {
    if (text !== undefined) writeFileSync(path, typeof text === 'string' ? text : text());
    const broken = requirement({ trustedRootPath: path, fulcio: { oidcIssuer: issuer, subjectEmail: 'me@a.example' } });
    await expect(fault(broken, signKeyless(payload, signer(), log, signedAt))).rejects.toThrow(want);
  });
});

test('a signature of the manifest’s own bytes', async () => {
  const { signBytes } = await import('./key-bytes.ts');
  const bundleOf = (of: Buffer, told: Buffer): BundleSignature => ({
    kind: 'bundle',
    bytes: Buffer.from(
      JSON.stringify({
        mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
        verificationMaterial: { publicKey: { hint: '' } },
        messageSignature: {
          messageDigest: {
            algorithm: 'SHA2_256',
            digest: Buffer.from(digestOf(told).slice(7), 'hex').toString('base64'),
          },
          signature: signBytes(key, of).toString('base64'),
        },
      }),
    ),
  });
  const digestOnly = requirement({ keyData: base64(pemOf(key)), signedIdentity: { type: 'matchDigestOnly' } });
  const other = Buffer.from('{"schemaVersion":2,"layers":[]}');
  expect(await fault(digestOnly, bundleOf(manifest, manifest))).toBe('');
  expect(await fault(digestOnly, bundleOf(other, other))).toMatch(/other bytes/);
  // The digest that it tells is no part of what was signed.
  expect(await fault(digestOnly, bundleOf(other, manifest))).toMatch(/not made with the key/);
});
