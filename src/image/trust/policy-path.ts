import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const SYSTEM_POLICY = '/etc/containers/policy.json';
const USER_POLICY = '.config/containers/policy.json';

/**
 * The signature policy that is in force: the configured file, the user's, or the system's. Two looks at the disk; what
 * reads policies is loaded only when there is one.
 *
 * @returns undefined: there is none, so everything is accepted
 */
export function findPolicyFile(configured?: string, home: string = homedir()): string | undefined {
  if (configured !== undefined) return configured;
  return [join(home, USER_POLICY), SYSTEM_POLICY].find((path) => existsSync(path));
}
