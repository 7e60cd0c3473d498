import { formatAddress, parseAddress } from '../../linux/index.ts';
import { contains, parseSubnet, type Subnet } from '../subnet.ts';
import { encodeName, nameKey } from './message.ts';

/** A network on which names are looked up. */
export interface NamedNetwork {
  id: string;
  name: string;
  /** Where its containers ask: the bridge's own addresses. None where this host has no address: they ask inside. */
  servers: string[];
  /** In CIDR form. */
  subnets: string[];
  /** Nothing outside is reached from it. */
  internal: boolean;
  /** Whether its containers only ask for names of the world, and do not find each other by name. */
  isNameless?: boolean;
}

/** A container's place on a network, as far as names go. */
export interface NamedEndpoint {
  networkId: string;
  /** Without prefix length; '' for none. */
  ipv4: string;
  ipv6: string;
  /** Names that it has on this network alone. */
  aliases: string[];
  /** `container:alias` or `container`: names that only this container uses, for others on this network. */
  links: string[];
}

export interface NamedContainer {
  id: string;
  /** Its first name, which reverse look-ups give. */
  name: string;
  /** What else it is called on every network: hostname, short id. */
  otherNames: string[];
  /** Resolvers that its user chose; empty for the host's. */
  resolvers: string[];
  /** Path of its network namespace, from where its own resolvers are asked; the host's when there is none. */
  namespace?: string;
  /** Whether it is answered inside its namespace, too: `only` there when no network of its has a gateway to ask at. */
  inside?: 'only' | 'also';
  /** In the order in which its names are looked up. */
  endpoints: NamedEndpoint[];
}

/** Everything that names are answered from. */
export interface NameRecords {
  networks: NamedNetwork[];
  containers: NamedContainer[];
}

/** Addresses of a name, as they go into records. */
export interface Addresses {
  ipv4: Uint8Array[];
  ipv6: Uint8Array[];
}

/** Who asks, as told by the address he asks from. */
export interface Asker {
  container: NamedContainer;
  /** Whether any of its networks leads outside. */
  isOpen: boolean;
}

interface NetworkDirectory {
  network: NamedNetwork;
  suffix: string;
  subnets: Subnet[];
  names: Map<string, Addresses>;
  /** By address. */
  members: Map<string, NamedContainer>;
}

const arpa4 = '.in-addr.arpa';
const arpa6 = '.ip6.arpa';

/** Who is called what on which network: built anew from the records after each change, and never altered. */
export class NameDirectory {
  readonly networks: readonly NamedNetwork[];
  readonly #networks = new Map<string, NetworkDirectory>();
  readonly #containers = new Map<string, NamedContainer>();

  /** @param onBad told of a record that makes no sense: it is left out, and all others stand */
  constructor(records: NameRecords, onBad: (subject: string, error: unknown) => void) {
    this.networks = records.networks;
    const attempt = (subject: string, work: () => void): void => {
      try {
        work();
      } catch (error) {
        onBad(subject, error);
      }
    };
    for (const network of records.networks) attempt(`names of network ${network.id}`, () => this.#addNetwork(network));
    for (const container of records.containers) {
      attempt(`names of container ${container.id}`, () => this.#add(container));
    }
  }

  /** Who has this address on a network. */
  asker(networkId: string, address: string): Asker | undefined {
    const container = this.#networks.get(networkId)?.members.get(address);
    return container === undefined ? undefined : this.#asAsker(container);
  }

  /** A container that is answered inside its own namespace. */
  resident(containerId: string): Asker | undefined {
    const container = this.#containers.get(containerId);
    return container === undefined ? undefined : this.#asAsker(container);
  }

  /** Those that are answered inside their own namespaces; first whoever can ask nowhere else. */
  get residents(): NamedContainer[] {
    const all = [...new Set(this.#containers.values())];
    return (['only', 'also'] as const).flatMap((place) => all.filter(({ inside }) => inside === place));
  }

  #asAsker(container: NamedContainer): Asker {
    // A network that is not ours (macvlan, another host's) is one that leads somewhere.
    const isOpen = container.endpoints.some((end) => this.#networks.get(end.networkId)?.network.internal !== true);
    return { container, isOpen };
  }

  /** Whether a network gave, or could give, this address to a container. */
  belongs(networkId: string, address: string): boolean {
    return this.#networks.get(networkId)?.subnets.some((subnet) => contains(subnet, address)) ?? false;
  }

  /**
   * What a container may know under a name: one entry for each of its networks that knows it, in their order.
   * @param name as {@link nameKey} spells it
   */
  *find(asker: NamedContainer, name: string): Generator<Addresses> {
    for (const end of asker.endpoints) {
      const directory = this.#networks.get(end.networkId);
      if (directory === undefined) continue;
      const linked = end.links.length === 0 ? undefined : this.#linked(directory, end, name);
      const found = linked ?? directory.names.get(name);
      if (found !== undefined) yield found;
      if (!name.endsWith(directory.suffix)) continue;
      const qualified = directory.names.get(name.slice(0, -directory.suffix.length));
      if (qualified !== undefined) yield qualified;
    }
  }

  /**
   * What a reverse look-up gives.
   *
   * @param name `2.0.18.172.in-addr.arpa` or its like of IPv6
   * @returns the name on the wire; null: an address of the asker's networks that nobody has; undefined: not ours to say
   */
  reverse(asker: NamedContainer, name: string): Uint8Array | null | undefined {
    const address = reverseAddress(name);
    if (address === undefined) return undefined;
    for (const { networkId } of asker.endpoints) {
      const directory = this.#networks.get(networkId);
      if (directory === undefined) continue;
      const member = directory.members.get(address);
      const isNamed = member !== undefined && directory.network.isNameless !== true;
      const pointer = !isNamed ? undefined : encodeName(`${member.name}.${directory.network.name}`);
      if (pointer !== undefined) return pointer;
      if (directory.subnets.some((subnet) => contains(subnet, address))) return null;
    }
    return undefined;
  }

  #addNetwork(network: NamedNetwork): void {
    this.#networks.set(network.id, {
      network,
      suffix: `.${nameKey(network.name)}`,
      subnets: network.subnets.map(parseSubnet),
      names: new Map(),
      members: new Map(),
    });
  }

  #add(container: NamedContainer): void {
    this.#containers.set(container.id, container);
    this.#containers.set(container.name, container);
    for (const end of container.endpoints) {
      const directory = this.#networks.get(end.networkId);
      if (directory === undefined) continue;
      for (const address of [end.ipv4, end.ipv6]) if (address !== '') directory.members.set(address, container);
      if (directory.network.isNameless === true) continue;
      const own = addressesOf(end);
      const names = new Set([container.name, ...container.otherNames, ...end.aliases].map(nameKey));
      names.delete('');
      for (const name of names) {
        const known = directory.names.get(name);
        if (known === undefined) {
          directory.names.set(name, { ipv4: [...own.ipv4], ipv6: [...own.ipv6] });
        } else {
          known.ipv4.push(...own.ipv4);
          known.ipv6.push(...own.ipv6);
        }
      }
    }
  }

  #linked(directory: NetworkDirectory, end: NamedEndpoint, name: string): Addresses | undefined {
    for (const link of end.links) {
      const at = link.lastIndexOf(':');
      const [target, alias] = at < 0 ? [link, link] : [link.slice(0, at), link.slice(at + 1)];
      if (nameKey(alias) !== name) continue;
      const plain = target.replace(/^\//, '');
      const other = this.#containers.get(plain)?.endpoints.find(({ networkId }) => networkId === directory.network.id);
      return other === undefined ? directory.names.get(nameKey(plain)) : addressesOf(other);
    }
    return undefined;
  }
}

function addressesOf({ ipv4, ipv6 }: NamedEndpoint): Addresses {
  return {
    ipv4: ipv4 === '' ? [] : [parseAddress(ipv4)],
    ipv6: ipv6 === '' ? [] : [parseAddress(ipv6)],
  };
}

/** The address that a reverse name stands for, in its canonical text. */
function reverseAddress(name: string): string | undefined {
  if (name.endsWith(arpa4)) {
    const bytes = name.slice(0, -arpa4.length).split('.').reverse();
    const isPlain = bytes.length === 4 && bytes.every((byte) => /^(0|[1-9]\d{0,2})$/.test(byte) && Number(byte) < 256);
    return isPlain ? bytes.join('.') : undefined;
  }
  if (!name.endsWith(arpa6)) return undefined;
  const nibbles = name.slice(0, -arpa6.length).split('.').reverse();
  if (nibbles.length !== 32 || !nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))) return undefined;
  return formatAddress(Buffer.from(nibbles.join(''), 'hex'));
}
