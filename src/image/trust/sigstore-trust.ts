import { createHash, type KeyObject, type X509Certificate } from 'node:crypto';
import type { TrustMaterial } from '@sigstore/verify';
import { TareError } from '../../errors/index.ts';
import { parseJson } from '../json.ts';
import { parseCertificates } from './certificate-chain.ts';
import { parsePublicKey, publicKeyBytes } from './key-bytes.ts';
import { readKeyFile, readKeys } from './key-file.ts';
import type { CertificateIdentity, PkiAuthority, SigstoreSigned } from './requirement.ts';

/** A transparency log whose word counts. */
export type TrustedLog = TrustMaterial['tlogs'][number];

/** Whose signatures count, with all keys and certificates read. */
export interface SigstoreTrust {
  signer:
    | { by: 'key'; keys: readonly KeyObject[] }
    | { by: 'fulcio'; roots: readonly X509Certificate[]; identity: CertificateIdentity }
    | { by: 'trusted root'; material: TrustMaterial; identity: CertificateIdentity }
    | {
        by: 'pki';
        roots: readonly X509Certificate[];
        intermediates: readonly X509Certificate[];
        names: Pick<PkiAuthority, 'subjectEmail' | 'subjectHostname'>;
      };
  /** Logs of which one must have recorded the signature; none: no log is asked. */
  logs: readonly TrustedLog[];
  /** Who may tell the time of a signature, beside the logs. */
  timestampAuthorities: TrustMaterial['timestampAuthorities'];
}

const ALWAYS = { start: new Date(0), end: new Date(8_640_000_000_000_000) };

/**
 * Reads the keys and certificates that a requirement names.
 * @throws {TareError} NotFound, InvalidArgument: the file and what is wrong with it
 */
export async function readSigstoreTrust(requirement: SigstoreSigned): Promise<SigstoreTrust> {
  const { keys, fulcio, pki, rekorKeys, trustedRootPath } = requirement;
  const root = trustedRootPath === undefined ? undefined : await readTrustedRoot(trustedRootPath);
  const logs = root?.tlogs ?? (rekorKeys === undefined ? [] : readKeys(rekorKeys, 'rekorPublicKey').map(logOf));
  const common = { logs, timestampAuthorities: root?.timestampAuthorities ?? [] };
  if (keys !== undefined) {
    return { ...common, signer: { by: 'key', keys: readKeys(keys, 'key').map((pem) => parsePublicKey(pem, 'key')) } };
  }
  if (pki !== undefined) {
    const { roots, intermediates, subjectEmail, subjectHostname } = pki;
    return {
      ...common,
      signer: {
        by: 'pki',
        roots: readKeys(roots, 'caRoots').flatMap((pem) => parseCertificates(pem, 'caRoots')),
        intermediates:
          intermediates === undefined
            ? []
            : readKeys(intermediates, 'caIntermediates').flatMap((pem) => parseCertificates(pem, 'caIntermediates')),
        names: { subjectEmail, subjectHostname },
      },
    };
  }
  const { ca, ...identity } = fulcio!;
  if (root !== undefined) return { ...common, signer: { by: 'trusted root', material: root, identity } };
  const roots = readKeys(ca!, 'fulcio CA').flatMap((pem) => parseCertificates(pem, 'fulcio CA'));
  return { ...common, signer: { by: 'fulcio', roots, identity } };
}

function logOf(pem: Buffer): TrustedLog {
  const publicKey = parsePublicKey(pem, 'rekorPublicKey');
  // RFC 6962, section 3.2: a log is named by the hash of its key.
  const logID = createHash('sha256').update(publicKeyBytes(publicKey)).digest();
  return { logID, publicKey, baseURL: '', validFor: ALWAYS };
}

const MAX_ROOT_BYTES = 4 << 20;

/**
 * Reads sigstore's `trusted_root.json`.
 * @throws {TareError} NotFound, InvalidArgument
 */
async function readTrustedRoot(path: string): Promise<TrustMaterial> {
  const what = `trusted root ${path}`;
  const json = parseJson(readKeyFile(path, 'trustedRootPath'), what, MAX_ROOT_BYTES);
  const { TrustedRoot } = await import('@sigstore/protobuf-specs');
  const { toTrustMaterial } = await import('@sigstore/verify');
  try {
    const material = toTrustMaterial(TrustedRoot.fromJSON(json));
    if (material.tlogs.length === 0 && material.timestampAuthorities.length === 0) {
      throw new Error('it has neither a transparency log nor a timestamp authority');
    }
    return material;
  } catch (cause) {
    throw new TareError('InvalidArgument', `${what}: ${(cause as Error).message}`, { cause });
  }
}
