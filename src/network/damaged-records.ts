import type { Database } from '../state/index.ts';
import type { Endpoint } from './driver.ts';
import type { StoredNetwork } from './records.ts';
import { parseSubnet } from './subnet.ts';

type Report = (subject: string, error: unknown) => void;

const listeners = new WeakMap<Database, Report>();
const told = new Set<string>();
const MAX_TOLD = 1_000;

/** Says who is told, once each, of rows that make no sense. */
export function onDamage(db: Database, report: Report): void {
  listeners.set(db, report);
}

interface Row {
  id: string;
  doc: string;
}

/**
 * The records of those rows that make sense. One that was damaged is left out, so that it silences no other.
 * @param check throws what is wrong with a record
 */
export function soundRecords<T extends { id: string }>(
  db: Database,
  kind: string,
  rows: readonly Row[],
  check: (record: T) => void,
): T[] {
  return rows.flatMap(({ id, doc }): T[] => {
    try {
      const record = JSON.parse(doc) as T;
      check(record);
      return [record];
    } catch (error) {
      const key = `${kind} ${id}`;
      if (!told.has(key)) listeners.get(db)?.(`record of ${key}, which is left out`, error);
      if (told.size < MAX_TOLD) told.add(key);
      return [];
    }
  });
}

/** @throws what is missing of a network, as far as others depend on it */
export function checkNetwork(record: StoredNetwork): void {
  const { id, name, driver, bridge, ipam, options, labels } = record;
  for (const text of [id, name, driver, bridge]) if (typeof text !== 'string') throw new TypeError('a text is missing');
  for (const map of [options, labels]) if (typeof map !== 'object' || map === null) throw new TypeError('no options');
  for (const { subnet, gateway } of ipam) {
    parseSubnet(subnet);
    if (typeof gateway !== 'string') throw new TypeError('a gateway is missing');
  }
}

/** @throws what is missing of an endpoint, as far as others depend on it */
export function checkStoredEndpoint(record: Endpoint): void {
  const { id, networkId, containerId, ipv4, ipv6, hostInterface, ports } = record;
  for (const text of [id, networkId, containerId, ipv4, ipv6, hostInterface]) {
    if (typeof text !== 'string') throw new TypeError('a text is missing');
  }
  for (const { hostIp, hostPort } of ports) {
    if (typeof hostIp !== 'string' || typeof hostPort !== 'number') throw new TypeError('a port is not whole');
  }
}
