import { TareError } from '../../errors/index.ts';
import { parseGoBoolean } from '../../image/index.ts';
import * as llb from '../llb/index.ts';
import { withoutPasswords } from '../without-passwords.ts';

/** A repository, and what of it, as one address says it: `https://host/a.git?tag=v1#ref:folder`. */
export interface GitAddress {
  remote: { url: string; host: string; path: string; isSsh: boolean };
  ref: string | undefined;
  subdirectory: string | undefined;
  checksum: string | undefined;
  keepsGitDirectory: boolean | undefined;
  withSubmodules: boolean | undefined;
  /** `github.com/a/b`: it could be a folder's path as well. */
  couldBePath: boolean;
}

const invalid = (address: string, message: string) =>
  new TareError('InvalidArgument', `git address ${withoutPasswords(address)}: ${message}`);

const scpPattern = /^([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s;

/**
 * @returns undefined: the text names no repository; an address over HTTP names one if its path ends in `.git`
 * @throws {TareError} InvalidArgument: it does, but its query contradicts itself or is unknown
 * @see https://docs.docker.com/build/concepts/context/#git-repositories
 */
export function parseGitAddress(text: string): GitAddress | undefined {
  if (text.startsWith('./') || text.startsWith('../') || text.includes('\0')) return undefined;
  const couldBePath = text.startsWith('github.com/');
  const full = couldBePath ? `https://${text}` : text;
  const found = /^(https?|git|ssh):\/\//i.test(full) ? fromUrl(full, couldBePath) : fromScp(full);
  if (found === undefined) return undefined;
  const { remote, query, fragment } = found;
  const [, ref = '', subdirectory = ''] = /^([^:]*)(?::(.*))?$/s.exec(fragment) ?? [];
  const address: GitAddress = {
    remote,
    ref: ref || undefined,
    subdirectory: subdirectory || undefined,
    checksum: undefined,
    keepsGitDirectory: undefined,
    withSubmodules: undefined,
    couldBePath,
  };
  readQuery(address, query, text);
  return address;
}

interface Parts {
  remote: GitAddress['remote'];
  query: URLSearchParams;
  fragment: string;
}

function fromUrl(text: string, couldBePath: boolean): Parts | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  const isHttp = url.protocol === 'http:' || url.protocol === 'https:';
  if (isHttp && !couldBePath && !url.pathname.endsWith('.git')) return undefined;
  const [, withoutOptions = ''] = /^([^?#]*)/.exec(text)!;
  return {
    remote: {
      url: withoutOptions,
      host: url.host,
      path: decoded(url.pathname),
      isSsh: url.protocol === 'ssh:',
    },
    query: url.searchParams,
    fragment: decoded(url.hash.slice(1)),
  };
}

function fromScp(text: string): Parts | undefined {
  const [, user, host, path, query = '', fragment = ''] = scpPattern.exec(text) ?? [];
  if (user === undefined || host === undefined || path === undefined) return undefined;
  return {
    remote: { url: `${user}@${host}:${path}`, host, path, isSsh: true },
    query: new URLSearchParams(query),
    fragment,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readQuery(address: GitAddress, query: URLSearchParams, text: string): void {
  const flag = (key: string, value: string): boolean => {
    const is = value === '' ? true : parseGoBoolean(value);
    if (is === undefined) throw invalid(text, `invalid ${key} value: ${JSON.stringify(value)}: want true or false`);
    return is;
  };
  const once = (known: string | undefined, value: string, what: string): string => {
    if (known !== undefined && known !== value) {
      throw invalid(text, `${what} conflicts: ${JSON.stringify(known)} vs ${JSON.stringify(value)}`);
    }
    return value;
  };
  const refs: string[] = [];
  for (const key of new Set(query.keys())) {
    const [value = '', ...more] = query.getAll(key);
    if (more.length > 0) throw invalid(text, `query ${JSON.stringify(key)} has multiple values`);
    if (value === '' && key !== 'submodules' && key !== 'keep-git-dir') {
      throw invalid(text, `query ${JSON.stringify(key)} has no value`);
    }
    if (key === 'ref') refs.push(value);
    else if (key === 'tag') refs.push(value.startsWith('refs/tags/') ? value : `refs/tags/${value}`);
    else if (key === 'branch') refs.push(value.startsWith('refs/heads/') ? value : `refs/heads/${value}`);
    else if (key === 'subdir') address.subdirectory = once(address.subdirectory, value, 'subdir');
    else if (key === 'checksum' || key === 'commit') address.checksum = once(address.checksum, value, 'checksum');
    else if (key === 'keep-git-dir') address.keepsGitDirectory = flag(key, value);
    else if (key === 'submodules') address.withSubmodules = flag(key, value);
    else
      throw invalid(
        text,
        `unexpected query ${JSON.stringify(key)}: want ref, tag, branch, subdir, checksum, keep-git-dir or submodules`,
      );
  }
  for (const ref of refs) address.ref = once(address.ref, ref, 'ref');
}

/** Whether an address is a download: by HTTP, and no repository. */
export const isDownload = (text: string): boolean => /^https?:\/\//.test(text) && parseGitAddress(text) === undefined;

/** The repository as a part of a graph. */
export const gitOutput = (address: GitAddress, keepsGitDirectory: boolean, notes: llb.VertexNotes): llb.Output =>
  llb.git(
    address.remote,
    {
      ...(address.ref === undefined ? {} : { ref: address.ref }),
      ...(address.subdirectory === undefined ? {} : { subdirectory: address.subdirectory }),
      ...(address.checksum === undefined ? {} : { checksum: address.checksum }),
      keepsGitDirectory,
      skipsSubmodules: address.withSubmodules === false,
    },
    notes,
  );
