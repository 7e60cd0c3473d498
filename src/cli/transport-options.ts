import { UsageError } from './grammar/usage-error.ts';
import type { Options, Values } from './option.ts';

/** How a registry is reached, in words that every command about remote images knows. */
export const accessOptions = {
  authfile: { type: 'string', help: 'Path of the authentication file', completes: 'files' },
  'cert-dir': {
    type: 'string',
    help: 'Folder with certificates (*.crt, *.cert, *.key) for the registry',
    completes: 'directories',
  },
  creds: { type: 'string', value: 'USERNAME[:PASSWORD]', help: 'Credentials for the registry' },
  'no-creds': { type: 'bool', help: 'Access the registry anonymously' },
  password: { type: 'string', help: 'Password for the registry' },
  'registry-token': { type: 'string', help: 'Bearer token for the registry' },
  'retry-times': { type: 'int', help: 'How often to try again what may pass', default: 0 },
  'tls-verify': { type: 'bool', help: 'Require HTTPS and verify certificates', default: true },
  username: { type: 'string', help: 'User name for the registry' },
} as const satisfies Options;

/** The same for the side that a copy reads from. */
const sourceOptions = {
  'src-authfile': { type: 'string', help: 'Authentication file for the source', completes: 'files' },
  'src-cert-dir': {
    type: 'string',
    help: 'Folder with certificates (*.crt, *.cert, *.key) for the source registry',
    completes: 'directories',
  },
  'src-creds': { type: 'string', value: 'USERNAME[:PASSWORD]', help: 'Credentials for the source registry' },
  'src-no-creds': { type: 'bool', help: 'Access the source registry anonymously' },
  'src-password': { type: 'string', help: 'Password for the source registry' },
  'src-registry-token': { type: 'string', help: 'Bearer token for the source registry' },
  'src-tls-verify': { type: 'bool', help: 'Require HTTPS and verify certificates of the source', default: true },
  'src-username': { type: 'string', help: 'User name for the source registry' },
} as const satisfies Options;

/** And for the side that it writes to. */
const destinationOptions = {
  'dest-authfile': { type: 'string', help: 'Authentication file for the destination', completes: 'files' },
  'dest-cert-dir': {
    type: 'string',
    help: 'Folder with certificates (*.crt, *.cert, *.key) for the destination registry',
    completes: 'directories',
  },
  'dest-creds': { type: 'string', value: 'USERNAME[:PASSWORD]', help: 'Credentials for the destination registry' },
  'dest-no-creds': { type: 'bool', help: 'Access the destination registry anonymously' },
  'dest-password': { type: 'string', help: 'Password for the destination registry' },
  'dest-registry-token': { type: 'string', help: 'Bearer token for the destination registry' },
  'dest-tls-verify': { type: 'bool', help: 'Require HTTPS and verify certificates of the destination', default: true },
  'dest-username': { type: 'string', help: 'User name for the destination registry' },
} as const satisfies Options;

/** What every command that copies knows. */
export const copyOptions = {
  ...sourceOptions,
  ...destinationOptions,
  authfile: accessOptions.authfile,
  'preserve-digests': { type: 'bool', help: 'Fail rather than change a digest' },
  quiet: { type: 'bool', short: 'q', help: 'Print nothing but errors' },
  'remove-signatures': { type: 'bool', help: 'Leave signatures of SOURCE behind' },
  'retry-times': accessOptions['retry-times'],
} as const satisfies Options;

/** Which platform is meant; skopeo's spelling of it too. */
export const platformOptions = {
  'override-arch': { type: 'string', help: 'Use ARCH instead of the architecture of the machine for choosing images' },
  'override-os': { type: 'string', help: 'Use OS instead of the running one for choosing images' },
  'override-variant': { type: 'string', help: 'Use VARIANT instead of the running architecture variant' },
  platform: { type: 'string', value: 'os[/arch[/variant]]', help: 'The platform to choose of several' },
} as const satisfies Options;

/** How to reach one registry. */
export interface Access {
  credentials?: { username?: string; password?: string; registryToken?: string };
  anonymous?: boolean;
  tlsVerify?: boolean;
  authFile?: string;
  certDir?: string;
  /** Ask the URLs of layers that the registry does not hold. */
  allowForeign?: boolean;
}

/**
 * How a command line wants a registry reached.
 *
 * @param prefix `src-`, `dest-` or nothing
 * @param authFile for both sides of a copy; a side's own counts more
 * @throws {UsageError} options that contradict each other
 */
export function accessFrom(
  options: Readonly<Record<string, unknown>>,
  prefix: '' | 'src-' | 'dest-',
  authFile?: string,
): Access {
  const text = (name: string) => options[`${prefix}${name}`] as string | undefined;
  const [creds, username, password, token] = [
    text('creds'),
    text('username'),
    text('password'),
    text('registry-token'),
  ];
  const isAnonymous = options[`${prefix}no-creds`] === true;
  const given = [creds, username ?? password, token].filter((value) => value !== undefined).length;
  if (given + (isAnonymous ? 1 : 0) > 1) {
    throw new UsageError(
      `--${prefix}creds, --${prefix}username, --${prefix}registry-token and --${prefix}no-creds exclude each other`,
    );
  }
  if ((username === undefined) !== (password === undefined)) {
    throw new UsageError(`--${prefix}username and --${prefix}password go together`);
  }
  const file = text('authfile') ?? authFile;
  const certDir = text('cert-dir');
  const credentials = credentialsFrom(creds, username, password, token);
  return {
    ...(credentials === undefined ? {} : { credentials }),
    ...(isAnonymous ? { anonymous: true } : {}),
    ...(options[`${prefix}tls-verify`] === false ? { tlsVerify: false } : {}),
    ...(file === undefined ? {} : { authFile: file }),
    ...(certDir === undefined ? {} : { certDir }),
  };
}

function credentialsFrom(
  creds: string | undefined,
  username: string | undefined,
  password: string | undefined,
  token: string | undefined,
): Access['credentials'] {
  if (token !== undefined) return { registryToken: token };
  if (username !== undefined && password !== undefined) return { username, password };
  if (creds === undefined) return undefined;
  const colon = creds.indexOf(':');
  if (colon === 0 || creds === '') throw new UsageError('credentials: want USERNAME[:PASSWORD]');
  return colon < 0
    ? { username: creds, password: '' }
    : { username: creds.slice(0, colon), password: creds.slice(colon + 1) };
}

/** `os/arch/variant`, or undefined for the machine's own. @throws {UsageError} two ways of saying it */
export function platformFrom(options: Values<typeof platformOptions>): string | undefined {
  const { platform, 'override-os': os, 'override-arch': arch, 'override-variant': variant } = options;
  if (os === undefined && arch === undefined && variant === undefined) return platform;
  if (platform !== undefined) throw new UsageError('--platform and --override-os/arch/variant exclude each other');
  if (variant !== undefined && arch === undefined) throw new UsageError('--override-variant needs --override-arch');
  return [os ?? 'linux', ...(arch === undefined ? [] : [arch]), ...(variant === undefined ? [] : [variant])].join('/');
}
