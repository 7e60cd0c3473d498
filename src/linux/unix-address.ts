import { SyscallError } from './ffi.ts';

const AF_UNIX = 1;
const ENAMETOOLONG = 36;

/**
 * struct sockaddr_un: the family, then a path of at most 107 bytes and its zero.
 * @throws {SyscallError} ENAMETOOLONG
 */
export function unixAddress(path: string): Buffer {
  const address = Buffer.alloc(110);
  address.writeUInt16LE(AF_UNIX, 0);
  if (address.write(path, 2) !== Buffer.byteLength(path) || Buffer.byteLength(path) > 107) {
    throw new SyscallError('connect', ENAMETOOLONG, path);
  }
  return address;
}
