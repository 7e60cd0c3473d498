import { expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { throughEveryFace } from '../support/faces.ts';

throughEveryFace('drivers of networks', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);
  const sh = (command: string) => engine().run(['sh', '-c', command]);

  test('a macvlan network is made, shown, used and removed', async () => {
    await sh('ip link add lan0 type veth peer name lan1 && ip link set lan0 up && ip link set lan1 up');
    const pool = ['--subnet', '10.90.0.0/24', '--gateway', '10.90.0.254', '--ip-range', '10.90.0.128/25'];
    const printer = ['--aux-address', 'printer=10.90.0.128'];
    await cli('network', 'create', '-d', 'macvlan', '-o', 'parent=lan0', ...pool, ...printer, 'lan');
    const [shown] = JSON.parse((await cli('network', 'inspect', 'lan')).stdout);
    expect(shown).toMatchObject({
      Driver: 'macvlan',
      Scope: 'local',
      Options: { parent: 'lan0' },
      IPAM: {
        Config: [
          {
            ...{ Subnet: '10.90.0.0/24', Gateway: '10.90.0.254', IPRange: '10.90.0.128/25' },
            AuxiliaryAddresses: { printer: '10.90.0.128' },
          },
        ],
      },
    });
    const run = ['run', '-d', '--network', 'lan', '--name'];
    const first = await cli(...run, 'one', '-p', '18400:80', busybox, 'sleep', '60');
    expect(first.stderr).toContain('Published ports are discarded when using macvlan network mode');
    await cli(...run, 'two', '--ip', '10.90.0.7', busybox, 'sleep', '60');
    const address = (await cli('exec', 'one', 'ip', '-4', '-o', 'address', 'show', 'eth0')).stdout;
    expect(address).toContain('inet 10.90.0.129/24');
    expect((await cli('exec', 'one', 'ping', '-c', '1', '-W', '30', '10.90.0.7')).stdout).toContain(
      '1 packets received',
    );
    expect((await cli('exec', 'one', 'ip', 'route')).stdout).toContain('default via 10.90.0.254 dev eth0');
    await cli('rm', '-f', 'one', 'two');
    await cli('network', 'rm', 'lan');
    expect((await sh('ip -o link')).stdout).not.toContain('macvlan');
  });

  test('what a driver refuses is said in a line', async () => {
    const create = (...options: string[]) =>
      engine()
        .cli(['network', 'create', ...options, 'lan'], { expect: 1 })
        .then(({ stderr }) => stderr);
    expect(await create('-d', 'macvlan', '-o', 'parent=nowhere')).toContain(
      'invalid subinterface vlan name nowhere, example formatting is eth0.10',
    );
    expect(await create('-d', 'ipvlan', '-o', 'ipvlan_mode=l4')).toContain(
      "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default",
    );
    expect(await create('-d', 'cni')).toContain('are the conflists in /etc/cni/net.d');
    expect((await cli('info')).stdout).toMatch(/Network: .*bridge cni host ipvlan macvlan null/);
  });

  test('a conflist of CNI is a network, whose plugins publish ports', async () => {
    const changed = `${engine().root}/etc`;
    const list = {
      ...{ cniVersion: '1.0.0', name: 'podnet' },
      plugins: [
        {
          ...{ type: 'bridge', bridge: 'cni9', isDefaultGateway: true, ipMasq: true },
          ipam: { type: 'host-local', subnet: '10.91.0.0/24', dataDir: `${engine().root}/ipam` },
        },
        { type: 'portmap', capabilities: { portMappings: true }, snat: true },
      ],
    };
    await sh(
      `mkdir -p ${changed}/up ${changed}/work && mount -t overlay overlay -o lowerdir=/etc,upperdir=${changed}/up,workdir=${changed}/work /etc &&
       mkdir -p /etc/cni/net.d && echo '${JSON.stringify(list)}' > /etc/cni/net.d/10-podnet.conflist`,
    );
    expect((await cli('network', 'ls', '--format', '{{.Name}} {{.Driver}}')).stdout).toContain('podnet cni');
    const server = ['sh', '-c', 'mkdir /p && echo here > /p/index.html && exec httpd -f -p 80 -h /p'];
    await cli('run', '-d', '--name', 'web', '--network', 'podnet', '-p', '18401:80', busybox, ...server);
    expect((await cli('inspect', '-f', '{{.NetworkSettings.Networks.podnet.IPAddress}}', 'web')).stdout).toBe(
      '10.91.0.2\n',
    );
    const other = ['run', '--rm', '--network', 'podnet', busybox, 'wget', '-qO-'];
    expect((await cli(...other, 'http://10.91.0.2/')).stdout).toBe('here\n');
    const asked = await sh(
      'curl -s --retry 20 --retry-delay 0 --retry-connrefused --max-time 5 http://10.91.0.1:18401/',
    );
    expect(asked.stdout).toBe('here\n');
    await cli('network', 'prune', '-f');
    await engine().cli(['network', 'rm', 'podnet'], { expect: 1 });
    await cli('rm', '-f', 'web');
    // The masquerade rules are taken back while the namespace is there; the addresses are given back.
    expect((await sh('iptables-save -t nat')).stdout).not.toMatch(/10\.91\.0\.\d+|18401/);
    expect((await sh(`ls ${engine().root}/ipam/podnet`)).stdout).not.toMatch(/10\.91/);
  });
});
