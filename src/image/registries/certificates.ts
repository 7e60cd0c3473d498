import { homedir } from 'node:os';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { isHost } from './registries-file.ts';
import { listFolder, readSmallFile } from './small-file.ts';

/** What a folder of certs.d holds for a host, in PEM. */
export interface HostCertificates {
  /** Authorities to trust beside the system's. */
  ca?: string[];
  /** Certificates to show, each with the key of the same place in `key`. */
  cert?: string[];
  key?: string[];
}

export interface CertificateOptions {
  home?: string;
  /** In place of `/`, for tests. */
  systemRoot?: string;
}

/**
 * Certificates of one host: the first folder `HOST[:PORT]` among ~/.config/containers/certs.d, /etc/containers/certs.d and
 * /etc/docker/certs.d. `*.crt` are authorities, `*.cert` and `*.key` of one name a pair.
 *
 * @throws {TareError} InvalidArgument: no host, a certificate without its key or the other way round, a file that is no PEM
 * @see containers-certs.d(5)
 */
export function tlsFor(domain: string, options: CertificateOptions = {}): HostCertificates {
  // Before it becomes a part of a path.
  if (!isHost(domain))
    throw new TareError('InvalidArgument', `invalid registry host ${JSON.stringify(domain.slice(0, 300))}`);
  const root = options.systemRoot ?? '/';
  const parents = [
    join(options.home ?? homedir(), '.config/containers'),
    join(root, 'etc/containers'),
    join(root, 'etc/docker'),
  ];
  for (const parent of parents) {
    const folder = join(parent, 'certs.d', domain);
    const names = listFolder(folder);
    if (names !== undefined) return certificatesIn(folder, names);
  }
  return {};
}

/**
 * Certificates of one folder that is laid out as those of certs.d are.
 *
 * @throws {TareError} NotFound: no such folder; InvalidArgument: as `tlsFor`
 */
export function certificatesOf(folder: string): HostCertificates {
  const names = listFolder(folder);
  if (names === undefined) throw new TareError('NotFound', `${folder}: no such folder of certificates`);
  return certificatesIn(folder, names);
}

function certificatesIn(folder: string, names: readonly string[]): HostCertificates {
  const pem = (name: string, what: string) => {
    const path = join(folder, name);
    const text = readSmallFile(path)?.toString() ?? '';
    if (!new RegExp(`^-----BEGIN (?:[A-Z0-9]+ )*${what}-----`, 'm').test(text))
      throw new TareError('InvalidArgument', `${path} holds no ${what.toLowerCase()} in PEM form`);
    return text;
  };
  const ca: string[] = [];
  const cert: string[] = [];
  const key: string[] = [];
  for (const name of names) {
    const stem = name.replace(/\.[^.]*$/, '');
    if (name.endsWith('.crt')) ca.push(pem(name, 'CERTIFICATE'));
    else if (name.endsWith('.cert')) {
      if (!names.includes(`${stem}.key`))
        throw new TareError(
          'InvalidArgument',
          `${join(folder, name)} is a client certificate and its key ${stem}.key is missing; an authority's certificate must be called ${stem}.crt`,
        );
      cert.push(pem(name, 'CERTIFICATE'));
      key.push(pem(`${stem}.key`, 'PRIVATE KEY'));
    } else if (name.endsWith('.key') && !names.includes(`${stem}.cert`))
      throw new TareError(
        'InvalidArgument',
        `${join(folder, name)} is a key and its certificate ${stem}.cert is missing`,
      );
  }
  return { ...(ca.length > 0 ? { ca } : {}), ...(cert.length > 0 ? { cert, key } : {}) };
}
