import { homedir } from 'node:os';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { type Foreign, objectAt, optional, parseJson, textAt } from '../json.ts';
import type { Credentials } from '../registry/registry.ts';
import { MAX_FILE_BYTES, readSmallFile } from './small-file.ts';

/** Where a user's credentials lie. */
export interface CredentialPlaces {
  /** The only file that is read and written; without it $REGISTRY_AUTH_FILE, then the usual places. */
  authFile?: string;
  env?: NodeJS.ProcessEnv;
  home?: string;
  uid?: number;
}

/** One file of credentials, as it is. */
export interface CredentialFile {
  path: string;
  /** Every key of the file, for writing it back. */
  document: Foreign;
  /** Registry or repository → entry, in the file's own spelling. */
  auths: ReadonlyMap<string, Foreign>;
  credHelpers: ReadonlyMap<string, string>;
  credsStore: string | undefined;
}

/** Files in the order in which they are asked (containers-auth.json(5)), docker's after the others. */
export function credentialPaths(places: CredentialPlaces = {}): string[] {
  const env = places.env ?? process.env;
  const only = places.authFile || env['REGISTRY_AUTH_FILE'];
  if (only) return [only];
  const home = places.home ?? homedir();
  const runtime = env['XDG_RUNTIME_DIR'];
  const uid = places.uid ?? process.getuid!();
  return [
    runtime ? join(runtime, 'containers/auth.json') : `/run/containers/${uid}/auth.json`,
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers/auth.json'),
    dockerConfigPath(places),
    join(home, '.dockercfg'),
  ];
}

/** Docker's own file, which a login writes unless another is named. */
export function dockerConfigPath(places: CredentialPlaces = {}): string {
  const env = places.env ?? process.env;
  return join(env['DOCKER_CONFIG'] || join(places.home ?? homedir(), '.docker'), 'config.json');
}

/** @throws {TareError} InvalidArgument: not JSON of this form, or over 1 MiB; Forbidden: not readable */
export function readCredentialFile(path: string): CredentialFile | undefined {
  const bytes = readSmallFile(path);
  if (bytes === undefined) return undefined;
  // podman makes such a file before it writes to it.
  const document = bytes.toString().trim() === '' ? {} : objectAt(parseJson(bytes, path, MAX_FILE_BYTES), path);
  const isLegacy = path.endsWith('/.dockercfg');
  const auths = isLegacy ? document : (optional(document['auths'], `${path}: auths`, objectAt) ?? {});
  const helpers = isLegacy ? {} : (optional(document['credHelpers'], `${path}: credHelpers`, objectAt) ?? {});
  return {
    path,
    document,
    auths: new Map(Object.entries(auths).map(([key, entry]) => [key, objectAt(entry ?? {}, `${path}: auths: ${key}`)])),
    credHelpers: new Map(
      Object.entries(helpers).map(([key, name]) => [key, textAt(name, `${path}: credHelpers: ${key}`)]),
    ),
    credsStore: isLegacy ? undefined : optional(document['credsStore'], `${path}: credsStore`, textAt) || undefined,
  };
}

/** Docker's name of its own registry in files and for helpers. */
export const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

/** `host[:port][/path]` in one spelling: docker.io has several names, and of a URL only the host counts, for its path is an API's. */
export function normalScope(text: string): string {
  const bare = text.replace(/^https?:\/\//, '');
  const [host = '', ...rest] = bare.split('/').filter((part, index) => index === 0 || part !== '');
  const domain = /^(?:index\.docker\.io|registry-1\.docker\.io|docker\.io)$/.test(host) ? 'docker.io' : host;
  const isApi = bare !== text || (domain === 'docker.io' && rest.join('/') === 'v1');
  return isApi ? domain : [domain, ...rest].join('/');
}

/** `a/b/c`, then `a/b`, then `a`. */
export function widerScopes(scope: string): string[] {
  const parts = scope.split('/');
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

/** Entries that belong to a scope, the file's exact spelling first. */
export function keysOf(map: ReadonlyMap<string, unknown>, scope: string): string[] {
  return [...map.keys()]
    .filter((key) => key === scope || normalScope(key) === scope)
    .sort((a, b) => Number(b === scope) - Number(a === scope));
}

/**
 * What an entry of `auths` says; undefined: nothing, as docker leaves it where a store has the secret.
 * @throws {TareError} InvalidArgument: `auth` is not USER:PASSWORD in base64. The message does not show it.
 */
export function decodeEntry(entry: Foreign, where: string): Credentials | undefined {
  const field = (name: string) => optional(entry[name], `${where}: ${name}`, textAt) || undefined;
  const credentials: Credentials = {};
  const auth = field('auth');
  if (auth !== undefined) {
    const text = Buffer.from(auth, 'base64').toString();
    const colon = text.indexOf(':');
    if (colon <= 0) throw new TareError('InvalidArgument', `${where}: auth is not USER:PASSWORD in base64`);
    credentials.username = text.slice(0, colon);
    // Docker's first versions padded it with NULs.
    credentials.password = text.slice(colon + 1).split('\0', 1)[0]!;
  } else {
    const username = field('username');
    const password = field('password');
    if (username !== undefined) credentials.username = username;
    if (password !== undefined) credentials.password = password;
  }
  const identityToken = field('identitytoken');
  const registryToken = field('registrytoken');
  if (identityToken !== undefined) {
    credentials.identityToken = identityToken;
    delete credentials.password;
  }
  if (registryToken !== undefined) credentials.registryToken = registryToken;
  return Object.keys(credentials).length === 0 ? undefined : credentials;
}

/** An entry of `auths` for credentials. */
export function encodeEntry(credentials: Credentials): Foreign {
  const { username = '', password = '', identityToken, registryToken } = credentials;
  return {
    ...(username === ''
      ? {}
      : { auth: Buffer.from(`${username}:${identityToken === undefined ? password : ''}`).toString('base64') }),
    ...(identityToken === undefined ? {} : { identitytoken: identityToken }),
    ...(registryToken === undefined ? {} : { registrytoken: registryToken }),
  };
}
