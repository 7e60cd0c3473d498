import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM texts. */
export interface Certificate {
  cert: string;
  key: string;
}

export interface CertificateOptions {
  commonName?: string;
  /** As openssl writes them. Default: this host by all its names. */
  subjectAltName?: string;
  /** Who signs it; default: itself. */
  issuer?: Certificate;
  /** It ended yesterday. */
  isExpired?: boolean;
  /** A certificate authority's. */
  isAuthority?: boolean;
}

/** A certificate for tests, made by openssl with an elliptic key. */
export function makeCertificate(options: CertificateOptions = {}): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'tare-certificate-'));
  try {
    const key = join(folder, 'key.pem');
    const cert = join(folder, 'cert.pem');
    const request = join(folder, 'request.pem');
    const extensions = join(folder, 'extensions');
    const names = options.subjectAltName ?? 'DNS:localhost,IP:127.0.0.1,IP:::1';
    const isAuthority = options.isAuthority === true;
    writeFileSync(
      extensions,
      `subjectAltName=${names}\nbasicConstraints=critical,CA:${isAuthority ? 'TRUE' : 'FALSE'}\n`,
    );
    const subject = `/CN=${options.commonName ?? 'tare test'}`;
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    openssl(['req', '-new', ...curve, '-nodes', '-keyout', key, '-out', request, '-subj', subject]);
    const issuer: string[] = ['-signkey', key];
    if (options.issuer !== undefined) {
      writeFileSync(join(folder, 'ca.pem'), options.issuer.cert);
      writeFileSync(join(folder, 'ca-key.pem'), options.issuer.key);
      issuer.splice(0, 2, '-CA', join(folder, 'ca.pem'), '-CAkey', join(folder, 'ca-key.pem'), '-CAcreateserial');
    }
    // openssl counts days from now, so one that has ended needs a negative count.
    const days = options.isExpired === true ? '-1' : '2';
    openssl(['x509', '-req', '-in', request, '-out', cert, '-days', days, '-extfile', extensions, ...issuer]);
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const openssl = (argv: readonly string[]) => execFileSync('openssl', argv, { stdio: 'pipe' });
