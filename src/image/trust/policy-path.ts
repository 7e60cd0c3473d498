import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const SYSTEM_POLICY = '/etc/containers/policy.json';
const USER_POLICY = '.config/containers/policy.json';

/**
 * The signature policy that is in force: the configured file, the user's, or the system's.
 * @returns undefined: there is none, so everything is accepted
 */
export function findPolicyFile(configured?: string, home: string = homedir()): string | undefined {
  return configured ?? [join(home, USER_POLICY), SYSTEM_POLICY].find((path) => existsSync(path));
}

/** What distributions install, however it is laid out. */
const everything = /^\s*\{\s*"default"\s*:\s*\[\s*\{\s*"type"\s*:\s*"insecureAcceptAnything"\s*\}\s*\]\s*\}\s*$/;
const MAX_TRIVIAL_BYTES = 1024;

/**
 * Whether a policy is the one that accepts everything, told without loading what understands policies: most machines have
 * this one, and it is asked before every start.
 */
export function acceptsEverything(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile() || stat.size > MAX_TRIVIAL_BYTES) return false;
  try {
    return everything.test(readFileSync(path, 'latin1'));
  } catch {
    // Its reader says what is wrong with it.
    return false;
  }
}
