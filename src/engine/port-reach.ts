import { existsSync, readFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import type { PortMapping, PortReach } from '../network/index.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

export interface PortReachReport {
  /** Whose network it is: another's name for a container that shares one. */
  container: string;
  port: string;
  reach: PortReach[];
  /** What else stands in the way. */
  notes: string[];
}

/**
 * Who reaches a port of a container, and through which rule.
 * @throws {TareError} NotFound; InvalidArgument: not a port
 */
export function portReach(
  parts: EngineParts,
  ref: string,
  port: number,
  protocol: PortMapping['protocol'],
): PortReachReport {
  if (!(port >= 1 && port <= 65_535)) throw new TareError('InvalidArgument', `invalid port ${port}: 1 to 65535`);
  const record = parts.store.get(ref);
  const { networkMode } = record.host;
  if (networkMode.startsWith('container:')) {
    return portReach(parts, networkMode.slice('container:'.length), port, protocol);
  }
  const text = `${port}/${protocol}`;
  const reach = parts.networks.reach(record.id, port, protocol);
  const notes = isUp(record) ? listening(record, port, protocol) : [];
  return { container: record.name, port: text, reach, notes: [...notes, ...egressNotes(parts, record)] };
}

/** What the container itself reaches is another question; its answers always leave. */
function egressNotes({ networks }: EngineParts, { id, name }: ContainerRecord): string[] {
  const subjects = [id, ...networks.endpoints({ containerId: id }).map(({ networkId }) => networkId)];
  if (subjects.every((subject) => networks.egress.find(subject) === undefined)) return [];
  return [`an egress policy says what ${name} itself may reach: tare network egress show ${name}`];
}

const TCP_LISTEN = '0A';

/** Whether anything in the container listens there at all, by the kernel's own list of its sockets. */
function listening({ state }: ContainerRecord, port: number, protocol: PortMapping['protocol']): string[] {
  if (protocol === 'sctp') return [];
  const addresses = [protocol, `${protocol}6`].flatMap((name) => {
    const path = `/proc/${state.pid}/net/${name}`;
    if (!existsSync(path)) return [];
    return readFileSync(path, 'latin1')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, local = '', , status] = line.trim().split(/\s+/);
        const [address = '', number = ''] = local.split(':');
        const isServer = protocol === 'udp' || status === TCP_LISTEN;
        return isServer && Number.parseInt(number, 16) === port ? [address] : [];
      });
  });
  if (addresses.length === 0) return [`nothing in the container listens on ${port}/${protocol} now`];
  // 127.0.0.0/8 and ::1 as the kernel prints them: words in the machine's order.
  const isLoopback = (address: string) =>
    /^[0-9A-F]{6}7F$/.test(address) || address === '00000000000000000000000001000000';
  if (!addresses.every(isLoopback)) return [];
  return [`the container's program listens on its own loopback address alone: nobody else reaches ${port}/${protocol}`];
}
