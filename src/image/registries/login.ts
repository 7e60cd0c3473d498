import {
  closeSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf, TareError } from '../../errors/index.ts';
import type { Foreign } from '../json.ts';
import type { Credentials } from '../registry/registry.ts';
import {
  type CredentialFile,
  type CredentialPlaces,
  credentialPaths,
  DOCKER_HUB_KEY,
  dockerConfigPath,
  encodeEntry,
  keysOf,
  normalScope,
  readCredentialFile,
} from './credential-file.ts';
import { credentialHelper } from './credential-helper.ts';
import { credentialsIn, helperKeys, parseScope } from './credentials.ts';

/** Where a login was kept. */
export interface StoredLogin {
  path: string;
  /** The program that has the secret; undefined: the file itself. */
  helper?: string;
  /** A file with other credentials for this scope that is asked before. */
  shadowedBy?: string;
}

const target = (places: CredentialPlaces) =>
  places.authFile || (places.env ?? process.env)['REGISTRY_AUTH_FILE'] || dockerConfigPath(places);

const empty = (path: string): CredentialFile => ({
  path,
  document: {},
  auths: new Map(),
  credHelpers: new Map(),
  credsStore: undefined,
});

/** The name under which the file's own tools look: docker has an old one for its own registry. */
const keyOf = (scope: string, path: string) =>
  scope === 'docker.io' && path.endsWith('/config.json') ? DOCKER_HUB_KEY : scope;

/**
 * Keeps credentials where this user's tools find them: the file that `authFile` or $REGISTRY_AUTH_FILE names, else docker's; in the
 * helper if that file has one for the scope. All else in the file stays as it is.
 *
 * @param scope `host[:port][/path]`
 */
export async function storeLogin(
  scope: string,
  credentials: Credentials,
  places: CredentialPlaces = {},
): Promise<StoredLogin> {
  const path = target(places);
  const wanted = parseScope(scope);
  const helper = helperFor(readCredentialFile(path) ?? empty(path), wanted);
  if (helper !== undefined) await credentialHelper(helper, places.env).store(keyOf(wanted, path), credentials);
  // Read again: a helper may have asked its user, and another login may have come meanwhile.
  const file = readCredentialFile(path) ?? empty(path);
  const auths = new Map(file.auths);
  for (const key of keysOf(auths, wanted)) auths.delete(key);
  auths.set(keyOf(wanted, path), helper === undefined ? encodeEntry(credentials) : {});
  publish(path, { ...file.document, auths: Object.fromEntries(auths) });
  const shadowedBy = await earlier(path, wanted, places);
  return { path, ...(helper === undefined ? {} : { helper }), ...(shadowedBy === undefined ? {} : { shadowedBy }) };
}

/** @returns the files that had credentials for this scope and no longer do */
export async function removeLogin(scope: string, places: CredentialPlaces = {}): Promise<string[]> {
  const wanted = parseScope(scope);
  return await removeWhere(places, (key) => normalScope(key) === wanted, [wanted]);
}

/** @returns the files that had credentials and no longer do */
export async function removeLogins(places: CredentialPlaces = {}): Promise<string[]> {
  return await removeWhere(places, () => true);
}

async function removeWhere(
  places: CredentialPlaces,
  isWanted: (key: string) => boolean,
  always: string[] = [],
): Promise<string[]> {
  const changed: string[] = [];
  for (const path of credentialPaths(places)) {
    const file = readCredentialFile(path);
    if (file === undefined) continue;
    const keys = [...file.auths.keys()].filter(isWanted);
    const helped = [...file.credHelpers].filter(([key]) => isWanted(key));
    let erased = false;
    for (const [key, name] of helped) erased = (await erase(name, normalScope(key), places)) || erased;
    if (file.credsStore !== undefined)
      for (const scope of new Set([...keys.map(normalScope), ...always]))
        erased = (await erase(file.credsStore, scope, places)) || erased;
    if (keys.length > 0) {
      const rest = Object.fromEntries([...file.auths].filter(([key]) => !keys.includes(key)));
      publish(path, path.endsWith('/.dockercfg') ? rest : { ...file.document, auths: rest });
    }
    if (keys.length > 0 || erased) changed.push(path);
  }
  return changed;
}

/** @returns whether the helper had it */
async function erase(name: string, scope: string, places: CredentialPlaces): Promise<boolean> {
  const helper = credentialHelper(name, places.env);
  let had = false;
  for (const key of helperKeys(scope)) {
    if ((await helper.get(key)) === undefined) continue;
    await helper.erase(key);
    had = true;
  }
  return had;
}

function helperFor(file: CredentialFile, scope: string): string | undefined {
  const [key] = keysOf(file.credHelpers, scope);
  return key === undefined ? file.credsStore : file.credHelpers.get(key);
}

async function earlier(own: string, scope: string, places: CredentialPlaces): Promise<string | undefined> {
  for (const path of credentialPaths(places)) {
    if (path === own) return undefined;
    const file = readCredentialFile(path);
    if (file && (await credentialsIn(file, scope, places.env)) !== undefined) return path;
  }
  return undefined;
}

/** Replaces a file in one step: whoever reads sees the old one or the new one, also after power loss. */
function publish(path: string, document: Foreign): void {
  let fresh: string | undefined;
  try {
    // The file itself may be a link into a folder of settings that is kept elsewhere.
    const place = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? realpathSync(path) : path;
    const folder = dirname(place);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Not random: node:crypto would cost every pull four milliseconds, and nobody else writes here.
    fresh = join(folder, `.${process.pid}-${Date.now().toString(36)}.tmp`);
    const descriptor = openSync(fresh, 'wx', 0o600);
    try {
      const before = statSync(place, { throwIfNoEntry: false });
      // Run by root for somebody else, it must stay theirs.
      if (before !== undefined && before.uid !== process.getuid!()) fchownSync(descriptor, before.uid, before.gid);
      writeFileSync(descriptor, `${JSON.stringify(document, undefined, '\t')}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(fresh, place);
    const parent = openSync(folder, 'r');
    try {
      fsyncSync(parent);
    } finally {
      closeSync(parent);
    }
  } catch (cause) {
    if (fresh !== undefined) rmSync(fresh, { force: true });
    throw new TareError('Internal', `cannot write ${path}: ${messageOf(cause)}`, { cause });
  }
}
