import { closeSync, existsSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../../errors/index.ts';
import { type Link, RouteSocket, SyscallError, withNamespace } from '../../linux/index.ts';
import type { Endpoint } from '../driver.ts';
import { dressLink } from '../endpoint-link.ts';
import type { StoredNetwork } from '../records.ts';
import { setSysctl } from '../sysctl.ts';
import { refusals } from './parent-links.ts';
import { childKind, isRouted } from './parent-options.ts';

/** Runs with a socket into a namespace and its descriptor. */
function within<T>(netns: string, work: (inside: RouteSocket, namespace: number) => T): T {
  const namespace = openSync(netns, 'r');
  try {
    using inside = withNamespace(namespace, () => new RouteSocket());
    return work(inside, namespace);
  } finally {
    closeSync(namespace);
  }
}

/** How long the kernel may take to let go of the link of a container that has ended, and of its address on the wire. */
const RELEASE_MS = 3000;

/** Makes an endpoint's link directly in its namespace, with addresses and routes. */
export async function attachChild(
  host: RouteSocket,
  network: StoredNetwork,
  parent: Link,
  endpoint: Endpoint,
  netns: string,
): Promise<void> {
  const { interfaceName, macAddress } = endpoint;
  const subject = `network ${network.name}: failed to create the ${network.driver} link on ${parent.name}`;
  const make = () =>
    within(netns, (inside, namespace) => {
      // The kernel looks for the name in the namespace of the parent too, where there is an eth0 already.
      const passing = `tare${endpoint.id.slice(0, 11)}`;
      const child = childKind(network);
      const hasMtu = (network.options['com.docker.network.driver.mtu'] ?? '') !== '';
      refusals(subject, child.kind, () =>
        host.addChild({
          ...{ name: passing, parent: parent.index, namespace, child },
          ...(macAddress === '' || isPassthru(network) ? {} : { macAddress }),
          ...(hasMtu ? { mtu: network.mtu } : {}),
        }),
      );
      const link = inside.link(passing);
      if (link === undefined) throw new TareError('Internal', `${passing} vanished from ${netns}`);
      inside.setLink(link.index, { name: interfaceName });
      // With passthru the address is the parent's, and setting it sets the parent's.
      if (isPassthru(network) && link.macAddress !== macAddress) inside.setLink(link.index, { macAddress });
      withNamespace(namespace, () => {
        // Neighbours on the wire may remember another container's MAC address for this IP address: coming up, tell them.
        setSysctl(`net/ipv4/conf/${interfaceName}/arp_notify`, '1');
        if (endpoint.ipv6 !== '') setSysctl(`net/ipv6/conf/${interfaceName}/ndisc_notify`, '1');
      });
      return link.index;
    });
  // Step by step: what is done is not done again when the kernel lets us wait.
  const index = await patiently(make);
  await patiently(() =>
    within(netns, (inside, namespace) => {
      refusals(subject, network.driver, () => dressLink(inside, namespace, index, endpoint));
    }),
  );
  await patiently(() =>
    within(netns, (inside) => {
      refusals(subject, network.driver, () => inside.setLink(index, { isUp: true }));
      addDefaultRoutes(inside, network, endpoint, index);
    }),
  );
}

/** Tries again while the kernel may still be letting go of what stands in the way. */
async function patiently<T>(work: () => T): Promise<T> {
  const deadline = Date.now() + RELEASE_MS;
  for (;;) {
    try {
      return work();
    } catch (error) {
      const code = error instanceof TareError && error.cause instanceof SyscallError ? error.cause.code : '';
      if (!['EADDRINUSE', 'EBUSY', 'EINVAL'].includes(code) || Date.now() > deadline) throw error;
      await sleep(10);
    }
  }
}

export const isPassthru = ({ driver, options }: StoredNetwork): boolean =>
  driver === 'macvlan' && options['macvlan_mode'] === 'passthru';

export function hasChild(network: StoredNetwork, endpoint: Endpoint, parent: Link, netns: string): boolean {
  return within(netns, (inside) => childrenOf(inside, network, endpoint, parent).length > 0);
}

export function lowerChild(network: StoredNetwork, endpoint: Endpoint, parent: Link | undefined, netns: string): void {
  within(netns, (inside) => {
    for (const { index } of childrenOf(inside, network, endpoint, parent)) inside.setLink(index, { isUp: false });
  });
}

/** Removes an endpoint's link from a namespace that stays. Repeating is safe. */
export async function removeChild(
  network: StoredNetwork,
  endpoint: Endpoint,
  parent: Link | undefined,
  netns: string,
): Promise<void> {
  // A container that ended meanwhile took its links along.
  if (!existsSync(netns)) return;
  using inside = within(netns, (_, namespace) => withNamespace(namespace, () => new RouteSocket()));
  for (const { index } of childrenOf(inside, network, endpoint, parent)) {
    try {
      await inside.deleteLink(index);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === 'ENODEV')) throw error;
    }
  }
}

/**
 * An endpoint's link. A container that may do so can rename its links, so the parent decides, and the name only where the
 * container has several links on it, which are all on the same wire.
 */
function childrenOf(inside: RouteSocket, network: StoredNetwork, endpoint: Endpoint, parent: Link | undefined): Link[] {
  const children = inside
    .links()
    .filter((link) => link.kind === network.driver && link.isParentElsewhere && link.parent === parent?.index);
  return children.length === 1 ? children : children.filter(({ name }) => name === endpoint.interfaceName);
}

function addDefaultRoutes(inside: RouteSocket, network: StoredNetwork, endpoint: Endpoint, index: number): void {
  if (network.internal) return;
  const ways: [destination: string, gateway: string, address: string][] = [
    ['0.0.0.0', endpoint.gatewayIpv4, endpoint.ipv4],
    ['::', endpoint.gatewayIpv6, endpoint.ipv6],
  ];
  for (const [destination, gateway, address] of ways) {
    if (address === '' || (gateway === '' && !isRouted(network))) continue;
    try {
      inside.addRoute({ destination, prefix: 0, gateway, index });
    } catch (error) {
      // The network that was connected first is the way out.
      if (!(error instanceof SyscallError && error.code === 'EEXIST')) throw error;
    }
  }
}
