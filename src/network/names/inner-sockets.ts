import { closeSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import {
  bindPort,
  listBoundSockets,
  Nftables,
  NftablesState,
  SyscallError,
  withNamespaceAt,
} from '../../linux/index.ts';
import { RESERVATION_MARK } from '../published-ports.ts';

/** Where names are answered inside containers, as with docker: the only place on networks where this host has no address. */
export const INNER_NAME_SERVER = '127.0.0.11';
/** Port 53 stays free for programs that serve names themselves. This one is beyond those that clients are given. */
const INNER_PORT = 61_053;
const TABLE = 'tare-names';

/**
 * Ports are rewritten as packets come out of `lo`, where both directions of such a talk pass, without connection tracking: packets of the
 * container's other links pass no rule.
 */
const CHAIN = { family: 'netdev', table: TABLE, name: 'loopback' } as const;
const rules = `
table netdev ${TABLE} {
  chain ${CHAIN.name} { type filter hook ingress device lo priority 0; }
}
add rule netdev ${TABLE} ${CHAIN.name} ip daddr ${INNER_NAME_SERVER} udp dport 53 udp dport set ${INNER_PORT}
add rule netdev ${TABLE} ${CHAIN.name} ip daddr ${INNER_NAME_SERVER} tcp dport 53 tcp dport set ${INNER_PORT}
add rule netdev ${TABLE} ${CHAIN.name} ip saddr ${INNER_NAME_SERVER} udp sport ${INNER_PORT} udp sport set 53
add rule netdev ${TABLE} ${CHAIN.name} ip saddr ${INNER_NAME_SERVER} tcp sport ${INNER_PORT} tcp sport set 53
`;

/** Bound sockets in a container's namespace; they hold it until they are closed. */
export interface InnerSockets {
  udp: number;
  tcp: number;
}

/**
 * Binds in a container's network namespace, and leads its questions there. Several processes may do so at once.
 *
 * @param namespace path of the namespace
 * @returns undefined: the namespace is gone
 * @throws {TareError} Conflict: a program of the container has the port
 */
export function bindInside(namespace: string, mark: number): InnerSockets | undefined {
  return inside(namespace, () => {
    const bound: number[] = [];
    try {
      for (const protocol of ['udp', 'tcp'] as const) {
        const local = { protocol, address: INNER_NAME_SERVER, port: INNER_PORT };
        const fd = bindPort(local, { isShared: true, mark });
        if (fd === undefined) {
          throw new TareError(
            'Conflict',
            `port ${INNER_PORT}/${protocol} in ${namespace} is taken by the container: it has no names until the port is free`,
          );
        }
        bound.push(fd);
      }
      leadHere();
      const [udp = -1, tcp = -1] = bound.splice(0);
      return { udp, tcp };
    } finally {
      for (const fd of bound) closeSync(fd);
    }
  });
}

/** The rules stay when their maker dies: they come all at once, and to put them in anew would take the kernel milliseconds. */
function leadHere(): void {
  using state = new NftablesState();
  if (state.hasChain(CHAIN)) return;
  using nftables = new Nftables();
  nftables.run(rules);
}

/** Whether the keeper answers in a container's namespace; also when that is gone, as nobody asks there. */
export function isServedInside(namespace: string): boolean {
  const sockets = inside(namespace, () => listBoundSockets('tcp', INNER_PORT));
  return sockets === undefined || sockets.some(({ mark }) => mark === RESERVATION_MARK);
}

/**
 * A socket by which somebody is asked from within a namespace.
 * @returns undefined: the namespace is gone
 */
export function socketInside(namespace: string, protocol: 'udp' | 'tcp', family: 4 | 6): number | undefined {
  return inside(namespace, () => bindPort({ protocol, address: family === 4 ? '0.0.0.0' : '::', port: 0 }));
}

function inside<T>(namespace: string, body: () => T): T | undefined {
  try {
    return withNamespaceAt(namespace, body);
  } catch (error) {
    // The file was removed, or its mount is not there yet or no longer.
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === 'open' && code === 'ENOENT') return undefined;
    if (error instanceof SyscallError && error.syscall === 'setns' && error.code === 'EINVAL') return undefined;
    throw error;
  }
}
