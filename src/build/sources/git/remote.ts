import { TareError } from '../../../errors/index.ts';
import type { Attributes } from '../source-attributes.ts';

/** A place in a repository, as it was asked for and checked. */
export interface Remote {
  /** As git takes it; may hold a password. */
  url: string;
  /** Without one. */
  shownUrl: string;
  /** The same with what is wanted of it. */
  shown: string;
  /** A branch, a tag, a commit; '': what the remote's HEAD names. */
  ref: string;
  /** Clean, relative; '': all. */
  subdirectory: string;
  keepsGitDirectory: boolean;
  skipsSubmodules: boolean;
  /** The commit that it must be, or how that begins. */
  checksum: string | undefined;
  tokenSecret: string | undefined;
  headerSecret: string | undefined;
  /** Id of the client's agent. */
  sshAgent: string | undefined;
  knownHosts: string | undefined;
}

/** Whether a text is a whole commit, by SHA-1 or SHA-256. */
export const isCommit = (text: string): boolean => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);

// git-check-ref-format(1), and nothing that git could take for an option or a list of refs.
const badRef = /^[-/]|[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{|\/\/|\.lock(?:\/|$)|(?:^|\/)\.|[./]$/;

export const isRef = (text: string): boolean => !badRef.test(text) && text.length <= 1000;

/** @throws {TareError} InvalidArgument: the address, ref, folder or checksum */
export function remoteOf(identifier: string, attributes: Attributes): Remote {
  const hash = identifier.indexOf('#');
  const path = hash === -1 ? identifier : identifier.slice(0, hash);
  const fragment = hash === -1 ? '' : identifier.slice(hash + 1);
  const colon = fragment.indexOf(':');
  const ref = colon === -1 ? fragment : fragment.slice(0, colon);
  const url = checkUrl(attributes['git.fullurl'] || `https://${path}`);
  if (ref !== '' && !isRef(ref))
    throw new TareError(
      'InvalidArgument',
      `invalid git ref ${JSON.stringify(ref.slice(0, 200))}: want a branch, a tag or a commit`,
    );
  const checksum = attributes['git.checksum'] || undefined;
  if (checksum !== undefined && !/^[0-9a-f]{7,64}$/.test(checksum))
    throw new TareError(
      'InvalidArgument',
      `invalid checksum ${JSON.stringify(checksum)}: want 7 to 64 hex digits of a commit`,
    );
  const subdirectory = colon === -1 ? '' : checkFolder(fragment.slice(colon + 1));
  // Up to the last one: a password may have one in it.
  const shownUrl = url.replace(/^([a-z+]+:\/\/)[^/?#]*@/, (whole, scheme: string) =>
    scheme === 'ssh://' ? whole : scheme,
  );
  const wanted = ref === '' && subdirectory === '' ? '' : `#${ref}${subdirectory === '' ? '' : `:${subdirectory}`}`;
  return {
    ...{ url, shownUrl, ref, subdirectory, checksum },
    shown: `${shownUrl}${wanted}`,
    keepsGitDirectory: attributes['git.keepgitdir'] === 'true',
    skipsSubmodules: attributes['git.skipsubmodules'] === 'true',
    tokenSecret: attributes['git.authtokensecret'] || undefined,
    headerSecret: attributes['git.authheadersecret'] || undefined,
    sshAgent: attributes['git.mountsshsock'] || undefined,
    knownHosts: attributes['git.knownsshhosts'] || undefined,
  };
}

/** An address over a network: files of this machine are nobody's who asks for a build. */
function checkUrl(url: string): string {
  const isScp = /^(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9][\w.-]*:(?!\/\/|:|-)[^\0\n]+$/.test(url);
  const isUrl = /^(?:https?|git|ssh):\/\/[^-\0\n\s/][^\0\n]*$/.test(url);
  if ((isUrl || isScp) && url.length <= 4096) return url;
  throw new TareError(
    'InvalidArgument',
    `invalid git remote ${JSON.stringify(url.slice(0, 200))}: want https://, http://, git://, ssh:// or USER@HOST:PATH`,
  );
}

function checkFolder(text: string): string {
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || text.includes('\0') || parts[0] === '.git')
    throw new TareError(
      'InvalidArgument',
      `invalid subdirectory ${JSON.stringify(text.slice(0, 200))}: want a folder inside the repository`,
    );
  return parts.join('/');
}
