import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { messageOf, TareError } from '../../../errors/index.ts';

/** Files in PEM form. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Whose certificates clients must have; undefined: any client may come. */
  ca?: string;
}

/** A server's side of TLS, as it was read from its files. */
export interface TlsOptions extends Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'minVersion'> {
  /** Names and addresses that the certificate is for. */
  names: string[];
  verifiesClients: boolean;
}

/**
 * Reads a server's certificate, its key, and the authority of its clients.
 * @throws {TareError} InvalidArgument: a file that cannot be read, or that do not belong together
 */
export function readTls(files: TlsFiles): TlsOptions {
  const cert = readPem(files.cert, 'certificate');
  const key = readPem(files.key, 'key');
  const ca = files.ca === undefined ? undefined : readPem(files.ca, 'certificate of the authority');
  const material = { cert, key, ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' as const };
  try {
    createSecureContext(material);
    const own = new X509Certificate(cert);
    if (ca !== undefined) new X509Certificate(ca);
    return { ...material, names: namesOf(own), verifiesClients: ca !== undefined };
  } catch (cause) {
    const all = [files.cert, files.key, ...(files.ca === undefined ? [] : [files.ca])].join(', ');
    throw new TareError('InvalidArgument', `TLS: ${messageOf(cause)} (of ${all})`, { cause });
  }
}

function readPem(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new TareError('InvalidArgument', `TLS: cannot read the ${what}: ${messageOf(cause)}`, { cause });
  }
}

function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  return [...subjectAltName.matchAll(/(?:DNS|IP Address):([^\s,"]+)/g)].map(([, name]) => name!.toLowerCase());
}
