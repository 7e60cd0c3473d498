import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { withSuggestion } from '../../image/index.ts';
import type * as llb from '../llb/index.ts';

/* What flags and addresses of COPY and ADD mean. */

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** What a download is called without another name. */
export function filenameOf(address: string): string {
  try {
    const base = posix.basename(decodeURIComponent(new URL(address).pathname));
    if (base !== '' && base !== '.' && base !== '..' && !base.includes('\0')) return base;
  } catch {
    // The address is told of when it is asked.
  }
  return '__unnamed__';
}

/** @throws {TareError} InvalidArgument: no checksum of a kind that we know */
export function checksumOf(checksum: string): string | undefined {
  if (checksum === '') return undefined;
  if (/^sha256:[0-9a-f]{64}$/.test(checksum)) return checksum;
  const algorithm = checksum.split(':', 1)[0]!;
  throw invalid(
    withSuggestion(
      `invalid checksum ${JSON.stringify(checksum)}: want sha256: and 64 lower-case hex digits`,
      algorithm,
      ['sha256'],
    ),
  );
}

const MAX_ID = 2 ** 31 - 1;

/** `user`, `user:group`, by number or by name. */
export function ownershipOf(text: string): llb.Ownership | undefined {
  if (text === '') return undefined;
  const owner = (part: string): llb.Owner => {
    if (part === 'root' || part === '') return 0;
    return /^\d+$/.test(part) && Number(part) <= MAX_ID ? Number(part) : part;
  };
  const colon = text.indexOf(':');
  if (colon < 0) return { user: owner(text) };
  return { user: owner(text.slice(0, colon)), group: owner(text.slice(colon + 1)) };
}

const symbolicMode = /^[ugoa]*(?:[-+=][rwxXst]*|[-+=][ugo])+(?:,[ugoa]*(?:[-+=][rwxXst]*|[-+=][ugo])+)*$/;

/** @throws {TareError} InvalidArgument */
export function modeOf(text: string): number | string | undefined {
  if (text === '') return undefined;
  const mode = Number.parseInt(text, 8);
  if (/^[0-7]+$/.test(text) && mode <= 0o7777) return mode;
  if (symbolicMode.test(text)) return text;
  throw invalid(
    `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777, or symbols such as u=rwX,go=rX`,
  );
}
