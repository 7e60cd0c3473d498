import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { messageOf, TareError } from '../../errors/index.ts';
import type { TlsValues } from '../tls-options.ts';

/** The client's side of TLS, in PEM form. */
export interface ClientTls {
  /** Who must have signed the daemon's certificate; undefined: the system's authorities. */
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
  /** False: any certificate will do. */
  verifies: boolean;
}

/**
 * How docker's flags and environment want a daemon on TCP reached: `--tls`, `--tlsverify` or DOCKER_TLS_VERIFY, files in
 * DOCKER_CERT_PATH or docker's configuration folder unless they are named.
 *
 * @returns undefined: without TLS
 * @throws {TareError} InvalidArgument: a file that was named and cannot be read
 */
export function clientTls(flags: TlsValues, env: NodeJS.ProcessEnv): ClientTls | undefined {
  const verifies = flags.tlsverify || (env['DOCKER_TLS_VERIFY'] ?? '') !== '' || (env['TARE_TLS_VERIFY'] ?? '') !== '';
  if (!verifies && !flags.tls) return undefined;
  const folder =
    env['TARE_CERT_PATH'] ||
    env['DOCKER_CERT_PATH'] ||
    env['DOCKER_CONFIG'] ||
    join(env['HOME'] || homedir(), '.docker');
  const ca = verifies ? readOf(flags.tlscacert, join(folder, 'ca.pem')) : undefined;
  const cert = readOf(flags.tlscert, join(folder, 'cert.pem'));
  const key = readOf(flags.tlskey, join(folder, 'key.pem'));
  if ((cert === undefined) !== (key === undefined))
    throw new TareError('InvalidArgument', 'TLS: a certificate needs its key, and a key its certificate: give both');
  return { verifies, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/** A file that was not named may be missing. */
function readOf(named: string | undefined, usual: string): Buffer | undefined {
  const path = named ?? usual;
  if (named === undefined && !existsSync(path)) return undefined;
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new TareError('InvalidArgument', `TLS: cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}
