import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Endpoint, NetworkService, PortRequest } from '../../src/network/index.ts';
import { NetworkLab, Peer } from '../support/network-lab.ts';

const publish = (hostPort: number, containerPort: number, more: Partial<PortRequest> = {}): PortRequest => ({
  hostIp: '',
  hostPort,
  hostPortEnd: hostPort,
  containerPort,
  protocol: 'tcp',
  ...more,
});

let lab: NetworkLab;
let service: NetworkService;
let outside: Peer;
let host: Peer;
let server: Peer;
let client: Peer;
let serverEnd: Endpoint;
let clientEnd: Endpoint;
const ip = (cidr: string): string => cidr.split('/', 1)[0]!;

async function start(containerId: string, ports: PortRequest[] = [], networkId = 'bridge'): Promise<[Endpoint, Peer]> {
  const netns = service.createNamespace(containerId);
  const endpoint = await service.connect({ containerId, networkId, netns, ports });
  return [endpoint, new Peer(netns)];
}

beforeAll(async () => {
  lab = await NetworkLab.open();
  service = await lab.openService({ defaultNetwork: { enableIPv6: true } });
  outside = new Peer(lab.outside);
  host = new Peer();
  [serverEnd, server] = await start('server', [
    publish(8080, 80),
    publish(8081, 80, { protocol: 'udp' }),
    publish(8082, 80, { protocol: 'sctp' }),
    publish(8083, 80, { hostIp: '127.0.0.1' }),
  ]);
  [clientEnd, client] = await start('client');
  await Promise.all([
    server.serve('tcp', 80),
    server.serve('udp', 80),
    server.serve('sctp', 80),
    server.serve('tcp', 81),
    outside.serve('tcp', 7000),
  ]);
});

afterAll(async () => {
  for (const peer of [outside, host, server, client]) await peer[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

describe('addresses', () => {
  test('the host reaches a container by its address, IPv4 and IPv6', async () => {
    expect(await host.ask('tcp', ip(serverEnd.ipv4), 80)).toBe(serverEnd.gatewayIpv4);
    expect(await host.ask('tcp', ip(serverEnd.ipv6), 80)).toBe(serverEnd.gatewayIpv6);
  });

  test('containers of one network reach each other under their own addresses', async () => {
    expect(await client.ask('tcp', ip(serverEnd.ipv4), 81)).toBe(ip(clientEnd.ipv4));
    expect(await client.ask('tcp', ip(serverEnd.ipv6), 81)).toBe(ip(clientEnd.ipv6));
  });

  test("a container reaches the outside under the host's address", async () => {
    expect(await client.ask('tcp', lab.outsideAddress, 7000)).toBe(lab.hostAddress);
    expect(await client.ask('tcp', lab.outsideAddress6, 7000)).toBe(lab.hostAddress6);
  });

  test('the MAC address is made of the IPv4 address', async () => {
    expect(serverEnd.macAddress).toBe('02:42:ac:11:00:02');
    expect(await lab.sh('ip -br link show eth0', service.namespacePath('server'))).toContain('02:42:ac:11:00:02');
  });
});

describe('published ports', () => {
  test.each(['tcp', 'udp', 'sctp'] as const)(
    "%s: from outside, with the client's own address kept",
    async (protocol) => {
      const port = { tcp: 8080, udp: 8081, sctp: 8082 }[protocol];
      expect(await outside.ask(protocol, lab.hostAddress, port)).toBe(lab.outsideAddress);
    },
  );

  test('from outside over IPv6', async () => {
    expect(await outside.ask('tcp', lab.hostAddress6, 8080)).toBe(lab.outsideAddress6);
  });

  test.each(['tcp', 'udp'] as const)('%s: from the host by 127.0.0.1 and by its address', async (protocol) => {
    const port = { tcp: 8080, udp: 8081 }[protocol];
    expect(await host.ask(protocol, '127.0.0.1', port)).toBe(serverEnd.gatewayIpv4);
    expect(await host.ask(protocol, lab.hostAddress, port)).toBe(lab.hostAddress);
  });

  test.each(['tcp', 'udp', 'sctp'] as const)("%s: from another container by the host's addresses", async (protocol) => {
    const port = { tcp: 8080, udp: 8081, sctp: 8082 }[protocol];
    expect(await client.ask(protocol, lab.hostAddress, port)).toBe(serverEnd.gatewayIpv4);
    expect(await client.ask(protocol, serverEnd.gatewayIpv4, port)).toBe(serverEnd.gatewayIpv4);
  });

  test('from the container itself', async () => {
    expect(await server.ask('tcp', lab.hostAddress, 8080)).toBe(serverEnd.gatewayIpv4);
    expect(await server.ask('tcp', serverEnd.gatewayIpv4, 8080)).toBe(serverEnd.gatewayIpv4);
    expect(await server.ask('tcp', lab.hostAddress6, 8080)).toBe(serverEnd.gatewayIpv6);
  });

  test('one published on 127.0.0.1 is there for the host alone', async () => {
    expect(await host.ask('tcp', '127.0.0.1', 8083)).toBe(serverEnd.gatewayIpv4);
    expect(await outside.ask('tcp', lab.hostAddress, 8083)).toBe('ECONNREFUSED');
    await lab.sh(
      'ip route add 127.0.0.0/8 via 198.51.100.1 table 99; ip rule add to 127.0.0.1 table 99 pref 0; ip rule del pref 0 table local; ip rule add pref 10 table local',
      lab.outside,
    );
    expect(await outside.ask('tcp', '127.0.0.1', 8083, 500)).toBe('timeout');
  });

  test('an unpublished port is out of reach, even by routing to the subnet', async () => {
    await lab.sh(`ip route add 172.17.0.0/16 via ${lab.hostAddress}`, lab.outside);
    expect(await outside.ask('tcp', ip(serverEnd.ipv4), 81, 500)).toBe('timeout');
    // Published or not, the way is by the host's address.
    expect(await outside.ask('tcp', ip(serverEnd.ipv4), 80, 500)).toBe('timeout');
    expect(await outside.ask('tcp', lab.hostAddress, 81)).toBe('ECONNREFUSED');
  });
});
