import { NameServer } from '../network/index.ts';
import { NameReader, type NameReaderParts } from './name-records.ts';

/**
 * A name server over the engine's records; it listens with its first `look`.
 * @param options.isStandIn it serves only until the keeper does
 */
export function openNameServer(parts: NameReaderParts, options: { isStandIn: boolean }): NameServer {
  const { networks, report } = parts;
  return new NameServer({ ...options, source: new NameReader(parts), hooks: networks.egress.follow(report), report });
}
