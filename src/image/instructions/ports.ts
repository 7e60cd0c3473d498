import { isIP } from 'node:net';
import { TareError } from '../../errors/index.ts';

const broken = (message: string) => new TareError('InvalidArgument', message);
const MAX_PORT = 65535;

export interface ExposedPorts {
  /** `80/tcp`, one for each port of a range. */
  ports: string[];
  /** As it is written, when one is. */
  protocol: string;
  /** The text also says an address or a port of the host, which mean nothing here. */
  hasHostPart: boolean;
}

/**
 * One word of EXPOSE: `80`, `53/udp`, `8000-8010/tcp`; also `[address:][host port:]port`.
 * @throws {TareError} InvalidArgument, in BuildKit's words
 */
export function parseExposedPorts(text: string): ExposedPorts {
  const parts = text.split(':');
  const container = parts.pop()!;
  const hostPort = parts.pop() ?? '';
  const address = parts.join(':');
  const slash = container.indexOf('/');
  const port = slash < 0 ? container : container.slice(0, slash);
  const protocol = (slash < 0 ? '' : container.slice(slash + 1)) || 'tcp';
  if (port === '') throw broken(`invalid port: ${JSON.stringify(text)}: no port specified`);
  if (!['tcp', 'udp', 'sctp'].includes(protocol.toLowerCase())) {
    throw broken(`invalid port: ${JSON.stringify(text)}: invalid proto: ${protocol}`);
  }
  requireAddress(address);
  const range = rangeOf(port);
  if (range === undefined) throw broken(`invalid containerPort: ${port}`);
  if (hostPort !== '') {
    const hostRange = rangeOf(hostPort);
    if (hostRange === undefined) throw broken(`invalid hostPort: ${hostPort}`);
    const isSameLength = range.end - range.start === hostRange.end - hostRange.start;
    if (!isSameLength && range.end !== range.start) {
      throw broken(`invalid ranges specified for container and host Ports: ${port} and ${hostPort}`);
    }
  }
  const ports = Array.from(
    { length: range.end - range.start + 1 },
    (_, index) => `${range.start + index}/${protocol.toLowerCase()}`,
  );
  return { ports, protocol, hasHostPart: address !== '' || hostPort !== '' };
}

function requireAddress(text: string): void {
  const address = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  if (text !== '' && isIP(address) === 0) throw broken(`invalid IP address: ${text}`);
}

function rangeOf(text: string): { start: number; end: number } | undefined {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  if (first === undefined) return undefined;
  const [start, end] = [Number(first), Number(last)];
  return start > end || end > MAX_PORT ? undefined : { start, end };
}
