import type { Context } from './command.ts';
import type { AuthConfig } from './local/credentials.ts';

/** An image's name as this user's configuration understands it, and the header that shows this user's credentials for it. */
export async function askFor(
  context: Context,
  image: string,
): Promise<{ name: string; headers: Record<string, string> }> {
  const { askedImage } = await import('./local/credentials.ts');
  const { name, auth, warnings } = await askedImage(context.globals, image);
  if (context.globals.debug) for (const warning of warnings) context.err(`WARNING: ${warning}\n`);
  return { name, headers: authHeader(auth) };
}

export function authHeader(auth: AuthConfig): Record<string, string> {
  return { 'x-registry-auth': Buffer.from(JSON.stringify(auth)).toString('base64url') };
}
