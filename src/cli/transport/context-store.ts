import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { messageOf, TareError } from '../../errors/index.ts';
import type { ClientTls } from './client-tls.ts';

/** A daemon as docker's client keeps it under a name (`docker context create`). */
export interface StoredContext {
  host: string;
  tls?: ClientTls;
}

/**
 * Reads a context from docker's store.
 * @throws {TareError} NotFound: no context has the name; InvalidArgument: its file is not docker's
 */
export function readContext(name: string, env: NodeJS.ProcessEnv): StoredContext {
  const folder = join(env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker'), 'contexts');
  const id = createHash('sha256').update(name).digest('hex');
  const file = join(folder, 'meta', id, 'meta.json');
  if (!existsSync(file))
    throw new TareError(
      'NotFound',
      `context ${JSON.stringify(name)}: ${file} is not there: make it with docker context create`,
    );
  try {
    const { Endpoints } = JSON.parse(readFileSync(file, 'utf8')) as {
      Endpoints: Record<string, { Host?: string; SkipTLSVerify?: boolean } | undefined>;
    };
    const endpoint = Endpoints['docker'];
    if (!endpoint?.Host) throw new Error('it names no docker host');
    const stored = join(folder, 'tls', id, 'docker');
    const read = (pem: string) => (existsSync(join(stored, pem)) ? readFileSync(join(stored, pem)) : undefined);
    const [ca, cert, key] = [read('ca.pem'), read('cert.pem'), read('key.pem')];
    const skips = endpoint.SkipTLSVerify === true;
    if (ca === undefined && cert === undefined && !skips) return { host: endpoint.Host };
    return {
      host: endpoint.Host,
      tls: { verifies: !skips, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    };
  } catch (cause) {
    throw new TareError('InvalidArgument', `context ${JSON.stringify(name)}: ${file}: ${messageOf(cause)}`, { cause });
  }
}
