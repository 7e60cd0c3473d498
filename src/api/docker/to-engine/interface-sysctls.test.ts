import { expect, test } from 'vitest';
import { createBody } from '../schema/container.ts';
import { decodeJson } from '../schema/decode.ts';
import { withInterfaceSysctls } from './interface-sysctls.ts';
import { toNetworking } from './networking.ts';

const OPTION = 'com.docker.network.endpoint.sysctls';
const create = (Sysctls: Record<string, string>, more: object = {}) =>
  decodeJson(createBody, { HostConfig: { NetworkMode: 'back', Sysctls }, ...more });

test('sysctls of eth0 become those of the main network, beside what it has; others stay', () => {
  const asked = create(
    { 'net.ipv4.conf.eth0.forwarding': '1', 'net.ipv4.ip_forward': '0' },
    {
      NetworkingConfig: { EndpointsConfig: { back: { DriverOpts: { [OPTION]: 'net.ipv4.conf.IFNAME.proxy_arp=1' } } } },
    },
  );
  const { body, warnings } = withInterfaceSysctls(asked, 47);
  expect(body.HostConfig.Sysctls).toEqual({ 'net.ipv4.ip_forward': '0' });
  expect(toNetworking(body)).toMatchObject([
    {
      network: 'back',
      driverOptions: { [OPTION]: 'net.ipv4.conf.IFNAME.proxy_arp=1,net.ipv4.conf.IFNAME.forwarding=1' },
    },
  ]);
  expect(warnings).toEqual([
    `Migrated sysctl "net.ipv4.conf.eth0.forwarding" to DriverOpts{"${OPTION}":"net.ipv4.conf.IFNAME.forwarding=1"}.`,
  ]);
});

test('a network that was not named with settings gets them too', () => {
  const { body } = withInterfaceSysctls(create({ 'net.ipv6.conf.eth0.accept_ra': '2' }), 41);
  expect(toNetworking(body)[0]?.driverOptions).toEqual({ [OPTION]: 'net.ipv6.conf.IFNAME.accept_ra=2' });
});

test.each([
  ['net.ipv4.conf.eth1.forwarding', 47, /unable to determine network endpoint for sysctl net\.ipv4\.conf\.eth1/],
  ['net.ipv4.conf.eth0.forwarding', 48, /must be supplied using driver option/],
])('%s is refused at 1.%d', (name, version, why) => {
  expect(() => withInterfaceSysctls(create({ [name]: '1' }), version)).toThrow(why);
});

test('a network namespace that is not its own keeps none', () => {
  const asked = decodeJson(createBody, {
    HostConfig: { NetworkMode: 'host', Sysctls: { 'net.ipv4.conf.eth0.forwarding': '1' } },
  });
  expect(withInterfaceSysctls(asked, 51)).toEqual({ body: asked, warnings: [] });
});
