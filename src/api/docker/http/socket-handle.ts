import type { Socket } from 'node:net';

/** What node:net keeps on a socket; not in its types. */
interface SocketHandle {
  fd: number;
  reading: boolean;
  readStop(): void;
}

/** undefined: it is closed. */
export const handleOf = (socket: Socket): SocketHandle | undefined =>
  (socket as Socket & { _handle?: SocketHandle | null })._handle ?? undefined;

/** The descriptor on which a connection's bytes are what its ends say. @returns undefined: it is encrypted, or closed */
export function plainDescriptor(socket: Socket): number | undefined {
  if ('encrypted' in socket) return undefined;
  const fd = handleOf(socket)?.fd ?? -1;
  return fd < 0 ? undefined : fd;
}
