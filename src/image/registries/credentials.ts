import { TareError } from '../../errors/index.ts';
import type { CredentialSource, Credentials } from '../registry/registry.ts';
import {
  type CredentialFile,
  type CredentialPlaces,
  credentialPaths,
  DOCKER_HUB_KEY,
  decodeEntry,
  keysOf,
  normalScope,
  readCredentialFile,
  widerScopes,
} from './credential-file.ts';
import { credentialHelper } from './credential-helper.ts';

export interface CredentialOptions extends CredentialPlaces {
  /** `credential-helpers` of registries.conf, in order; `containers-auth.json` stands for the files. */
  helpers?: readonly string[];
}

const FILES = 'containers-auth.json';

/**
 * Credentials of the user whose process this is, read anew for every question: from the files in order, in each the most specific
 * scope first, from a helper where the file names one.
 *
 * @throws {TareError} from the source: InvalidArgument: a file that is wrong; Unavailable, NotFound: a helper that fails
 */
export function openCredentials(options: CredentialOptions = {}): CredentialSource {
  const order = options.helpers && options.helpers.length > 0 ? options.helpers : [FILES];
  return async (scope) => {
    for (const name of order) {
      const found = name === FILES ? await fromFiles(scope, options) : await fromHelper(name, scope, options);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

async function fromFiles(scope: string, options: CredentialOptions): Promise<Credentials | undefined> {
  for (const path of credentialPaths(options)) {
    const file = readCredentialFile(path);
    const found = file && (await credentialsIn(file, scope, options.env));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What one file, or a helper that it names, has for a scope or a wider one. */
export async function credentialsIn(
  file: CredentialFile,
  scope: string,
  env?: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  for (const wider of widerScopes(normalScope(scope))) {
    for (const key of keysOf(file.credHelpers, wider)) {
      const found = await askHelper(file.credHelpers.get(key)!, wider, env);
      if (found !== undefined) return found;
    }
    for (const key of keysOf(file.auths, wider)) {
      const found = decodeEntry(file.auths.get(key)!, `${file.path}: auths: ${key}`);
      if (found !== undefined) return found;
    }
  }
  const [host] = normalScope(scope).split('/');
  return file.credsStore === undefined ? undefined : await askHelper(file.credsStore, host!, env);
}

async function fromHelper(name: string, scope: string, options: CredentialOptions): Promise<Credentials | undefined> {
  for (const wider of widerScopes(normalScope(scope))) {
    const found = await askHelper(name, wider, options.env);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Names under which helpers may keep a server: docker's for its own registry first. */
export const helperKeys = (scope: string): string[] =>
  scope === 'docker.io' ? [DOCKER_HUB_KEY, 'docker.io'] : [scope];

async function askHelper(name: string, scope: string, env?: NodeJS.ProcessEnv): Promise<Credentials | undefined> {
  const helper = credentialHelper(name, env);
  for (const key of helperKeys(scope)) {
    const found = await helper.get(key);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * `user` or a registry's address as typed, as a scope.
 * @throws {TareError} InvalidArgument: no host, or a path with `..`
 */
export function parseScope(text: string): string {
  const scope = text === '' ? 'docker.io' : normalScope(text);
  const [host, ...path] = scope.split('/');
  const isPlain = path.every((part) => /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*$/.test(part));
  if (!/^(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/.test(host!) || scope.length > 500 || !isPlain)
    throw new TareError(
      'InvalidArgument',
      `invalid registry ${JSON.stringify(text.slice(0, 200))}: want HOST[:PORT][/REPOSITORY]`,
    );
  return scope;
}
