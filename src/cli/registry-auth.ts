import type { GlobalValues } from './command.ts';
import type { AuthConfig } from './local/credentials.ts';

/** The header that shows this user's credentials to the engine, for one request. */
export async function registryAuth(globals: GlobalValues, image: string): Promise<Record<string, string>> {
  const { authFor } = await import('./local/credentials.ts');
  return authHeader(await authFor(globals, image));
}

export function authHeader(auth: AuthConfig): Record<string, string> {
  return { 'x-registry-auth': Buffer.from(JSON.stringify(auth)).toString('base64url') };
}
