import { TareError } from '../errors/index.ts';
import type { Endpoint, Passage } from '../network/index.ts';
import type { Database, Transaction } from '../state/index.ts';
import { type ExposedPort, exposedPorts } from './exposed-ports.ts';
import { writeHosts } from './generated-files.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

/** A container of the default network that another one knows by a name of its own, in its hosts file and variables. */
export interface Link {
  parentId: string;
  childId: string;
  alias: string;
}

interface Row {
  parent_id: string;
  child_id: string;
  alias: string;
}

type Reader = Pick<Database, 'all'>;

/** Whether links are the container's own matter: a network that users make has them as names. */
const hasOwnLinks = ({ host }: Pick<ContainerRecord, 'host'>): boolean =>
  host.links.length > 0 && ['', 'default', 'bridge'].includes(host.networkMode);

/**
 * The links that a new container of the default network asks for, each `CONTAINER[:ALIAS]`.
 * @throws {TareError} InvalidArgument: a bad form, a name given twice, a container that has no network of its own; NotFound
 */
export function resolveLinks(
  parts: Pick<EngineParts, 'store'>,
  record: Pick<ContainerRecord, 'id' | 'name' | 'host'>,
): Link[] {
  if (!hasOwnLinks(record)) return [];
  const links: Link[] = [];
  for (const text of record.host.links) {
    const [name = '', given, ...more] = text.split(':');
    if (name === '' || given === '' || more.length > 0) throw invalid(`bad format for links: ${text}`);
    // A link of another container, as inspect shows it, has its whole path.
    const alias = (given ?? name).split('/').at(-1)!;
    // It becomes a name in a hosts file and the start of variables.
    if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(alias)) throw invalid(`bad format for links: ${text}`);
    const child = linkable(parts, name);
    if (links.some((link) => link.alias === alias)) {
      throw new TareError(
        'Conflict',
        `Conflict. The container name "/${record.name}/${alias}" is already in use by container "${child.id}".`,
      );
    }
    links.push({ parentId: record.id, childId: child.id, alias });
  }
  return links;
}

function linkable({ store }: Pick<EngineParts, 'store'>, name: string): ContainerRecord {
  let child: ContainerRecord;
  try {
    child = store.get(name);
  } catch (error) {
    if (!(error instanceof TareError)) throw error;
    throw new TareError(error.kind, `could not get container for ${name}: ${error.message}`, { cause: error });
  }
  const [mode, other] = child.host.networkMode.split(':', 2);
  if (mode === 'container' && other !== undefined) return linkable({ store }, other);
  if (mode === 'host') {
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  }
  return child;
}

export function insertLinks(tx: Transaction, links: readonly Link[]): void {
  for (const { parentId, childId, alias } of links) {
    tx.run('INSERT INTO container_links (parent_id, child_id, alias) VALUES (?, ?, ?)', parentId, childId, alias);
  }
}

/** Forgets the links of a container that goes, and those to it. */
export function deleteLinks(tx: Transaction, id: string): void {
  tx.run('DELETE FROM container_links WHERE parent_id = ? OR child_id = ?', id, id);
}

const toLink = (row: Row): Link => ({ parentId: row.parent_id, childId: row.child_id, alias: row.alias });

/** The links of one container, or of all. */
export const linksOf = (db: Reader, parentId?: string): Link[] =>
  (parentId === undefined
    ? db.all<Row>('SELECT * FROM container_links ORDER BY parent_id, alias')
    : db.all<Row>('SELECT * FROM container_links WHERE parent_id = ? ORDER BY alias', parentId)
  ).map(toLink);

export const linksTo = (db: Reader, childId: string): Link[] =>
  db.all<Row>('SELECT * FROM container_links WHERE child_id = ? ORDER BY parent_id, alias', childId).map(toLink);

/**
 * Removes one link, named as `ps` shows it, and leaves the containers.
 * @throws {TareError} NotFound: there is none of this name
 */
export async function removeLink(parts: Pick<EngineParts, 'db' | 'store' | 'networks'>, name: string): Promise<void> {
  const [parent = '', alias = '', ...more] = name.replace(/^\//, '').split('/');
  if (parent === '' || alias === '' || more.length > 0) {
    // Docker's words for what names the container itself.
    throw new TareError('InvalidArgument', 'Conflict, cannot remove the default link name of the container');
  }
  const { id } = parts.store.get(parent);
  const removed = await parts.db.write((tx) =>
    tx.run('DELETE FROM container_links WHERE parent_id = ? AND alias = ?', id, alias),
  );
  if (removed === 0) throw new TareError('NotFound', `No such link: ${name}`);
  await parts.networks.settlePassages();
}

/** Ports that links open where the default network keeps its containers apart: those that the linked container exposes. */
export function linkPassages({ db, store, networks }: Pick<EngineParts, 'db' | 'store' | 'networks'>): Passage[] {
  const links = linksOf(db);
  if (links.length === 0) return [];
  const networkId = networks.get('bridge').id;
  return links.flatMap(({ parentId, childId }) => {
    const ports = allExposed(store.find(childId)?.config.exposedPorts ?? []);
    return ports.length === 0 ? [] : [{ networkId, from: parentId, to: childId, ports }];
  });
}

/** What a container finds of another one that it is linked to. */
export interface LinkedContainer {
  /** Lines of the hosts file without the address. */
  names: string;
  addresses: string[];
  env: string[];
}

/**
 * Looks at the containers that a starting one is linked to.
 * @throws {TareError} Conflict: one of them does not run, or is not on the default network
 */
export function linkedContainers(
  parts: Pick<EngineParts, 'db' | 'store' | 'networks'>,
  record: ContainerRecord,
): LinkedContainer[] {
  if (!hasOwnLinks(record)) return [];
  return linksOf(parts.db, record.id).map(({ childId, alias }) => {
    const child = parts.store.get(childId);
    const path = `/${record.name}/${alias}`;
    if (!isUp(child))
      throw new TareError('Conflict', `cannot link to a non running container: /${child.name} AS ${path}`);
    const endpoint = defaultEndpoint(parts, childId);
    if (endpoint === undefined) {
      throw new TareError('Conflict', `cannot link to /${child.name}, as it does not belong to the default network`);
    }
    const addresses = [endpoint.ipv4, endpoint.ipv6].flatMap((text) => (text === '' ? [] : text.split('/', 1)));
    return {
      names: hostNames(alias, child),
      addresses,
      env: linkVariables(path, addresses[0] ?? '', child.config),
    };
  });
}

/** After a container has come to its address: those that are linked to it find it there. */
export function tellParents(parts: Pick<EngineParts, 'db' | 'store' | 'networks'>, childId: string): void {
  for (const parentId of new Set(linksTo(parts.db, childId).map((link) => link.parentId))) {
    const parent = parts.store.find(parentId);
    if (parent === undefined || !isUp(parent)) continue;
    writeHosts(parent, parts.networks.endpoints({ containerId: parentId }), currentNames(parts, parent));
  }
}

/** Lines of the hosts file for the linked containers that run now. */
export function currentNames(
  parts: Pick<EngineParts, 'db' | 'store' | 'networks'>,
  record: ContainerRecord,
): Pick<LinkedContainer, 'names' | 'addresses'>[] {
  if (!hasOwnLinks(record)) return [];
  return linksOf(parts.db, record.id).flatMap(({ childId, alias }) => {
    const child = parts.store.find(childId);
    const endpoint = child === undefined ? undefined : defaultEndpoint(parts, childId);
    if (child === undefined || endpoint === undefined) return [];
    const addresses = [endpoint.ipv4, endpoint.ipv6].flatMap((text) => (text === '' ? [] : text.split('/', 1)));
    return [{ names: hostNames(alias, child), addresses }];
  });
}

function defaultEndpoint({ networks }: Pick<EngineParts, 'networks'>, containerId: string): Endpoint | undefined {
  const networkId = networks.get('bridge').id;
  return networks.endpoints({ containerId, networkId })[0];
}

const hostNames = (alias: string, { config, name }: ContainerRecord): string =>
  [...new Set([alias, config.hostname, name])].join(' ');

/**
 * Docker's variables for a link.
 *
 * @param path `/PARENT/ALIAS`
 */
export function linkVariables(
  path: string,
  address: string,
  child: Pick<ContainerRecord['config'], 'exposedPorts' | 'env'>,
): string[] {
  const prefix = path.split('/').at(-1)!.toUpperCase().replaceAll('-', '_');
  const ports = allExposed(child.exposedPorts).sort(byNumber);
  const at = ({ port, protocol }: ExposedPort) => `${protocol}://${address}:${port}`;
  const named = ({ port, protocol }: ExposedPort) => `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
  const variables = ports[0] === undefined ? [] : [`${prefix}_PORT=${at(ports[0])}`];
  for (const range of contiguous(ports)) {
    const [first, last] = [range[0]!, range.at(-1)!];
    const name = named(first);
    variables.push(
      `${name}_START=${at(first)}`,
      `${name}_ADDR=${address}`,
      `${name}_PROTO=${first.protocol}`,
      `${name}_PORT_START=${first.port}`,
      `${name}_END=${at(last)}`,
      `${name}_PORT_END=${last.port}`,
    );
  }
  for (const port of ports) {
    const name = named(port);
    variables.push(
      `${name}=${at(port)}`,
      `${name}_ADDR=${address}`,
      `${name}_PORT=${port.port}`,
      `${name}_PROTO=${port.protocol}`,
    );
  }
  const own = child.env.filter((variable) => variable.includes('=') && !/^(HOME|PATH)=/.test(variable));
  return [...variables, `${prefix}_NAME=${path}`, ...own.map((variable) => `${prefix}_ENV_${variable}`)];
}

/** Those of an image that mean nothing are left out. */
const allExposed = (keys: readonly string[]): ExposedPort[] => keys.flatMap((key) => exposedPorts(key) ?? []);

const byNumber = (a: ExposedPort, b: ExposedPort): number => a.port - b.port || a.protocol.localeCompare(b.protocol);

/** Runs of two or more neighbouring ports of one protocol. */
function contiguous(ports: readonly ExposedPort[]): ExposedPort[][] {
  const runs: ExposedPort[][] = [];
  for (const port of ports) {
    const open = runs.find((run) => run.at(-1)!.protocol === port.protocol && run.at(-1)!.port === port.port - 1);
    if (open === undefined) runs.push([port]);
    else open.push(port);
  }
  return runs.filter((run) => run.length > 1);
}

const invalid = (why: string): TareError => new TareError('InvalidArgument', why);
