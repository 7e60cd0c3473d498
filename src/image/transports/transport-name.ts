import { TareError } from '../../errors/index.ts';
import { familiar, parseReference, type Reference, withDefaultTag } from '../reference.ts';

/** Where an image lies, or shall: skopeo's `transport:details`. Made by `parseTransport` only. */
export type TransportName =
  | { transport: 'docker'; reference: Reference }
  | { transport: 'oci' | 'oci-archive'; path: string; name?: string; index?: number }
  | { transport: 'docker-archive'; path: string; reference?: Reference; index?: number }
  | { transport: 'dir'; path: string }
  | { transport: 'local'; name: string };

/** Examples of every transport, for errors and help. */
const transportForms: Readonly<Record<TransportName['transport'], string>> = {
  docker: 'docker://REFERENCE',
  oci: 'oci:PATH[:NAME]',
  'oci-archive': 'oci-archive:FILE[:NAME]',
  'docker-archive': 'docker-archive:FILE[:REFERENCE]',
  dir: 'dir:PATH',
  local: 'local:NAME',
};

/** Other spellings of the engine's own store. */
const localSpellings: readonly string[] = ['local', 'tare', 'containers-storage'];

const invalid = (text: string, problem: string, cause?: unknown) =>
  new TareError('InvalidArgument', `invalid image location ${JSON.stringify(text)}: ${problem}`, { cause });

/**
 * Parses `TRANSPORT:DETAILS`.
 *
 * @throws {TareError} InvalidArgument: says what would be right
 * @see containers-transports(5)
 */
export function parseTransport(text: string): TransportName {
  const colon = text.indexOf(':');
  const word = text.slice(0, Math.max(0, colon));
  const details = text.slice(colon + 1);
  if (text.includes('\0')) throw invalid(text, 'it has a NUL character');
  if (localSpellings.includes(word)) return { transport: 'local', name: localName(text, details) };
  switch (word) {
    case 'docker':
      return { transport: 'docker', reference: dockerReference(text, details) };
    case 'oci':
    case 'oci-archive':
      return { transport: word, ...layoutName(text, word, details) };
    case 'docker-archive':
      return { transport: word, ...archivedName(text, details) };
    case 'dir':
      if (details === '') throw invalid(text, `want ${transportForms.dir}`);
      return { transport: 'dir', path: details };
    default:
      throw invalid(text, `want one of ${Object.values(transportForms).join(', ')}`);
  }
}

function dockerReference(text: string, details: string): Reference {
  if (!details.startsWith('//')) throw invalid(text, `want ${transportForms.docker}, with two slashes`);
  try {
    const reference = withDefaultTag(parseReference(details.slice(2)));
    // A digest says more than the tag beside it; with both, nobody could tell which one to write.
    if (reference.tag !== undefined && reference.digest !== undefined) {
      throw invalid(text, 'give a tag or a digest, not both');
    }
    return reference;
  } catch (cause) {
    throw cause instanceof TareError && cause.message.startsWith('invalid image location')
      ? cause
      : invalid(text, (cause as Error).message, cause);
  }
}

function localName(text: string, details: string): string {
  // containers-storage may say which store: `[driver@root]name`. Ours is the engine's.
  if (details.startsWith('[')) {
    throw invalid(text, 'a store in brackets is not supported: choose the engine with --data-root');
  }
  const name = details.startsWith('@') ? details.slice(1) : details;
  if (name === '') throw invalid(text, `want ${transportForms.local}`);
  return name;
}

function layoutName(text: string, transport: 'oci' | 'oci-archive', details: string) {
  const [path, rest] = splitPath(text, details, transportForms[transport]);
  if (rest === undefined) return { path };
  const index = indexIn(text, rest);
  if (index !== undefined) return { path, index };
  if (!/^[A-Za-z0-9][A-Za-z0-9._+/@:-]*$/.test(rest)) {
    throw invalid(text, `the name ${JSON.stringify(rest)} has other characters than letters, digits and . _ + / @ : -`);
  }
  return { path, name: rest };
}

function archivedName(text: string, details: string): { path: string; reference?: Reference; index?: number } {
  const [path, rest] = splitPath(text, details, transportForms['docker-archive']);
  if (rest === undefined) return { path };
  const index = indexIn(text, rest);
  if (index !== undefined) return { path, index };
  let reference: Reference;
  try {
    reference = withDefaultTag(parseReference(rest));
  } catch (cause) {
    throw invalid(text, (cause as Error).message, cause);
  }
  if (reference.digest !== undefined) throw invalid(text, 'a docker archive names its images by tag, not by digest');
  return { path, reference };
}

/** A path has no colon: the first one ends it. */
function splitPath(text: string, details: string, form: string): [path: string, rest: string | undefined] {
  const colon = details.indexOf(':');
  const path = colon < 0 ? details : details.slice(0, colon);
  const rest = colon < 0 ? undefined : details.slice(colon + 1);
  if (path === '' || rest === '') throw invalid(text, `want ${form}`);
  return [path, rest];
}

/** `@2`: the third image of an archive. */
function indexIn(text: string, rest: string): number | undefined {
  if (!rest.startsWith('@')) return undefined;
  if (!/^@\d{1,6}$/.test(rest)) {
    throw invalid(text, `${JSON.stringify(rest)} is no position: want @ and a number from 0`);
  }
  return Number(rest.slice(1));
}

/** The location as a user writes it. */
export function formatTransport(name: TransportName): string {
  switch (name.transport) {
    case 'docker':
      return `docker://${familiar(name.reference)}`;
    case 'oci':
    case 'oci-archive':
      return `${name.transport}:${name.path}${suffixOf(name.name, name.index)}`;
    case 'docker-archive': {
      const reference = name.reference === undefined ? undefined : familiar(name.reference);
      return `docker-archive:${name.path}${suffixOf(reference, name.index)}`;
    }
    case 'dir':
      return `dir:${name.path}`;
    case 'local':
      return `local:${name.name}`;
  }
}

const suffixOf = (name: string | undefined, index: number | undefined): string =>
  name !== undefined ? `:${name}` : index !== undefined ? `:@${index}` : '';
