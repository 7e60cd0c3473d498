import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress } from '../../src/linux/index.ts';
import {
  type EgressSubject,
  type EgressTimes,
  type Endpoint,
  hasNames,
  NameServer,
  type NetworkService,
  nameServersOf,
  type PortRequest,
  parseEgressPolicy,
} from '../../src/network/index.ts';
import { Forwarder } from '../../src/network/names/forwarder.ts';
import { HostResolvers } from '../../src/network/names/host-resolvers.ts';
import { Asker, encodeName, types } from './dns-client.ts';
import { startUpstream, type Upstream } from './dns-upstream.ts';
import { NetworkLab, Peer } from './network-lab.ts';

const RESOLVER_PORT = 20_055;

/** What a resolver of the world says of a name: `A ADDRESS`, `AAAA ADDRESS` or `CNAME NAME` in the answer's order, each with its owner. */
export interface WorldRecord {
  owner: string;
  type: 'A' | 'AAAA' | 'CNAME' | 'TXT';
  text: string;
  ttl: number;
}

/** A lab with our name server as the keeper runs it, a resolver of the world, and outside hosts with many addresses. */
export class EgressLab implements AsyncDisposable {
  readonly lab: NetworkLab;
  readonly service: NetworkService;
  readonly outside: Peer;
  readonly host: Peer;
  /** By the name that is asked for. */
  readonly world = new Map<string, WorldRecord[]>();
  /** Names that the resolver of the world was asked for. */
  readonly asked: string[] = [];
  readonly complaints: string[] = [];
  readonly #upstream: Upstream;
  readonly #times: EgressTimes;
  names: NameServer;
  readonly #running = new Map<string, Container>();

  private constructor(lab: NetworkLab, service: NetworkService, upstream: Upstream, times: EgressTimes) {
    this.lab = lab;
    this.service = service;
    this.#upstream = upstream;
    this.#times = times;
    this.outside = new Peer(lab.outside);
    this.host = new Peer();
    this.names = this.openNames();
  }

  static async open(times: EgressTimes): Promise<EgressLab> {
    const lab = await NetworkLab.open();
    const service = await lab.openService({ defaultNetwork: { enableIPv6: true }, egressTimes: times });
    const holder: { lab?: EgressLab } = {};
    const upstream = await startUpstream('127.0.0.1', RESOLVER_PORT, (query) => holder.lab?.answer(query) ?? []);
    holder.lab = new EgressLab(lab, service, upstream, times);
    // Addresses of the world, all of one host.
    await lab.sh(
      'for n in 1 2 3 4 5; do ip address add 203.0.113.$n/32 dev lo; ip address add 2001:db8:113::$n/128 dev lo nodad; done; ip address add 10.99.0.1/32 dev lo',
      lab.outside,
    );
    for (const port of [53, 80, 443, 853]) await holder.lab.outside.serve('tcp', port);
    for (const port of [53, 500]) {
      for (const last of [1, 2, 3, 4]) await holder.lab.outside.serve('udp', port, `203.0.113.${last}`);
    }
    await holder.lab.host.serve('tcp', 7001);
    return holder.lab;
  }

  /** Another name server over the same records: as another keeper would. */
  openNames(): NameServer {
    const file = join(this.lab.root, 'resolv.conf');
    writeFileSync(file, 'nameserver 127.0.0.1\n');
    const report = (subject: string, error: unknown) => void this.complaints.push(`${subject}: ${error}`);
    return new NameServer({
      source: { version: () => this.lab.db.version(), read: () => this.#records() },
      hooks: this.service.egress.follow(report),
      report,
      forwarder: new Forwarder(RESOLVER_PORT),
      resolvers: new HostResolvers(file),
    });
  }

  get times(): EgressTimes {
    return this.#times;
  }

  #records() {
    const followed = this.service.egress.followedNetworks();
    const bare = (cidr: string) => cidr.split('/', 1)[0]!;
    return {
      networks: this.service
        .list()
        .map((network) => ({ network, servers: nameServersOf(network, followed.has(network.id)) }))
        .filter(({ servers }) => servers.length > 0)
        .map(({ network, servers }) => ({
          ...{ id: network.id, name: network.name, internal: network.internal, servers },
          isNameless: !hasNames(network),
          subnets: network.ipam.map(({ subnet }) => subnet),
        })),
      containers: [...this.#running.keys()].map((id) => ({
        ...{ id, name: id, otherNames: [], resolvers: [] },
        endpoints: this.service.endpoints({ containerId: id }).map(({ networkId, ipv4, ipv6 }) => ({
          ...{ networkId, ipv4: bare(ipv4), ipv6: bare(ipv6), aliases: [], links: [] },
        })),
      })),
    };
  }

  answer(query: Buffer): Buffer[] {
    let end = 12;
    const labels: string[] = [];
    while (query[end] !== 0) {
      labels.push(query.toString('latin1', end + 1, end + 1 + query[end]!));
      end += 1 + query[end]!;
    }
    const name = labels.join('.').toLowerCase();
    const type = query.readUInt16BE(end + 1);
    this.asked.push(name);
    const known = this.world.get(name);
    const records = (known ?? []).filter((one) => types[one.type] === type || one.type === 'CNAME');
    const head = Buffer.from(query.subarray(0, end + 5));
    head.writeUInt16BE(known === undefined ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(records.length, 6);
    head.writeUInt32BE(0, 8);
    return [Buffer.concat([head, ...records.map(encodeRecord)])];
  }

  /** @param egress lines of its policy; undefined: none */
  async start(
    id: string,
    egress: readonly string[] | undefined,
    networkId = 'bridge',
    ports: PortRequest[] = [],
  ): Promise<Container> {
    const { service, lab } = this;
    if (egress !== undefined) {
      const policy = parseEgressPolicy(egress);
      await lab.db.write((tx) => service.egress.record(tx, { kind: 'container', id }, policy));
    }
    const netns = service.createNamespace(id);
    const endpoint = await service.connect({ containerId: id, networkId, netns, ports });
    const container = new Container(id, endpoint, netns);
    this.#running.set(id, container);
    this.names.look();
    return container;
  }

  async stop(id: string): Promise<void> {
    await this.#running.get(id)?.[Symbol.asyncDispose]();
    this.#running.delete(id);
    await this.service.deleteNamespace(id);
    for (const { networkId } of this.service.endpoints({ containerId: id }))
      await this.service.disconnect(id, networkId);
    await this.service.egress.change({ kind: 'container', id }, () => undefined);
  }

  async stopAll(): Promise<void> {
    for (const id of [...this.#running.keys()]) await this.stop(id);
    for (const { id, name, driver } of this.service.list()) {
      if (driver !== 'bridge') continue;
      await this.service.egress.change({ kind: 'network', id }, () => undefined);
      if (name !== 'bridge') await this.service.remove(name);
    }
    this.world.clear();
    this.asked.length = 0;
    this.complaints.length = 0;
  }

  set(subject: EgressSubject, ...lines: string[]): Promise<unknown> {
    return this.service.egress.change(subject, () => parseEgressPolicy(lines));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAll();
    this.names[Symbol.dispose]();
    for (const peer of [this.outside, this.host]) await peer[Symbol.asyncDispose]();
    await this.#upstream[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}

function encodeRecord({ owner, type, text, ttl }: WorldRecord): Buffer {
  const data =
    type === 'CNAME' ? encodeName(text) : type === 'TXT' ? Buffer.from(`\x01${text[0]}`) : parseAddress(text);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(types[type], 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodeName(owner), fixed, data]);
}

/** A container of the lab: a namespace with a program that serves and asks, and one that asks for names. */
export class Container implements AsyncDisposable {
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly peer: Peer;
  readonly #asker: Asker;

  constructor(id: string, endpoint: Endpoint, netns: string) {
    this.id = id;
    this.endpoint = endpoint;
    this.peer = new Peer(netns);
    this.#asker = new Asker((argv) => spawn('nsenter', [`--net=${netns}`, ...argv], { stdio: 'pipe' }));
  }

  get subject(): EgressSubject {
    return { kind: 'container', id: this.id };
  }

  get ipv4(): string {
    return this.endpoint.ipv4.split('/', 1)[0]!;
  }

  get ipv6(): string {
    return this.endpoint.ipv6.split('/', 1)[0]!;
  }

  /** 'open' or 'shut', by TCP. */
  async reach(host: string, port: number): Promise<string> {
    const told = await this.peer.ask('tcp', host, port, 5_000);
    if (/^[0-9a-f.:]+$/.test(told)) return 'open';
    // Of IPv4 and of IPv6, "administratively prohibited".
    return told === 'EHOSTUNREACH' || told === 'EACCES' ? 'shut' : told;
  }

  async datagram(host: string, port: number): Promise<string> {
    const told = await this.peer.ask('udp', host, port, 700);
    return /^[0-9a-f.:]+$/.test(told) ? 'open' : told;
  }

  /** Records of the answer; `rcode N`; or why there is none. */
  look(
    name: string,
    how: { type?: 'A' | 'AAAA' | 'TXT'; server?: string; transport?: 'udp' | 'tcp'; port?: number; from?: string } = {},
  ) {
    const { server = this.endpoint.gatewayIpv4, ...rest } = how;
    return this.#asker.answer({ server, name, ...rest });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#asker[Symbol.dispose]();
    await this.peer[Symbol.asyncDispose]();
  }
}
