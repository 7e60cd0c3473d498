import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { TareError } from '../../errors/index.ts';
import type { SecretEnv } from '../../protocol/index.ts';
import { firstSession } from '../first-session.ts';
import type { BuildSession } from '../session.ts';

type Sessions = () => readonly BuildSession[];

/** @throws {TareError} NotFound, in BuildKit's words, unless it is optional */
async function secretOf(sessions: Sessions, id: string, isOptional: boolean): Promise<Uint8Array | undefined> {
  const bytes = await firstSession(sessions(), (session) => session.secret(id));
  if (bytes === undefined && !isOptional) {
    throw new TareError('NotFound', `secret ${id}: not found: give it to the build with --secret id=${id},src=FILE`);
  }
  return bytes;
}

/**
 * Writes a secret to a file in memory.
 * @returns false: the client has none, and it is optional
 */
export async function writeSecret(
  sessions: Sessions,
  secret: { ID: string; uid: number; gid: number; mode: number; optional: boolean },
  path: string,
): Promise<boolean> {
  const bytes = await secretOf(sessions, secret.ID, secret.optional);
  if (bytes === undefined) return false;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, bytes, { mode: 0o600 });
  chmodSync(path, secret.mode & 0o777);
  chownSync(path, secret.uid, secret.gid);
  return true;
}

/** Variables that hold secrets. */
export async function secretVariables(sessions: Sessions, wanted: readonly SecretEnv[]): Promise<string[]> {
  const variables: string[] = [];
  for (const { ID, name, optional } of wanted) {
    const bytes = await secretOf(sessions, ID, optional);
    if (bytes === undefined) continue;
    if (bytes.includes(0)) {
      throw new TareError(
        'InvalidArgument',
        `secret ${ID} has a NUL byte: mount it as a file instead of variable ${name}`,
      );
    }
    variables.push(`${name}=${Buffer.from(bytes).toString('utf8')}`);
  }
  return variables;
}
