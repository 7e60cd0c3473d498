import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { messageOf, TareError } from '../../errors/index.ts';
import { SignaturePolicy } from './signature-policy.ts';

const SYSTEM_POLICY = '/etc/containers/policy.json';
const USER_POLICY = '.config/containers/policy.json';

/**
 * The policy file that is in force: the configured one, the user's, or the system's.
 * @returns undefined: there is none, so everything is accepted
 */
export function findPolicyFile(configured?: string, home: string = homedir()): string | undefined {
  if (configured !== undefined) return configured;
  return [join(home, USER_POLICY), SYSTEM_POLICY].find((path) => existsSync(path));
}

/**
 * Reads a policy. It is read at every use, as other tools do, so that a change counts at once in every process.
 * @throws {TareError} InvalidArgument: what is wrong with it; NotFound: the configured file is not there
 */
export function readPolicy(path: string): SignaturePolicy {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const kind = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'NotFound' : 'InvalidArgument';
    throw new TareError(kind, `signature policy ${path}: ${messageOf(cause)}`, { cause });
  }
  return SignaturePolicy.parse(bytes, path);
}
