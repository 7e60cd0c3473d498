import { TareError } from '../errors/index.ts';
import type { Database, Transaction } from '../state/index.ts';
import { checkNetwork, checkStoredEndpoint, soundRecords } from './damaged-records.ts';
import type { Endpoint, NetworkRecord, PortMapping } from './driver.ts';
import type { DefaultNetwork } from './predefined.ts';

/** A network with what only this folder needs to know. */
export interface StoredNetwork extends NetworkRecord {
  /** Last address given out, '' before the first. */
  cursorIpv4: string;
  cursorIpv6: string;
  /** Whether the link on the host (bridge or parent) is ours to make and remove; false for one that was there before us. */
  ownsBridge: boolean;
  isAutomatic: boolean;
  /** What was asked of the default network. */
  asked?: DefaultNetwork;
}

interface DocRow {
  doc: string;
}

interface IdRow extends DocRow {
  id: string;
}

/** @throws {TareError} Internal: the row is damaged */
function parse<T>(row: DocRow): T {
  try {
    return JSON.parse(row.doc) as T;
  } catch (error) {
    throw new TareError('Internal', 'the record of this network is damaged', { cause: error });
  }
}

/** The part of a stored network that callers see. */
export function publicRecord(stored: StoredNetwork): NetworkRecord {
  const { cursorIpv4, cursorIpv6, ownsBridge, asked, ...record } = stored;
  return record;
}

/** Those that make sense: a damaged row concerns nobody but its network. */
export function listNetworks(db: Database): StoredNetwork[] {
  return soundRecords(db, 'network', db.all<IdRow>('SELECT id, doc FROM networks ORDER BY name'), checkNetwork);
}

/** @throws {TareError} NotFound; Conflict: an id prefix that fits several */
export function findNetwork(db: Database, ref: string): StoredNetwork {
  const exact = db.get<DocRow>('SELECT doc FROM networks WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC', ref);
  if (exact !== undefined) return parse(exact);
  const byPrefix = /^[0-9a-f]+$/.test(ref)
    ? db.all<DocRow>('SELECT doc FROM networks WHERE id >= ? AND id < ? LIMIT 2', ref, `${ref}g`)
    : [];
  if (byPrefix.length > 1) {
    throw new TareError(
      'Conflict',
      `network ${ref} is ambiguous (${byPrefix.length} matches found based on ID prefix)`,
    );
  }
  const [only] = byPrefix;
  if (only === undefined) throw new TareError('NotFound', `network ${ref} not found`);
  return parse(only);
}

/** What is known of a network whose row is damaged: its columns. @returns undefined: the row is sound, or there is none */
export function findDamaged(db: Database, ref: string): { id: string; name: string } | undefined {
  const rows = db.all<IdRow & { name: string }>('SELECT id, name, doc FROM networks WHERE id = ?1 OR name = ?1', ref);
  return rows.find(({ id, doc }) => soundRecords(db, 'network', [{ id, doc }], checkNetwork).length === 0);
}

/** @throws {TareError} AlreadyExists: another network has this name */
export function refuseTakenName(db: Pick<Transaction, 'get'>, name: string): void {
  if (db.get('SELECT 1 FROM networks WHERE name = ?', name) !== undefined) {
    throw new TareError('AlreadyExists', `network with name ${name} already exists`);
  }
}

export function insertNetwork(tx: Transaction, network: StoredNetwork): void {
  const { id, name } = network;
  refuseTakenName(tx, name);
  tx.run('INSERT INTO networks (id, name, doc) VALUES (?, ?, ?)', id, name, JSON.stringify(network));
}

export function updateNetwork(tx: Transaction, network: StoredNetwork): void {
  tx.run('UPDATE networks SET doc = ? WHERE id = ?', JSON.stringify(network), network.id);
}

const bare = (cidr: string): string | null => (cidr === '' ? null : (cidr.split('/', 1)[0] as string));

export function insertEndpoint(tx: Transaction, endpoint: Endpoint): void {
  const { id, networkId, containerId, ipv4, ipv6 } = endpoint;
  tx.run(
    'INSERT INTO endpoints (id, network_id, container_id, ipv4, ipv6, doc) VALUES (?, ?, ?, ?, ?, ?)',
    id,
    networkId,
    containerId,
    bare(ipv4),
    bare(ipv6),
    JSON.stringify(endpoint),
  );
}

export function updateEndpoint(tx: Transaction, endpoint: Endpoint): void {
  tx.run('UPDATE endpoints SET doc = ? WHERE id = ?', JSON.stringify(endpoint), endpoint.id);
}

export function deleteEndpoint(tx: Transaction, id: string): void {
  tx.run('DELETE FROM ports WHERE endpoint_id = ?', id);
  tx.run('DELETE FROM endpoints WHERE id = ?', id);
}

export function insertPort(tx: Transaction, endpoint: { id: string; containerId: string }, port: PortMapping): void {
  tx.run(
    'INSERT INTO ports (protocol, host_port, host_ip, container_id, endpoint_id) VALUES (?, ?, ?, ?, ?)',
    port.protocol,
    port.hostPort,
    port.hostIp,
    endpoint.containerId,
    endpoint.id,
  );
}

export function deletePort(tx: Transaction, endpoint: { id: string }, port: PortMapping): void {
  tx.run(
    'DELETE FROM ports WHERE protocol = ? AND host_port = ? AND host_ip = ? AND endpoint_id = ?',
    port.protocol,
    port.hostPort,
    port.hostIp,
    endpoint.id,
  );
}

/** Those that make sense: a damaged row concerns nobody but its container. */
export function listEndpoints(db: Database, of: { containerId?: string; networkId?: string } = {}): Endpoint[] {
  return soundRecords(db, 'endpoint', endpointRows(db, of), checkStoredEndpoint);
}

function endpointRows(db: Database, { containerId, networkId }: { containerId?: string; networkId?: string }): IdRow[] {
  const rows = 'SELECT id, doc FROM endpoints';
  if (containerId !== undefined && networkId !== undefined) {
    return db.all(`${rows} WHERE container_id = ? AND network_id = ?`, containerId, networkId);
  }
  if (containerId !== undefined) return db.all(`${rows} WHERE container_id = ?`, containerId);
  return networkId === undefined ? db.all(rows) : db.all(`${rows} WHERE network_id = ?`, networkId);
}
