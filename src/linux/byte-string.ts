import { SyscallError } from './ffi.ts';

/**
 * A file name as its bytes, one character each (latin1), because names on disk need not be UTF-8. Every function of
 * this folder that takes a directory descriptor takes names in this form.
 */
export type ByteString = string;

const ascii = /^[\x01-\x7f]*$/;
const EINVAL = 22;

export const toByteString = (text: string): ByteString =>
  ascii.test(text) ? text : Buffer.from(text, 'utf8').toString('latin1');

/** The text to show for a name; bytes that are not UTF-8 become U+FFFD. */
export const fromByteString = (name: ByteString): string =>
  ascii.test(name) ? name : Buffer.from(name, 'latin1').toString('utf8');

/**
 * A byte string as what a foreign function takes for a `const char *`: the text itself while UTF-8 and latin1 agree,
 * else a buffer that ends in NUL.
 *
 * @throws {SyscallError} EINVAL: a NUL inside, where C would silently cut the name short
 */
export function cString(name: ByteString, syscall: string): string | Buffer {
  if (ascii.test(name)) return name;
  if (name.includes('\0')) throw new SyscallError(syscall, EINVAL, JSON.stringify(name));
  return Buffer.from(`${name}\0`, 'latin1');
}

/** A name quoted for an error message. */
export const quoted = (name: ByteString): string => JSON.stringify(fromByteString(name));
