import { afterEach, describe, expect, test } from 'vitest';
import { busybox, type TestEngine } from '../support/engine.ts';
import { throughEveryFace, withEngine } from '../support/faces.ts';

const option = (name: string, value: string): string => `com.docker.network.endpoint.${name}=${value}`;

/** A container that serves a page with its own name on port 80. */
const serve = (engine: TestEngine, name: string, ...args: string[]) =>
  engine.cli([
    ...['run', '-d', '--name', name, ...args, busybox],
    ...['sh', '-c', `mkdir /p && echo ${name} > /p/index.html && exec httpd -f -p 80 -h /p`],
  ]);

/** A page as a container sees it, or why not. */
async function page(engine: TestEngine, from: string, host: string): Promise<string> {
  const got = await engine.cli(['exec', from, 'timeout', '3', 'wget', '-qO-', `http://${host}/`], { expect: 'any' });
  return (got.stdout + got.stderr).trim();
}

const within = async (engine: TestEngine, name: string, ...argv: string[]): Promise<string> =>
  (await engine.cli(['exec', name, ...argv])).stdout;

async function inspect<T>(engine: TestEngine, what: 'container' | 'network', name: string): Promise<T> {
  return JSON.parse((await engine.cli([what, 'inspect', name])).stdout)[0] as T;
}

interface Joined {
  NetworkSettings: { Networks: Record<string, Record<string, unknown>> };
}
const networksOf = async (engine: TestEngine, name: string) =>
  (await inspect<Joined>(engine, 'container', name)).NetworkSettings.Networks;

throughEveryFace('networks of a container', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);

  afterEach(async () => {
    await engine().cli(['rm', '-f', 'one', 'two'], { expect: 'any' });
    await engine().cli(['network', 'prune', '-f'], { expect: 'any' });
  });

  test('both families, with addresses, MAC address and link-local addresses as asked', async () => {
    // Whatever their order was, those of IPv4 are shown first: docker's client shuffles them.
    const subnets = ['--subnet', 'fd00:61::/64', '--subnet', '10.61.0.0/24'];
    await cli('network', 'create', '--ipv6', ...subnets, '--aux-address', 'nas=10.61.0.2', 'both');
    await serve(
      ...([engine(), 'one', '--network', 'both', '--ip', '10.61.0.9', '--ip6', 'fd00:61::9'] as const),
      ...['--mac-address', '02:00:00:00:00:61', '--link-local-ip', '169.254.7.1', '--network-alias', 'db'],
    );
    // The auxiliary address is nobody's, and the subnet's next is given.
    await serve(engine(), 'two', '--network', 'name=both,link-local-ip=169.254.7.2,link-local-ip=fe80::7:2');
    const shown = await within(engine(), 'one', 'ip', 'addr', 'show', 'eth0');
    for (const text of ['10.61.0.9/24', 'fd00:61::9/64', '02:00:00:00:00:61', '169.254.7.1/16']) {
      expect(shown).toContain(text);
    }
    await expect.poll(() => page(engine(), 'two', '10.61.0.9')).toBe('one');
    expect(await page(engine(), 'two', '[fd00:61::9]')).toBe('one');
    expect(await page(engine(), 'two', '169.254.7.1')).toBe('one');
    expect(await page(engine(), 'one', '[fe80::7:2%eth0]')).toBe('two');
    expect(await page(engine(), 'two', 'db')).toBe('one');
    const { both } = await networksOf(engine(), 'one');
    expect(both).toMatchObject({
      IPAMConfig: { IPv4Address: '10.61.0.9', IPv6Address: 'fd00:61::9', LinkLocalIPs: ['169.254.7.1'] },
      Aliases: ['db'],
      MacAddress: '02:00:00:00:00:61',
      GlobalIPv6Address: 'fd00:61::9',
      GlobalIPv6PrefixLen: 64,
      IPAddress: '10.61.0.9',
      IPPrefixLen: 24,
      Gateway: '10.61.0.1',
      IPv6Gateway: 'fd00:61::1',
    });
    expect((await networksOf(engine(), 'two'))['both']).toMatchObject({ IPAddress: '10.61.0.3' });
    const id = (await cli('inspect', '-f', '{{.Id}}', 'one')).stdout.trim();
    expect(await inspect(engine(), 'network', 'both')).toMatchObject({
      Driver: 'bridge',
      EnableIPv4: true,
      EnableIPv6: true,
      IPAM: {
        Driver: 'default',
        Config: [
          { Subnet: '10.61.0.0/24', Gateway: '10.61.0.1', AuxiliaryAddresses: { nas: '10.61.0.2' } },
          { Subnet: 'fd00:61::/64', Gateway: 'fd00:61::1' },
        ],
      },
      Containers: {
        [id]: {
          Name: 'one',
          EndpointID: both?.['EndpointID'],
          MacAddress: '02:00:00:00:00:61',
          IPv4Address: '10.61.0.9/24',
          IPv6Address: 'fd00:61::9/64',
        },
      },
    });
    const refused: [string[], RegExp][] = [
      [['--ip', '10.61.0.9'], /Address already in use/],
      [['--ip', '10.61.0.2'], /Address already in use/],
      [['--ip', '10.62.0.2'], /no configured subnet contains the IP address 10\.62\.0\.2/],
      [['--link-local-ip', '169.254.7.1'], /Address already in use/],
      [['--link-local-ip', '10.61.0.8'], /invalid link-local IP address/],
    ];
    for (const [args, why] of refused) {
      const run = ['run', '--rm', '--network', 'both', ...args, busybox, 'true'];
      expect((await engine().cli(run, { expect: 'any' })).stderr).toMatch(why);
    }
  });

  test('IPv6 only', async () => {
    await cli('network', 'create', '--ipv4=false', '--ipv6', '--subnet', 'fd00:62::/64', 'six');
    await serve(engine(), 'one', '--network', 'six');
    await serve(engine(), 'two', '--network', 'six');
    expect(await within(engine(), 'one', 'ip', '-4', '-o', 'addr', 'show', 'eth0')).toBe('');
    await expect.poll(() => page(engine(), 'two', 'one')).toBe('one');
    expect(await within(engine(), 'two', 'ip', '-6', 'route', 'show', 'default')).toContain('via fd00:62::1');
    expect(await inspect(engine(), 'network', 'six')).toMatchObject({ EnableIPv4: false, EnableIPv6: true });
    const { six } = await networksOf(engine(), 'one');
    expect(six).toMatchObject({ IPAddress: '', IPPrefixLen: 0, GlobalIPv6PrefixLen: 64, Gateway: '' });
  });

  test('several networks in the order given, with names and settings of their links; priority decides the way out', async () => {
    for (const [name, number] of [
      ['zoo', 63],
      ['ant', 64],
    ] as const) {
      await cli('network', 'create', '--subnet', `10.${number}.0.0/24`, name);
    }
    const settings = `"driver-opt=${option('sysctls', 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.proxy_arp=1')}"`;
    await cli(
      ...['run', '-d', '--name', 'one', '--network', `name=zoo,alias=first,ip=10.63.0.9,${settings}`],
      ...['--network', `name=ant,mac-address=02:00:00:00:00:64,gw-priority=-1,driver-opt=${option('ifname', 'back0')}`],
      ...[busybox, 'sleep', '600'],
    );
    const links = await within(engine(), 'one', 'ip', '-o', 'addr');
    expect(links).toMatch(/eth0.* 10\.63\.0\.9\/24/);
    expect(links).toMatch(/back0.* 10\.64\.0\.2\/24/);
    expect(await within(engine(), 'one', 'ip', 'link', 'show', 'back0')).toContain('02:00:00:00:00:64');
    const sysctl = (name: string) => within(engine(), 'one', 'cat', `/proc/sys/net/ipv4/conf/${name}`);
    expect([await sysctl('eth0/log_martians'), await sysctl('eth0/proxy_arp')]).toEqual(['1\n', '1\n']);
    expect(await sysctl('back0/log_martians')).toBe('0\n');
    const way = () => within(engine(), 'one', 'ip', 'route', 'show', 'default');
    expect(await way()).toContain('via 10.63.0.1');
    expect((await networksOf(engine(), 'one'))['ant']).toMatchObject({
      GwPriority: -1,
      DriverOpts: { 'com.docker.network.endpoint.ifname': 'back0' },
      MacAddress: '02:00:00:00:00:64',
    });

    // A running container gets a better way out, and falls back on the next one.
    await cli('network', 'create', '--subnet', '10.65.0.0/24', 'top');
    await cli(
      'network',
      'connect',
      '--gw-priority',
      '5',
      '--alias',
      'x',
      '--driver-opt',
      option('ifname', 'up0'),
      'top',
      'one',
    );
    expect(await way()).toMatch(/via 10\.65\.0\.1 dev up0/);
    await cli('network', 'disconnect', 'top', 'one');
    expect(await way()).toContain('via 10.63.0.1');
    await cli('network', 'disconnect', 'zoo', 'one');
    expect(await way()).toMatch(/via 10\.64\.0\.1 dev back0/);

    // The next start is on what is left, which is none at last.
    await cli('restart', '-t', '0', 'one');
    expect(Object.keys(await networksOf(engine(), 'one'))).toEqual(['ant']);
    expect(await way()).toMatch(/via 10\.64\.0\.1 dev back0/);
    await cli('network', 'disconnect', 'ant', 'one');
    await cli('restart', '-t', '0', 'one');
    expect(await networksOf(engine(), 'one')).toEqual({});
    expect((await within(engine(), 'one', 'ip', '-o', 'link')).trim().split('\n')).toHaveLength(1);
    await cli('network', 'connect', 'ant', 'one');
    expect(await way()).toContain('via 10.64.0.1');
  });

  test('what no link can be called or set to is refused before anything is made', async () => {
    await cli('network', 'create', 'plain');
    const refused: [string[], RegExp][] = [
      [[option('ifname', '../eth9')], /invalid interface name/],
      [[option('ifname', 'all')], /invalid interface name/],
      [[option('ifname', 'a-name-that-is-too-long')], /invalid interface name/],
      [[option('sysctls', 'net.ipv4.ip_forward=1')], /unrecognised network interface sysctl/],
      [[option('sysctls', 'kernel.domainname.x.IFNAME.y=1')], /unrecognised network interface sysctl/],
      [[option('sysctls', 'net.ipv4.conf.eth0.forwarding=1')], /unrecognised network interface sysctl/],
      [[option('sysctls', 'net.ipv4.conf.IFNAME.../../x=1')], /unrecognised network interface sysctl/],
    ];
    for (const [options, why] of refused) {
      const network = ['name=plain', ...options.map((text) => `driver-opt=${text}`)].join(',');
      const { stderr } = await engine().cli(['create', '--network', network, busybox, 'true'], { expect: 'any' });
      expect(stderr).toMatch(why);
    }
    // What only the kernel knows shows at the start, and nothing of the container's network stays.
    const unknown = `name=plain,driver-opt=${option('sysctls', 'net.ipv4.conf.IFNAME.no_such=1')}`;
    const { stderr } = await engine().cli(['run', '--network', unknown, '--rm', busybox, 'true'], { expect: 'any' });
    expect(stderr).toMatch(/failed to set sysctl net\.ipv4\.conf\.eth0\.no_such=1: this kernel has no such setting/);
    // An address that is the engine's to choose cannot be the user's.
    const chosen = await engine().cli(['create', '--network', 'plain', '--ip', '172.18.0.9', busybox], {
      expect: 'any',
    });
    expect(chosen.stderr).toContain('only when connecting to networks with user configured subnets');
    await cli('network', 'rm', 'plain');
  });

  test('networks of settings alone, attachable ones, labels and filters', async () => {
    const settings = [
      '--subnet',
      '10.66.0.0/24',
      '--ip-range',
      '10.66.0.128/25',
      '--label',
      'tier=back',
      '-o',
      'com.docker.network.driver.mtu=1400',
    ];
    await cli('network', 'create', '--config-only', ...settings, 'settings');
    await cli('network', 'create', '--config-from', 'settings', '--attachable', 'made');
    expect(await inspect(engine(), 'network', 'settings')).toMatchObject({ ConfigOnly: true, Driver: 'null' });
    expect(await inspect(engine(), 'network', 'made')).toMatchObject({
      ConfigOnly: false,
      ConfigFrom: { Network: 'settings' },
      Attachable: true,
      Labels: { tier: 'back' },
      Options: { 'com.docker.network.driver.mtu': '1400' },
      IPAM: { Config: [{ Subnet: '10.66.0.0/24', IPRange: '10.66.0.128/25' }] },
    });
    const { stdout } = await cli('run', '--rm', '--network', 'made', busybox, 'ip', 'addr', 'show', 'eth0');
    expect(stdout).toMatch(/mtu 1400[\s\S]*inet 10\.66\.0\.(12[89]|13\d)\/24/);
    const refusals: [string[], RegExp][] = [
      [['run', '--rm', '--network', 'settings', busybox, 'true'], /configuration network/],
      [['network', 'rm', 'settings'], /in use/],
      [['network', 'create', '--config-from', 'made', 'x'], /not a configuration network/],
      [
        ['network', 'create', '--config-from', 'settings', '--subnet', '10.67.0.0/24', 'x'],
        /user specified configurations/,
      ],
      [['network', 'create', '--config-only', '--internal', 'x'], /network specific fields/],
    ];
    for (const [args, why] of refusals) {
      expect((await engine().cli(args, { expect: 'any' })).stderr).toMatch(why);
    }
    const names = async (...filters: string[]) =>
      (await cli('network', 'ls', '--format', '{{.Name}}', ...filters.flatMap((text) => ['--filter', text]))).stdout
        .trim()
        .split('\n');
    expect(await names('label=tier=back')).toEqual(['made', 'settings']);
    expect(await names('label=tier', 'driver=bridge')).toEqual(['made']);
    expect(await names('type=builtin')).toEqual(['bridge', 'host', 'none']);
    expect(await names('type=custom', 'name=mad')).toEqual(['made']);
    expect(await names('scope=local', 'dangling=true', 'driver=bridge')).toEqual(['made']);
    expect((await cli('network', 'prune', '-f')).stdout).toContain('made');
    expect(await names('type=custom', 'label=tier')).toEqual(['settings']);
    await cli('network', 'rm', 'settings');
  });
});

describe('a configured engine', () => {
  const engine = withEngine({
    serve: [
      ...[
        '--default-address-pool',
        'base=10.200.0.0/23,size=24',
        '--default-address-pool',
        'base=fd00:200::/63,size=64',
      ],
      ...['--bip', '10.201.0.9/24', '--fixed-cidr', '10.201.0.128/25', '--ipv6', '--bip6', 'fd00:201::9/64'],
      ...['--mtu', '1400', '--icc=false'],
    ],
  });
  const cli = (...args: string[]) => engine().cli(args);

  test('the default network is as configured', async () => {
    expect(await inspect(engine(), 'network', 'bridge')).toMatchObject({
      EnableIPv6: true,
      IPAM: {
        Config: [
          { Subnet: '10.201.0.0/24', IPRange: '10.201.0.128/25', Gateway: '10.201.0.9' },
          { Subnet: 'fd00:201::/64', Gateway: 'fd00:201::9' },
        ],
      },
      Options: {
        'com.docker.network.bridge.default_bridge': 'true',
        'com.docker.network.bridge.enable_icc': 'false',
        'com.docker.network.driver.mtu': '1400',
      },
    });
    await serve(engine(), 'one');
    await serve(engine(), 'two');
    const shown = await within(engine(), 'one', 'ip', 'addr', 'show', 'eth0');
    expect(shown).toMatch(/mtu 1400[\s\S]*inet 10\.201\.0\.1(29|28)\/24[\s\S]*inet6 fd00:201::[1-8]\/64/);
    expect(await within(engine(), 'one', 'ip', 'route', 'show', 'default')).toContain('via 10.201.0.9');
    const address = (await networksOf(engine(), 'one'))['bridge']!['IPAddress'] as string;
    expect(await page(engine(), 'two', address)).not.toBe('one');
    await cli('rm', '-f', 'one', 'two');
  });

  test('networks come from the pools, past what the host routes, until they are used up', async () => {
    await engine().run(['ip', 'link', 'add', 'vpn0', 'type', 'bridge']);
    await engine().run(['ip', 'address', 'add', '10.200.0.77/26', 'dev', 'vpn0']);
    await engine().run(['ip', 'link', 'set', 'vpn0', 'up']);
    await cli('network', 'create', '--ipv6', 'first');
    expect(await inspect(engine(), 'network', 'first')).toMatchObject({
      IPAM: { Config: [{ Subnet: '10.200.1.0/24' }, { Subnet: 'fd00:200::/64' }] },
    });
    const { stderr } = await engine().cli(['network', 'create', 'second'], { expect: 1 });
    expect(stderr).toContain('all predefined address pools have been fully subnetted');
    await cli('network', 'create', '--ipv4=false', '--ipv6', 'second');
    await cli('network', 'rm', 'first', 'second');
    await engine().run(['ip', 'link', 'delete', 'vpn0']);
  });

  test('a container without networking has nothing but lo', async () => {
    const body = { Image: busybox, Cmd: ['ip', '-o', 'link'], NetworkDisabled: true };
    const { body: made } = await engine().api<{ Id: string }>('POST', '/containers/create?name=alone', body);
    const { stdout } = await cli('start', '-a', made.Id);
    expect(stdout.trim().split('\n')).toEqual([expect.stringMatching(/^\d+: lo: /)]);
    expect(await networksOf(engine(), 'alone')).toEqual({});
    await cli('rm', 'alone');
  });

  test('documents of each version of the API', async () => {
    const shown = async (version: string) =>
      (await engine().api<Record<string, unknown>>('GET', `/v${version}/networks/bridge`)).body;
    expect(await shown('1.47')).not.toHaveProperty('EnableIPv4');
    expect(await shown('1.48')).toMatchObject({ EnableIPv4: true, EnableIPv6: true, ConfigFrom: { Network: '' } });
    // A client that knows of no networks without IPv4 makes none.
    const body = { Name: 'old', EnableIPv4: false, IPAM: { Config: [{ Subnet: '10.68.0.0/24' }] } };
    expect((await engine().api('POST', '/v1.47/networks/create', body)).status).toBe(201);
    expect((await engine().api<{ EnableIPv4: boolean }>('GET', '/networks/old')).body.EnableIPv4).toBe(true);
    await cli('network', 'rm', 'old');
  });
});
