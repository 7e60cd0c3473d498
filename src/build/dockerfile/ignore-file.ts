import { TareError } from '../../errors/index.ts';
import { trim } from '../../image/index.ts';
import { cleanPattern } from '../../storage/index.ts';

const MAX_BYTES = 4 << 20;
const MAX_LINE_BYTES = 65_535;

/**
 * The patterns of a `.dockerignore`, cleaned, in order; those that begin with `!` take files back in.
 *
 * @throws {TareError} InvalidArgument: too long
 * @see moby/patternmatcher, ignorefile
 */
export function parseIgnoreFile(data: Uint8Array | string): string[] {
  const text = typeof data === 'string' ? data : decode(data);
  if (text.length > MAX_BYTES) throw tooLong(`more than ${MAX_BYTES} bytes`);
  const patterns: string[] = [];
  for (const line of text.replace(/^\uFEFF/, '').split('\n')) {
    if (line.length > MAX_LINE_BYTES) throw tooLong(`a line of more than ${MAX_LINE_BYTES} bytes`);
    // Only at the very beginning: what is behind a space is a pattern.
    const written = line.startsWith('#') ? '' : trim(line);
    if (written === '') continue;
    const isException = written.startsWith('!');
    const pattern = cleaned(isException ? trim(written.slice(1)) : written);
    patterns.push(isException ? `!${pattern}` : pattern);
  }
  return patterns;
}

function decode(data: Uint8Array): string {
  if (data.length > MAX_BYTES) throw tooLong(`more than ${MAX_BYTES} bytes`);
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);
}

function tooLong(what: string): TareError {
  return new TareError('InvalidArgument', `error reading .dockerignore: ${what}`);
}

function cleaned(pattern: string): string {
  if (pattern === '') return '';
  const path = cleanPattern(pattern);
  return path.length > 1 && path.startsWith('/') ? path.slice(1) : path;
}
