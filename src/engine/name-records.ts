import {
  type Endpoint,
  hasNames,
  type NamedContainer,
  type NamedEndpoint,
  type NameRecords,
  type NetworkRecord,
  type NetworkService,
  nameServersOf,
} from '../network/index.ts';
import type { Database } from '../state/index.ts';
import { asksGateway, gatewayNetworks, inOrder, nameServerFor } from './name-servers.ts';
import type { ContainerRecord } from './types.ts';

const SHORT_ID_LENGTH = 12;

interface Row {
  id: string;
  doc: string;
}

export interface NameReaderParts {
  db: Database;
  networks: NetworkService;
  /** Told of what makes no sense, and is left out. */
  report(subject: string, error: unknown): void;
}

interface ParsedRecord {
  doc: string;
  record: ContainerRecord;
}

/** What containers are called, read from the records; only what has changed since the last time is parsed. */
export class NameReader {
  readonly #parts: NameReaderParts;
  #parsed = new Map<string, ParsedRecord>();

  constructor(parts: NameReaderParts) {
    this.#parts = parts;
  }

  /** Changes with every change of the records. */
  version(): number {
    return this.#parts.db.version();
  }

  read(): NameRecords {
    const all = this.#parts.networks.list();
    const followed = this.#parts.networks.egress.followedNetworks();
    const networks = new Map(all.map((network) => [network.id, network]));
    const ends = Map.groupBy(this.#parts.networks.endpoints({}), ({ containerId }) => containerId);
    const near = gatewayNetworks(all);
    const containers: NamedContainer[] = [];
    for (const [id, record] of this.#records()) {
      const endpoints = ends.get(id) ?? [];
      try {
        containers.push(this.#named(record, endpoints, networks, near));
      } catch (error) {
        // One that makes no sense must not silence the others.
        this.#parts.report(`names of container ${id}`, error);
      }
    }
    return {
      networks: all
        .filter((network) => hasNames(network) || followed.has(network.id))
        .map((network) => ({ ...network, servers: nameServersOf(network, followed.has(network.id)) }))
        .map((network) => ({
          ...{ id: network.id, name: network.name, internal: network.internal, servers: network.servers },
          ...(hasNames(network) ? {} : { isNameless: true }),
          subnets: network.ipam.map(({ subnet }) => subnet),
        })),
      containers,
    };
  }

  #named(
    record: ContainerRecord,
    endpoints: readonly Endpoint[],
    networks: ReadonlyMap<string, NetworkRecord>,
    near: ReadonlySet<string>,
  ): NamedContainer {
    const isNamed = endpoints.some(({ networkId }) => {
      const network = networks.get(networkId);
      return network !== undefined && hasNames(network);
    });
    const asksInside =
      isNamed &&
      !asksGateway(endpoints, near) &&
      (nameServerFor(record, endpoints, networks, this.#parts.networks)?.namespace ?? '') !== '';
    return {
      ...namedContainer(record, endpoints, networks),
      ...(isNamed ? { inside: asksInside ? 'only' : 'also' } : {}),
      namespace: this.#parts.networks.namespacePath(record.id),
    };
  }

  /** Records of the containers that have an endpoint. */
  #records(): Map<string, ContainerRecord> {
    const rows = this.#parts.db.all<Row>(
      'SELECT id, doc FROM containers WHERE id IN (SELECT container_id FROM endpoints)',
    );
    const parsed = new Map<string, ParsedRecord>();
    for (const { id, doc } of rows) {
      const known = this.#parsed.get(id);
      if (known?.doc === doc) {
        parsed.set(id, known);
        continue;
      }
      try {
        parsed.set(id, { doc, record: JSON.parse(doc) as ContainerRecord });
      } catch (error) {
        this.#parts.report(`record of container ${id}`, error);
      }
    }
    this.#parsed = parsed;
    return new Map([...parsed].map(([id, { record }]) => [id, record]));
  }
}

function namedContainer(
  record: ContainerRecord,
  endpoints: readonly Endpoint[],
  networks: ReadonlyMap<string, NetworkRecord>,
): NamedContainer {
  const { id, name, config, host } = record;
  return {
    id,
    name,
    otherNames: [id.slice(0, SHORT_ID_LENGTH), config.hostname],
    resolvers: host.dns.length > 0 ? host.dns : endpoints.flatMap(({ dns }) => dns?.servers ?? []),
    endpoints: inOrder(record, endpoints, networks).map(
      ({ endpoint, request }): NamedEndpoint => ({
        networkId: endpoint.networkId,
        ipv4: bare(endpoint.ipv4),
        ipv6: bare(endpoint.ipv6),
        aliases: request?.aliases ?? [],
        links: request?.links ?? [],
      }),
    ),
  };
}

const bare = (cidr: string): string => cidr.split('/', 1)[0] as string;
