import { execFileSync } from 'node:child_process';
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { annotationKeys, type CosignSignature } from './signature.ts';

/** A certificate and its key, PEM. */
export interface Issued {
  cert: string;
  key: string;
}

export interface CertificateRequest {
  /** As openssl writes them: `email:me@example.com`. */
  names?: string;
  oidcIssuer?: string;
  /** Only the old form of the issuer. */
  isOldStyle?: boolean;
  /** Extended key usage, `codeSigning` unless given; '' for none. */
  purpose?: string;
  isAuthority?: boolean;
  pathLength?: number;
  /** More lines for openssl's extensions. */
  extra?: string[];
  /** Who signs it; default: itself. */
  issuer?: Issued;
  /** YYYYMMDDHHMMSSZ */
  from?: string;
  to?: string;
}

/** Makes a certificate with openssl, as Fulcio or a certificate authority of one's own would. */
export function issueCertificate(request: CertificateRequest): Issued {
  const folder = mkdtempSync(join(tmpdir(), 'tare-fulcio-'));
  const path = (name: string) => join(folder, name);
  const openssl = (...argv: string[]) => execFileSync('openssl', argv, { stdio: 'pipe' });
  try {
    const { isAuthority = false, pathLength, purpose = 'codeSigning', extra = [], oidcIssuer } = request;
    const limit = pathLength === undefined ? '' : `,pathlen:${pathLength}`;
    const extensions = [
      `basicConstraints=critical,CA:${isAuthority ? `TRUE${limit}` : 'FALSE'}`,
      `keyUsage=critical,${isAuthority ? 'keyCertSign,cRLSign' : 'digitalSignature'}`,
      ...(purpose === '' || isAuthority ? [] : [`extendedKeyUsage=${purpose}`]),
      ...(request.names === undefined ? [] : [`subjectAltName=${request.names}`]),
      ...(oidcIssuer === undefined ? [] : [`1.3.6.1.4.1.57264.1.1=DER:${Buffer.from(oidcIssuer).toString('hex')}`]),
      ...(oidcIssuer === undefined || request.isOldStyle
        ? []
        : [`1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:${oidcIssuer}`]),
      ...extra,
    ];
    const config = `[req]\ndistinguished_name=dn\n[dn]\n[ca]\ndefault_ca=own\n[own]\ndatabase=${path('index')}\nnew_certs_dir=${folder}\nserial=${path('serial')}\ndefault_md=sha256\npolicy=any\nunique_subject=no\nemail_in_dn=no\ncopy_extensions=none\n[any]\ncommonName=optional\n[v3]\n${extensions.join('\n')}\n`;
    for (const [name, text] of [
      ['config', config],
      ['index', ''],
      ['serial', `0${Date.now()}${Math.floor(Math.random() * 1e6)}`.slice(0, 16)],
    ] as const) {
      writeFileSync(path(name), text);
    }
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    writeFileSync(path('key'), key);
    const subject = isAuthority ? `/CN=authority ${Math.random()}` : '/CN=signer';
    openssl('req', '-new', '-key', path('key'), '-subj', subject, '-config', path('config'), '-out', path('csr'));
    const signer =
      request.issuer === undefined
        ? ['-selfsign', '-keyfile', path('key')]
        : ['-cert', path('ca'), '-keyfile', path('cakey')];
    if (request.issuer !== undefined) {
      writeFileSync(path('ca'), request.issuer.cert);
      writeFileSync(path('cakey'), request.issuer.key);
    }
    const dates = ['-startdate', request.from ?? '20240101000000Z', '-enddate', request.to ?? '20440101000000Z'];
    openssl(
      'ca',
      '-batch',
      '-notext',
      '-config',
      path('config'),
      '-extensions',
      'v3',
      ...dates,
      ...signer,
      '-in',
      path('csr'),
      '-out',
      path('cert'),
    );
    return { cert: readFileSync(path('cert'), 'utf8'), key };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A transparency log that records what it is told, and promises to have done so. */
export class TestLog {
  readonly #key: KeyObject;
  readonly publicKey: string;
  readonly id: string;
  #index = 7;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = privateKey;
    this.publicKey = publicKey.export({ type: 'spki', format: 'pem' }) as string;
    this.id = createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('hex');
  }

  /** What the annotation `bundle` of a signature holds. @param pem of the signer */
  record(payload: Uint8Array, signature: string, pem: string, at: Date): object {
    const entry = {
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: { hash: { algorithm: 'sha256', value: createHash('sha256').update(payload).digest('hex') } },
        signature: { content: signature, publicKey: { content: Buffer.from(pem).toString('base64') } },
      },
    };
    const body = Buffer.from(JSON.stringify(entry)).toString('base64');
    const integratedTime = Math.floor(at.getTime() / 1000);
    this.#index += 1;
    // Keys in the order of RFC 8785.
    const promised = { body, integratedTime, logID: this.id, logIndex: this.#index };
    const promise = sign('sha256', Buffer.from(JSON.stringify(promised)), this.#key);
    return { SignedEntryTimestamp: promise.toString('base64'), Payload: promised };
  }

  /** An entry of a bundle about a DSSE envelope, with a proof from a tree of one leaf. @param pem of the signer */
  prove(payload: Uint8Array, signature: string, pem: string, at: Date): object {
    const hash = { algorithm: 'sha256', value: createHash('sha256').update(payload).digest('hex') };
    const signatures = [{ signature, verifier: Buffer.from(pem).toString('base64') }];
    const body = Buffer.from(
      JSON.stringify({
        apiVersion: '0.0.1',
        kind: 'dsse',
        spec: { payloadHash: hash, envelopeHash: hash, signatures },
      }),
    );
    const integratedTime = Math.floor(at.getTime() / 1000);
    const promised = { body: body.toString('base64'), integratedTime, logID: this.id, logIndex: 0 };
    const root = createHash('sha256').update(Buffer.of(0)).update(body).digest('base64');
    const note = `log.example - 1\n1\n${root}\n`;
    const hint = Buffer.from(this.id, 'hex').subarray(0, 4);
    const signed = Buffer.concat([hint, sign('sha256', Buffer.from(note), this.#key)]).toString('base64');
    return {
      logIndex: '0',
      logId: { keyId: Buffer.from(this.id, 'hex').toString('base64') },
      kindVersion: { kind: 'dsse', version: '0.0.1' },
      integratedTime: String(integratedTime),
      inclusionPromise: {
        signedEntryTimestamp: sign('sha256', Buffer.from(JSON.stringify(promised)), this.#key).toString('base64'),
      },
      inclusionProof: {
        logIndex: '0',
        rootHash: root,
        treeSize: '1',
        hashes: [],
        checkpoint: { envelope: `${note}\n\u2014 log.example ${signed}\n` },
      },
      canonicalizedBody: body.toString('base64'),
    };
  }
}

/** Tells the time of signatures (RFC 3161), by openssl. */
export class TestTimestampAuthority {
  readonly certificate: Issued;
  readonly root: Issued = issueCertificate({ isAuthority: true });

  constructor(times: Pick<CertificateRequest, 'from' | 'to'> = {}) {
    this.certificate = issueCertificate({ issuer: this.root, purpose: 'critical,timeStamping', ...times });
  }

  /** What the annotation `rfc3161timestamp` of a signature holds; the time is now. */
  stamp(signature: Uint8Array): object {
    const folder = mkdtempSync(join(tmpdir(), 'tare-timestamp-'));
    const path = (name: string) => join(folder, name);
    const openssl = (...argv: string[]) => execFileSync('openssl', argv, { stdio: 'pipe', cwd: folder });
    try {
      writeFileSync(path('signature'), signature);
      writeFileSync(path('cert'), this.certificate.cert);
      writeFileSync(path('key'), this.certificate.key);
      const policy = 'default_policy=1.2.3.4\ndigests=sha256\nsigner_digest=sha256\ness_cert_id_alg=sha256';
      writeFileSync(path('config'), `[tsa]\ndefault_tsa=own\n[own]\nserial=${path('serial')}\n${policy}\n`);
      writeFileSync(path('serial'), '01');
      openssl('ts', '-query', '-data', 'signature', '-sha256', '-cert', '-out', 'query');
      const signer = ['-signer', 'cert', '-inkey', 'key', '-config', 'config'];
      openssl('ts', '-reply', '-queryfile', 'query', ...signer, '-out', 'reply');
      return { SignedRFC3161Timestamp: readFileSync(path('reply')).toString('base64') };
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

/** Signs a payload with a certificate's key, as cosign does without a key of one's own. */
export function signKeyless(payload: Buffer, signer: Issued, log: TestLog, at: Date, chain?: string): CosignSignature {
  const signature = sign('sha256', payload, createPrivateKey(signer.key)).toString('base64');
  return {
    kind: 'cosign',
    payload,
    annotations: {
      [annotationKeys.signature]: signature,
      [annotationKeys.certificate]: signer.cert,
      ...(chain === undefined ? {} : { [annotationKeys.chain]: chain }),
      [annotationKeys.bundle]: JSON.stringify(log.record(payload, signature, signer.cert, at)),
    },
  };
}

/** sigstore's trusted_root.json of these authorities and logs. */
export function trustedRoot(
  authorities: readonly string[],
  logs: readonly TestLog[],
  more: { certificateLogs?: readonly TestLog[]; timestamps?: TestTimestampAuthority } = {},
): string {
  const der = (pem: string) => Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64').toString('base64');
  const logOf = ({ publicKey, id }: TestLog) => ({
    baseUrl: 'https://log.example',
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: createPublicKey(publicKey).export({ type: 'spki', format: 'der' }).toString('base64'),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: { start: '2024-01-01T00:00:00Z' },
    },
    logId: { keyId: Buffer.from(id, 'hex').toString('base64') },
  });
  const authorityOf = (...pems: string[]) => ({
    subject: { organization: 'tests', commonName: 'tests' },
    uri: 'https://authority.example',
    certChain: { certificates: pems.map((pem) => ({ rawBytes: der(pem) })) },
    validFor: { start: '2024-01-01T00:00:00Z' },
  });
  return JSON.stringify({
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: logs.map(logOf),
    certificateAuthorities: authorities.map((pem) => authorityOf(pem)),
    ctlogs: (more.certificateLogs ?? []).map(logOf),
    timestampAuthorities:
      more.timestamps === undefined ? [] : [authorityOf(more.timestamps.certificate.cert, more.timestamps.root.cert)],
  });
}
