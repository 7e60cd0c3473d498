import { getSystemErrorMap } from 'node:util';
import koffi from 'koffi';

/**
 * The one place where foreign functions are bound. Every other file of this folder declares its system calls with
 * `libc.func(...)` and runs them through `check` or reads `errno()` at once.
 */
export const libc = koffi.load(null);

/** The calling thread's errno, valid until the next foreign call. */
export const errno = (): number => koffi.errno();

/** Its values that callers tell apart (errno(3)). */
export const ENOENT = 2;
export const EINTR = 4;
export const EAGAIN = 11;

const names = new Map<number, string>([...getSystemErrorMap()].map(([number, [name]]) => [-number, name]));

/** A failed system call: `code` is the symbolic name (`ENOENT`), `errno` the number, as in Node's own errors. */
export class SyscallError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  constructor(syscall: string, number: number, subject?: string) {
    const code = names.get(number) ?? `errno ${number}`;
    super(`${syscall}${subject === undefined ? '' : ` ${subject}`}: ${code}`);
    this.name = 'SyscallError';
    this.code = code;
    this.errno = number;
    this.syscall = syscall;
  }
}

/**
 * Passes a system call's result through.
 *
 * @param subject the path or name the call was about, for the message
 * @throws {SyscallError} the result is -1
 */
export function check(result: number, syscall: string, subject?: string): number {
  if (result === -1) throw new SyscallError(syscall, errno(), subject);
  return result;
}
