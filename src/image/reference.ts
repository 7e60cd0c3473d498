import { TareError } from '../errors/index.ts';
import { type Digest, isDigest } from '../storage/index.ts';
import { compileGlob } from './glob.ts';

/**
 * A named image reference in its canonical parts: `busybox` is docker.io, library/busybox. Made by `parseReference`
 * only, so that holding one means it was checked.
 */
export interface Reference {
  /** Registry host, with a port if one was given. */
  readonly domain: string;
  /** Repository path inside the registry. */
  readonly path: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

export const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DEFAULT_DOMAIN = 'index.docker.io';
const OFFICIAL_PREFIX = 'library/';
const DEFAULT_TAG = 'latest';
const MAX_NAME_CHARACTERS = 255;
// Domain and path, tag and digest at their longest; what is longer is not worth matching.
const MAX_REFERENCE_CHARACTERS = 1024;

const domainComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domain = `(?:${domainComponent}(?:\\.${domainComponent})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const pathComponent = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const name = `(?:(${domain})/)?(${pathComponent}(?:/${pathComponent})*)`;
const tag = '[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}';
const digest = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const referencePattern = new RegExp(`^${name}(?::(${tag}))?(?:@(${digest}))?$`);
const tagPattern = new RegExp(`^${tag}$`);
const identifierPattern = /^[a-f0-9]{64}$/;

const invalid = (message: string) => new TareError('InvalidArgument', message);

/**
 * Parses a reference as users write it.
 *
 * @param text e.g. `busybox`, `ghcr.io/a/b:1.0`, `localhost:5000/x@sha256:…`
 * @throws {TareError} InvalidArgument, in docker's words
 * @see distribution/reference, reference.go, for the grammar, and normalize.go for the defaults
 */
export function parseReference(text: string): Reference {
  if (identifierPattern.test(text)) {
    throw invalid(
      `invalid reference format: invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  }
  if (text.length > MAX_REFERENCE_CHARACTERS) {
    throw invalid(
      `invalid reference format: ${text.length} characters, at most ${MAX_REFERENCE_CHARACTERS} are allowed`,
    );
  }
  const { domain: host, remainder } = splitDomain(text);
  const remote = remainder.split(/[:@]/, 1)[0]!;
  if (remote.toLowerCase() !== remote) {
    throw invalid(`invalid reference format: repository name (${remote}) must be lowercase`);
  }
  const match = referencePattern.exec(`${host}/${remainder}`);
  if (match === null) throw invalid('invalid reference format');
  const [, matchedDomain = '', path = '', matchedTag, matchedDigest] = match;
  if (path.length > MAX_NAME_CHARACTERS) {
    throw invalid(`repository name must not be more than ${MAX_NAME_CHARACTERS} characters`);
  }
  if (matchedDigest !== undefined && !isDigest(matchedDigest)) {
    throw invalid(
      matchedDigest.startsWith('sha256:')
        ? 'invalid reference format: invalid checksum digest length or format'
        : `invalid reference format: unsupported digest algorithm in ${JSON.stringify(matchedDigest)}: want sha256`,
    );
  }
  return {
    domain: matchedDomain,
    path,
    ...(matchedTag === undefined ? {} : { tag: matchedTag }),
    ...(matchedDigest === undefined ? {} : { digest: matchedDigest }),
  };
}

/** Whether the first component of a name is a registry: it has a dot, a port or a capital, or is localhost. */
function splitDomain(text: string): { domain: string; remainder: string } {
  const slash = text.indexOf('/');
  if (slash < 0) return { domain: DEFAULT_DOMAIN, remainder: OFFICIAL_PREFIX + text };
  const first = text.slice(0, slash);
  const rest = text.slice(slash + 1);
  const isDomain = first === 'localhost' || /[.:]/.test(first) || first.toLowerCase() !== first;
  if (!isDomain) return { domain: DEFAULT_DOMAIN, remainder: text };
  if (first !== DEFAULT_DOMAIN && first !== LEGACY_DEFAULT_DOMAIN) return { domain: first, remainder: rest };
  return { domain: DEFAULT_DOMAIN, remainder: rest.includes('/') ? rest : OFFICIAL_PREFIX + rest };
}

/** Whether a reference leaves it open which registry is meant. */
export const isShortName = (text: string): boolean => !text.includes('/') || splitDomain(text).remainder === text;

/** `docker.io/library/busybox` */
export const canonicalName = (ref: Reference): string => `${ref.domain}/${ref.path}`;

/** `docker.io/library/busybox:latest`: the whole reference with nothing left out. */
export const canonical = (ref: Reference): string => canonicalName(ref) + suffix(ref);

/** `busybox`: the shortest name that means the same. */
export function familiarName(ref: Reference): string {
  if (ref.domain !== DEFAULT_DOMAIN) return canonicalName(ref);
  const rest = ref.path.startsWith(OFFICIAL_PREFIX) ? ref.path.slice(OFFICIAL_PREFIX.length) : ref.path;
  // `library/a/b` is no official image: without its prefix it would name another repository.
  return ref.path !== rest && !rest.includes('/') ? rest : ref.path;
}

/** `busybox:latest`: the whole reference as docker prints it. */
export const familiar = (ref: Reference): string => familiarName(ref) + suffix(ref);

const suffix = (ref: Reference): string =>
  (ref.tag === undefined ? '' : `:${ref.tag}`) + (ref.digest === undefined ? '' : `@${ref.digest}`);

/** The same reference with the tag `latest` when it has neither tag nor digest. */
export const withDefaultTag = (ref: Reference): Reference =>
  ref.tag === undefined && ref.digest === undefined ? { ...ref, tag: DEFAULT_TAG } : ref;

/** The same repository with another tag. @throws {TareError} InvalidArgument */
export function withTag(ref: Reference, newTag: string): Reference {
  if (!tagPattern.test(newTag)) throw invalid(`invalid tag format: ${JSON.stringify(newTag)}`);
  return { domain: ref.domain, path: ref.path, tag: newTag };
}

/** A user's word for an image: a name, or the digest of its config. An id's prefix parses as a name. */
export type AnyReference = { id: Digest } | { name: Reference };

/** @throws {TareError} InvalidArgument, in docker's words */
export function parseAnyReference(text: string): AnyReference {
  if (identifierPattern.test(text)) return { id: `sha256:${text}` as Digest };
  if (isDigest(text)) return { id: text };
  return { name: parseReference(text) };
}

/**
 * What an id prefix looks like without its algorithm.
 * @returns lower-case hex digits, or undefined when the text can't be one
 */
export function idPrefixOf(text: string): string | undefined {
  const hex = text.startsWith('sha256:') ? text.slice('sha256:'.length) : text;
  return /^[0-9a-f]{1,64}$/.test(hex) ? hex : undefined;
}

/**
 * docker's `reference=` filter: a glob (`*` and `?` stop at slashes, `[a-z]` a class) over the familiar name with or
 * without its tag.
 * @throws {TareError} InvalidArgument: a malformed pattern
 */
export function matchesFamiliar(pattern: string, ref: Reference): boolean {
  if (pattern.length > MAX_REFERENCE_CHARACTERS) throw invalid('invalid reference pattern: it is too long');
  const matches = compileGlob(pattern);
  return matches(familiar(ref)) || matches(familiarName(ref));
}
