import type { RegistryOptions } from '../../../engine/index.ts';

type Credentials = NonNullable<RegistryOptions['credentials']>;

/** Docker's AuthConfig, as far as it is text. */
interface AuthConfig {
  username?: unknown;
  password?: unknown;
  auth?: unknown;
  identitytoken?: unknown;
  registrytoken?: unknown;
}

/**
 * Credentials of the header `X-Registry-Auth`: an AuthConfig in JSON, base64url.
 *
 * @returns undefined: none, or a header that cannot be read, which docker takes for none as well
 */
export function registryAuth(header: string | undefined): Credentials | undefined {
  if (header === undefined || header === '') return undefined;
  try {
    return credentialsOf(JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as AuthConfig);
  } catch {
    return undefined;
  }
}

/** undefined: it says nothing of who asks. */
export function credentialsOf(auth: AuthConfig | null): Credentials | undefined {
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  const identityToken = text(auth?.identitytoken);
  const registryToken = text(auth?.registrytoken);
  const [oldUsername, oldPassword] = splitOnce(Buffer.from(text(auth?.auth) ?? '', 'base64').toString('utf8'));
  const username = text(auth?.username) ?? oldUsername;
  const password = text(auth?.password) ?? oldPassword;
  if (registryToken !== undefined) return { registryToken };
  if (identityToken !== undefined) return { identityToken, ...(username === undefined ? {} : { username }) };
  if (username === undefined || password === undefined) return undefined;
  return { username, password };
}

function splitOnce(text: string): [string | undefined, string | undefined] {
  const colon = text.indexOf(':');
  return colon < 0 ? [undefined, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}

/**
 * The registry that a client means by an address: `https://index.docker.io/v1/` and '' are docker.io.
 * @returns HOST[:PORT]
 */
export function registryDomain(address: string): string {
  const host = address.replace(/^https?:\/\//, '').split('/', 1)[0]!;
  return ['', 'index.docker.io', 'registry-1.docker.io'].includes(host) ? 'docker.io' : host;
}
