import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { CniLab } from '../support/cni-lab.ts';

let cni: CniLab;

beforeAll(async () => {
  cni = await CniLab.open();
  await cni.lab.sh('ip link add spare0 type veth peer name spare1');
});
afterAll(() => cni[Symbol.asyncDispose]());
afterEach(() => cni.clear());

/** As in the plugins' own documentation; `needs` is the kind of link that a kernel may not have. */
const examples = (): {
  name: string;
  plugins: object[];
  address?: RegExp;
  needs?: string;
  disableCheck?: boolean;
}[] => [
  {
    name: 'bridged',
    address: /^10\.81\.0\.\d+\/24$/,
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isDefaultGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: cni.hostLocal('10.81.0.0/24', { routes: [] }),
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
      { type: 'firewall', backend: 'iptables' },
      {
        type: 'bandwidth',
        ingressRate: 80_000_000,
        ingressBurst: 80_000_000,
        egressRate: 80_000_000,
        egressBurst: 80_000_000,
      },
      { type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } },
    ],
  },
  {
    name: 'direct',
    address: /^10\.82\.0\.\d+\/24$/,
    plugins: [{ type: 'ptp', ipMasq: true, ipam: cni.hostLocal('10.82.0.0/24') }],
  },
  {
    name: 'wire',
    address: /^10\.83\.0\.\d+\/24$/,
    plugins: [{ type: 'macvlan', master: 'lan0', ipam: cni.hostLocal('10.83.0.0/24', { routes: [] }) }],
  },
  { name: 'alone', plugins: [{ type: 'loopback' }] },
  {
    name: 'fixed',
    address: /^10\.86\.0\.\d+\/24$/,
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni2',
        ipam: {
          type: 'static',
          addresses: [{ address: '10.86.0.5/24', gateway: '10.86.0.254' }],
          routes: [{ dst: '0.0.0.0/0' }],
          dns: { nameservers: ['192.0.2.53'], search: ['example.org'] },
        },
      },
    ],
  },
  {
    name: 'device',
    address: /^10\.87\.0\.\d+\/24$/,
    plugins: [{ type: 'host-device', device: 'spare0', ipam: cni.hostLocal('10.87.0.0/24', { routes: [] }) }],
  },
  {
    name: 'sourced',
    // As sbr moves the routes that macvlan would look for.
    disableCheck: true,
    address: /^10\.88\.0\.\d+\/24$/,
    plugins: [
      { type: 'macvlan', master: 'lan0', mode: 'bridge', ipam: cni.hostLocal('10.88.0.0/24') },
      { type: 'sbr' },
      { type: 'tuning', mac: '02:00:00:00:00:88', mtu: 1454, promisc: true },
    ],
  },
  {
    name: 'shared',
    address: /^10\.83\.1\.\d+\/24$/,
    needs: 'ipvlan',
    plugins: [{ type: 'ipvlan', master: 'lan0', ipam: cni.hostLocal('10.83.1.0/24', { routes: [] }) }],
  },
  {
    name: 'tagged',
    address: /^10\.83\.2\.\d+\/24$/,
    needs: 'vlan id 5',
    plugins: [{ type: 'vlan', master: 'lan0', vlanId: 5, ipam: cni.hostLocal('10.83.2.0/24', { routes: [] }) }],
  },
  {
    name: 'blue',
    address: /^10\.83\.3\.\d+\/24$/,
    needs: 'vrf table 10',
    plugins: [
      { type: 'macvlan', master: 'lan0', ipam: cni.hostLocal('10.83.3.0/24', { routes: [] }) },
      { type: 'vrf', vrfname: 'blue' },
    ],
  },
];

const knows = async (kind: string): Promise<boolean> => {
  const parent = kind.startsWith('vrf') ? '' : 'link lan0';
  const said = await cni.lab.sh(
    `ip link add ${parent} name probe type ${kind} && ip link delete probe && echo yes || true`,
  );
  return said.includes('yes');
};
// A bridge is its plugin's, and stays.
const tracesButBridges = async () => (await cni.traces()).filter((trace) => !/^cni\d$/.test(trace));

/** ADD, CHECK (which version 0.3.1 has not) and DEL; where the kernel lacks the kind of link, a refusal that leaves nothing. */
async function cycle(name: string, version: string): Promise<void> {
  const { plugins, address, needs, disableCheck } = examples().find((example) => example.name === name)!;
  cni.conflist(name, plugins, { cniVersion: version, ...(disableCheck && { disableCheck }) });
  expect(cni.service.list()).toContainEqual(expect.objectContaining({ name, driver: 'cni' }));
  const before = await tracesButBridges();
  if (needs !== undefined && !(await knows(needs))) {
    await expect(cni.connect('a', name)).rejects.toThrow(/CNI plugin (ipvlan|vlan|vrf) ADD: /);
  } else {
    const endpoint = await cni.connect('a', name);
    if (address !== undefined) {
      expect(endpoint.ipv4).toMatch(address);
      expect(endpoint.macAddress).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      expect(await cni.lab.sh('ip -o -4 address show eth0', cni.service.namespacePath('a'))).toContain(endpoint.ipv4);
    }
    await cni.service.reconcile(() => true);
  }
  await cni.end('a', name);
  await expect.poll(tracesButBridges, { timeout: 5000 }).toEqual(before);
  expect(cni.service.endpoints({})).toEqual([]);
}

test.each(['bridged', 'direct', 'wire', 'alone', 'fixed', 'device', 'sourced', 'shared', 'tagged', 'blue'])(
  'ADD, CHECK and DEL of %s',
  (name) => cycle(name, '1.0.0'),
);

test.each(['0.3.1', '0.4.0'])('the same by version %s', async (version) => {
  const known = version === '0.3.1' ? ['direct', 'wire'] : ['bridged', 'direct', 'wire'];
  for (const name of known) await cycle(name, version);
});

test('a list of a version that one of them does not know is refused, and leaves nothing', async () => {
  const plugins = [
    { type: 'ptp', ipam: cni.hostLocal('10.82.0.0/24') },
    { type: 'firewall', backend: 'iptables' },
  ];
  cni.conflist('old', plugins, { cniVersion: '0.3.1' });
  const before = await cni.traces();
  await expect(cni.connect('a', 'old')).rejects.toThrow(
    /CNI plugin firewall ADD: incompatible CNI versions.*CNI error 1/,
  );
  expect(cni.service.endpoints({})).toEqual([]);
  await cni.end('a', 'old');
  await expect.poll(() => cni.traces(), { timeout: 5000 }).toEqual(before);
});

test('an address leased from a DHCP server, and given back', async () => {
  const conf = join(cni.lab.root, 'udhcpd.conf');
  const leases = join(cni.lab.root, 'udhcpd.leases');
  writeFileSync(leases, '');
  writeFileSync(
    conf,
    [
      ...['start 10.89.0.20', 'end 10.89.0.20', 'interface lan1', `lease_file ${leases}`, 'pidfile /dev/null'],
      ...['option subnet 255.255.255.0', 'option router 10.89.0.1', 'option lease 600', ''],
    ].join('\n'),
  );
  await cni.lab.sh('ip address add 10.89.0.1/24 dev lan1');
  const socket = join(cni.lab.root, 'dhcp.sock');
  using programs = new DisposableStack();
  for (const argv of [
    ['busybox', 'udhcpd', '-f', conf],
    ['/usr/lib/cni/dhcp', 'daemon', '-socketpath', socket],
  ]) {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: 'ignore' });
    programs.defer(() => void child.kill('SIGKILL'));
  }
  await expect.poll(() => existsSync(socket), { timeout: 10_000 }).toBe(true);
  cni.conflist('leased', [{ type: 'macvlan', master: 'lan0', ipam: { type: 'dhcp', daemonSocketPath: socket } }]);
  const endpoint = await cni.connect('a', 'leased');
  expect(endpoint).toMatchObject({ ipv4: '10.89.0.20/24', gatewayIpv4: '10.89.0.1' });
  await cni.service.reconcile(() => true);
  await cni.end('a', 'leased');
  // The only address is free again: another container has it.
  expect(await cni.connect('b', 'leased')).toMatchObject({ ipv4: '10.89.0.20/24' });
  await cni.end('b', 'leased');
  await cni.lab.sh('ip address delete 10.89.0.1/24 dev lan1');
}, 60_000);
