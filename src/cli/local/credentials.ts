import {
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

/** The address of a registry as docker's client gives it. */
const addressOf = (host: string) => (host === 'docker.io' ? HUB_ADDRESS : host);

/**
 * This user's credentials for an image, or for a registry (`host[:port][/path]`).
 *
 * @param image a short name is looked up as the configuration says
 * @returns only the address when there are none
 */
export async function authFor(globals: GlobalValues, image: string, authFile?: string): Promise<AuthConfig> {
  const conf = loadRegistriesConf(configFrom(globals).registries);
  const { domain, path } = conf.candidates(image)[0]!;
  return await authOf(`${domain}/${path}`, conf.credentialHelpers, authFile);
}

/** The same for a registry as typed, '' for the default one. */
export async function authForRegistry(globals: GlobalValues, registry: string, authFile?: string): Promise<AuthConfig> {
  const conf = loadRegistriesConf(configFrom(globals).registries);
  return await authOf(parseScope(registry), conf.credentialHelpers, authFile);
}

async function authOf(scope: string, helpers: readonly string[], authFile?: string): Promise<AuthConfig> {
  const found = await openCredentials({ helpers, ...(authFile === undefined ? {} : { authFile }) })(scope);
  return {
    ...(found?.username === undefined ? {} : { username: found.username }),
    ...(found?.password === undefined ? {} : { password: found.password }),
    ...(found?.identityToken === undefined ? {} : { identitytoken: found.identityToken }),
    ...(found?.registryToken === undefined ? {} : { registrytoken: found.registryToken }),
    serveraddress: addressOf(scope.split('/', 1)[0]!),
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
