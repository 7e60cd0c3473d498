import type { ConnectRequest } from '../network/index.ts';

export interface ExposedPort {
  port: number;
  protocol: ConnectRequest['ports'][number]['protocol'];
}

/**
 * The ports that `PORT[-PORT][/PROTOCOL]` exposes: an image may say anything there.
 * @returns undefined: it is no such text
 */
export function exposedPorts(key: string): ExposedPort[] | undefined {
  const [, start, end = start, named = 'tcp'] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(\w+))?$/.exec(key) ?? [];
  const [first, last] = [Number(start), Number(end)];
  const protocol = named as ExposedPort['protocol'];
  if (!['tcp', 'udp', 'sctp'].includes(named) || !(first >= 1 && first <= last && last <= 65_535)) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => ({ port: first + index, protocol }));
}
