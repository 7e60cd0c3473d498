export interface PortSummary {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

/**
 * docker's PORTS column: `0.0.0.0:8080->80/tcp, 443/tcp`; neighbours that map one to one join to ranges, `0.0.0.0:80-82->80-82/tcp`.
 */
export function portsText(ports: readonly PortSummary[]): string {
  const sorted = [...ports].sort(
    (a, b) =>
      a.PrivatePort - b.PrivatePort ||
      compare(a.IP ?? '', b.IP ?? '') ||
      (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
      compare(a.Type, b.Type),
  );
  const groups: { prefix: string; type: string; first: number; last: number }[] = [];
  const single: string[] = [];
  for (const port of sorted) {
    const current = port.PrivatePort;
    let prefix = '';
    if (port.IP) {
      if (port.PublicPort !== current) {
        single.push(`${hostPort(port.IP, String(port.PublicPort ?? 0))}->${current}/${port.Type}`);
        continue;
      }
      prefix = port.IP;
    }
    const group = groups.find(
      (candidate) => candidate.prefix === prefix && candidate.type === port.Type && candidate.last === current - 1,
    );
    if (group) group.last = current;
    else groups.push({ prefix, type: port.Type, first: current, last: current });
  }
  const ranges = groups.map(({ prefix, type, first, last }) => {
    const range = first === last ? String(first) : `${first}-${last}`;
    return { prefix, first, text: `${prefix ? `${hostPort(prefix, range)}->` : ''}${range}/${type}` };
  });
  return [...ranges.map(({ text }) => text), ...single].join(', ');
}

/** Go's net.JoinHostPort. */
export function hostPort(ip: string, port: string): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
