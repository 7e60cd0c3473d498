import { isIP } from 'node:net';
import { UsageError } from './usage-error.ts';

export interface Publication {
  /** `80/tcp` */
  containerPort: string;
  hostIp: string;
  /** '' for a free one; `8000-8010` for a free one of a range. */
  hostPort: string;
}

interface Range {
  from: number;
  to: number;
}

/**
 * docker's `-p`: `[[IP:][HOST[-HOST]]:]PORT[-PORT][/PROTOCOL]`, IPv6 in brackets, or the long form
 * `target=80,published=8080,protocol=tcp`.
 *
 * @throws {UsageError}
 */
export function parsePublication(text: string): Publication[] {
  const spec = text.includes('=') ? fromLongForm(text) : text;
  const refuse = (why: string) =>
    new UsageError(
      `invalid publish option ${JSON.stringify(text)}: ${why}; expected [IP:][HOST_PORT:]CONTAINER_PORT[/tcp|udp|sctp]`,
    );
  const parts = /^(?:(?:\[([^\]]*)\]|([^[\]]*?)):)?(?:([^:[\]]*):)?([^:[\]/]+)(?:\/([^/]*))?$/.exec(spec);
  if (!parts) throw refuse('not understood');
  const [, v6, v4, hostText, containerText = '', protocolText] = parts;
  // `8080:80` has one colon: what stands before it is the port, not an address.
  const hasIp = hostText !== undefined;
  const ip = v6 ?? (hasIp ? (v4 ?? '') : '');
  const hostPorts = hasIp ? hostText : (v4 ?? '');
  if (v6 !== undefined && !hasIp) throw refuse('an address needs a host port or an empty one behind it, [::1]::80');
  if (v6 !== undefined ? isIP(v6) !== 6 : ip !== '' && isIP(ip) !== 4)
    throw refuse(`${JSON.stringify(ip)} is not an IP address`);
  const protocol = (protocolText ?? 'tcp').toLowerCase();
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw refuse(`the protocol is ${JSON.stringify(protocolText)}`);
  const container = parseRange(containerText);
  if (!container || container.from === 0)
    throw refuse(`${JSON.stringify(containerText)} is not a port or a range of ports`);
  const host = hostPorts === '' ? undefined : parseRange(hostPorts);
  if (hostPorts !== '' && !host) throw refuse(`${JSON.stringify(hostPorts)} is not a port or a range of ports`);
  const count = container.to - container.from;
  if (host && host.to - host.from !== count) {
    // One container port may take any free port of a range.
    if (count !== 0) throw refuse(`the ranges ${hostPorts} and ${containerText} differ in length`);
    return [{ containerPort: `${container.from}/${protocol}`, hostIp: ip, hostPort: `${host.from}-${host.to}` }];
  }
  return Array.from({ length: count + 1 }, (_, i) => ({
    containerPort: `${container.from + i}/${protocol}`,
    hostIp: ip,
    hostPort: host ? String(host.from + i) : '',
  }));
}

/**
 * docker's `--expose`: a port or range with an optional protocol.
 *
 * @returns `80/tcp` forms. @throws {UsageError}
 */
export function parseExposed(text: string): string[] {
  const [ports = '', protocol = 'tcp', ...more] = text.split('/');
  const range = parseRange(ports);
  if (!range || more.length > 0 || !['tcp', 'udp', 'sctp'].includes(protocol.toLowerCase()))
    throw new UsageError(`invalid port ${JSON.stringify(text)} for --expose: expected PORT[-PORT][/tcp|udp|sctp]`);
  return Array.from({ length: range.to - range.from + 1 }, (_, i) => `${range.from + i}/${protocol.toLowerCase()}`);
}

function parseRange(text: string): Range | undefined {
  const parts = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!parts) return undefined;
  const from = Number(parts[1]);
  const to = Number(parts[2] ?? parts[1]);
  return from <= to && to <= 65535 ? { from, to } : undefined;
}

function fromLongForm(text: string): string {
  const fields = new Map<string, string>();
  for (const field of text.split(',')) {
    const [key = '', value] = field.split(/=(.*)/s);
    const name = key.toLowerCase();
    if (!value || !['target', 'published', 'protocol', 'mode'].includes(name))
      throw new UsageError(
        `invalid publish option ${JSON.stringify(text)}: the field ${JSON.stringify(field)} is not one of target=, published=, protocol=, mode=`,
      );
    fields.set(name, value);
  }
  const targetPort = fields.get('target');
  if (targetPort === undefined)
    throw new UsageError(`invalid publish option ${JSON.stringify(text)}: target=PORT is missing`);
  const published = fields.get('published');
  return `${published === undefined ? '' : `${published}:`}${targetPort}/${fields.get('protocol') ?? 'tcp'}`;
}
