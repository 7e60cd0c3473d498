import type { Socket } from 'node:net';
import { peerCredentials } from '../linux/index.ts';

/** Who asks an engine for something. */
export type Caller =
  /** Through a unix socket: what the kernel knows of the process that connected. */
  | { kind: 'user'; uid: number; gid: number; pid: number }
  /** Over TLS, with a certificate that was verified: its common name, and the whole subject. */
  | { kind: 'certificate'; name: string; subject: string; address: string }
  /** Over TCP, unknown. */
  | { kind: 'address'; address: string };

/** The caller at the other end of a connected unix socket; undefined: it is closed. @throws {SyscallError} */
export function peerOf(socket: Socket): Caller | undefined {
  // The descriptor is not among its types.
  const fd = (socket as Socket & { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const { uid, gid, pid } = peerCredentials(fd);
  return { kind: 'user', uid, gid, pid };
}

/** For messages: `uid 1000`, `certificate "ci"`, `address 10.0.0.1`. */
export function formatCaller(caller: Caller): string {
  switch (caller.kind) {
    case 'user':
      return `uid ${caller.uid}`;
    case 'certificate':
      return `certificate ${JSON.stringify(caller.name)}`;
    case 'address':
      return `address ${caller.address}`;
  }
}
