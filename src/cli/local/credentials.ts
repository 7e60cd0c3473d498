import {
  canonical,
  canonicalName,
  loadRegistriesConf,
  openCredentials,
  parseScope,
  removeLogin,
  removeLogins,
  type StoredLogin,
  storeLogin,
} from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { configFrom } from './open-engine.ts';

/** What the Docker API takes as credentials (AuthConfig). */
export interface AuthConfig {
  username?: string;
  password?: string;
  identitytoken?: string;
  registrytoken?: string;
  serveraddress?: string;
}

/** The registry that the Docker API means by docker.io. */
const HUB_ADDRESS = 'https://index.docker.io/v1/';

function address(scope: string): string {
  const host = scope.split('/', 1)[0]!;
  return host === 'docker.io' ? HUB_ADDRESS : host;
}

/** An image as the configuration of this user understands its name, and who asks for it. */
export interface AskedImage {
  /** The name in full, tag and digest with it; as typed when several registries come into question. */
  name: string;
  auth: AuthConfig;
  /** What nobody understood in the configuration. */
  warnings: readonly string[];
}

/**
 * Looks a short name up, and this user's credentials for what it stands for. Where a name may stand for several, none are given:
 * one registry's secret must not reach another.
 */
export async function askedImage(globals: GlobalValues, image: string): Promise<AskedImage> {
  const conf = loadRegistriesConf(configFrom(globals).registries);
  const [first, ...others] = conf.candidates(image);
  const { warnings } = conf;
  if (others.length > 0) return { name: image, auth: {}, warnings };
  return { name: canonical(first!), auth: await authOf(canonicalName(first!), conf.credentialHelpers), warnings };
}

/** The address of a registry as typed, '' for the default one, as docker's client gives it. */
export const addressOf = (registry: string): string => address(parseScope(registry));

/** This user's credentials for a registry as typed; empty when there are none. */
export async function authForRegistry(globals: GlobalValues, registry: string, authFile?: string): Promise<AuthConfig> {
  const conf = loadRegistriesConf(configFrom(globals).registries);
  return await authOf(parseScope(registry), conf.credentialHelpers, authFile);
}

/** The same for a login: a repository has none but its own, which a new login is to take the place of. */
export async function earlierLogin(globals: GlobalValues, registry: string, authFile?: string): Promise<AuthConfig> {
  return parseScope(registry).includes('/') ? {} : await authForRegistry(globals, registry, authFile);
}

async function authOf(scope: string, helpers: readonly string[], authFile?: string): Promise<AuthConfig> {
  const found = await openCredentials({ helpers, ...(authFile === undefined ? {} : { authFile }) })(scope);
  if (found === undefined) return {};
  return {
    ...(found.username === undefined ? {} : { username: found.username }),
    ...(found.password === undefined ? {} : { password: found.password }),
    ...(found.identityToken === undefined ? {} : { identitytoken: found.identityToken }),
    ...(found.registryToken === undefined ? {} : { registrytoken: found.registryToken }),
    serveraddress: address(scope),
  };
}

/** Keeps a login that the registry accepted. */
export async function keepLogin(registry: string, auth: AuthConfig, authFile?: string): Promise<StoredLogin> {
  const { username, password, identitytoken } = auth;
  return await storeLogin(
    registry,
    {
      ...(username === undefined ? {} : { username }),
      ...(identitytoken ? { identityToken: identitytoken } : password === undefined ? {} : { password }),
    },
    authFile === undefined ? {} : { authFile },
  );
}

/** @returns the files that had it */
export async function forgetLogin(registry: string, authFile?: string): Promise<string[]> {
  return await removeLogin(registry, authFile === undefined ? {} : { authFile });
}

/** @returns the files that had any */
export async function forgetLogins(authFile?: string): Promise<string[]> {
  return await removeLogins(authFile === undefined ? {} : { authFile });
}
