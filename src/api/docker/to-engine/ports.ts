import type { ContainerService } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';

type Selection = Parameters<ContainerService['removePorts']>[1][number];

/** `80/tcp`; without a protocol TCP. @throws {TareError} InvalidArgument */
export function toPort(text: string): Pick<Selection, 'protocol'> & { port: number } {
  const [number = '', protocol = 'tcp', ...more] = text.toLowerCase().split('/');
  const port = /^\d{1,5}$/.test(number) ? Number(number) : 0;
  const isKnown = protocol === 'tcp' || protocol === 'udp' || protocol === 'sctp';
  if (port < 1 || port > 65_535 || !isKnown || more.length > 0) {
    throw new TareError('InvalidArgument', `invalid port ${JSON.stringify(text)}: expected PORT[/tcp|udp|sctp]`);
  }
  return { port, protocol };
}

/** Docker's PortMap as what to take back: an empty HostIp or HostPort means all. @throws {TareError} InvalidArgument */
export function toPortSelections(body: Record<string, { HostIp: string; HostPort: string }[]>): Selection[] {
  return Object.entries(body).flatMap(([key, bindings]) => {
    const { port: containerPort, protocol } = toPort(key);
    const wanted = bindings.length === 0 ? [{ HostIp: '', HostPort: '' }] : bindings;
    return wanted.map(({ HostIp: hostIp, HostPort }): Selection => {
      const hostPort = HostPort === '' ? 0 : toPort(HostPort).port;
      return { hostIp, hostPort, containerPort, protocol };
    });
  });
}
