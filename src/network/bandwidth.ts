import { closeSync, openSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { type Link, type RateLimit, RouteSocket, SyscallError, withNamespace } from '../linux/index.ts';
import type { Bandwidth, Endpoint } from './driver.ts';
import type { NetworkDeps } from './network-deps.ts';
import { findNetwork, listEndpoints, updateEndpoint } from './records.ts';

/** An endpoint's own limits, as driver options. */
export const BANDWIDTH_IN = 'tare.bandwidth.in';
export const BANDWIDTH_OUT = 'tare.bandwidth.out';

const units: Record<string, number> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9, tbit: 1e12 };
const MIN_BITS = 8e3;
const MAX_BITS = 1e12;

/**
 * A rate as tc writes it: `10mbit`, `1.5gbit`, in powers of ten.
 *
 * @returns bits a second; 0 for '', 'none' and '0', which are no limit
 * @throws {TareError} InvalidArgument
 */
function parseRate(text: string, subject: string): number {
  if (text === '' || text === 'none' || text === '0') return 0;
  const [, number, unit = ''] = /^(\d{1,15}(?:\.\d{1,9})?)([a-z]+)$/.exec(text.toLowerCase()) ?? [];
  const bits = Math.round(Number(number) * (units[unit] ?? Number.NaN));
  if (bits >= MIN_BITS && bits <= MAX_BITS) return bits;
  throw new TareError(
    'InvalidArgument',
    `invalid ${subject} ${JSON.stringify(text)}: a rate from 8kbit to 1tbit, such as 500kbit, 10mbit or 1.5gbit, or none`,
  );
}

/**
 * What holds for an endpoint: its own limits, or else its container's.
 * @throws {TareError} InvalidArgument: a text that is no rate
 */
export function bandwidthFor(
  container: { in: string; out: string } | undefined,
  driverOptions: Readonly<Record<string, string>>,
): Bandwidth {
  return {
    inBits: parseRate(driverOptions[BANDWIDTH_IN] ?? container?.in ?? '', 'bandwidth in'),
    outBits: parseRate(driverOptions[BANDWIDTH_OUT] ?? container?.out ?? '', 'bandwidth out'),
  };
}

export const isLimited = ({ bandwidth }: Pick<Endpoint, 'bandwidth'>): boolean =>
  bandwidth !== undefined && (bandwidth.inBits > 0 || bandwidth.outBits > 0);

/** @see NetworkService.setBandwidth */
export async function setBandwidth(
  deps: NetworkDeps,
  containerId: string,
  networkId: string,
  bandwidth: Bandwidth,
): Promise<void> {
  const before = listEndpoints(deps.db, { containerId, networkId })[0];
  if (before === undefined || before.interfaceName === '') return;
  const wanted: Endpoint = { ...before, bandwidth };
  checkBandwidth(deps, wanted);
  await record(deps, wanted);
  try {
    shapeTraffic(deps, wanted, deps.namespaces.path(containerId));
  } catch (error) {
    await record(deps, before);
    throw error;
  }
}

const record = (deps: NetworkDeps, { id, containerId, networkId, bandwidth }: Endpoint): Promise<void> =>
  deps.db.write((tx) => {
    const current = listEndpoints(deps.db, { containerId, networkId }).find((endpoint) => endpoint.id === id);
    if (current !== undefined) updateEndpoint(tx, { ...current, ...(bandwidth === undefined ? {} : { bandwidth }) });
  });

/** @throws {TareError} Unsupported: what comes in by such a link cannot be held back */
export function checkBandwidth(
  deps: Pick<NetworkDeps, 'db'>,
  endpoint: Pick<Endpoint, 'networkId' | 'bandwidth'>,
): void {
  if ((endpoint.bandwidth?.inBits ?? 0) === 0) return;
  const network = findNetwork(deps.db, endpoint.networkId);
  // Its packets come up in the parent's namespace, and never pass the link (drivers/net/ipvlan/ipvlan_l3s.c).
  if (network.driver !== 'ipvlan' || network.options['ipvlan_mode'] !== 'l3s') return;
  throw new TareError(
    'Unsupported',
    `network ${network.name}: incoming bandwidth cannot be limited in ipvlan mode l3s: use l2 or l3, or limit what goes out`,
  );
}

/**
 * Makes an endpoint's link as fast as its record says. What comes in is held back at the host's end of the link; links
 * without one send it through an ifb beside them. What goes out waits at the container's end, so that its programs are
 * slowed down instead of losing packets. Repeating is safe.
 *
 * @param netns path of the container's network namespace
 * @throws {TareError} Conflict: the container has removed or renamed the link; Unsupported: the kernel has no such queue
 */
export function shapeTraffic(deps: NetworkDeps, endpoint: Endpoint, netns: string): void {
  const { inBits = 0, outBits = 0 } = endpoint.bandwidth ?? {};
  const namespace = openSync(netns, 'r');
  try {
    using inside = withNamespace(namespace, () => new RouteSocket());
    const host = deps.links.route;
    const { link, hostEnd } = findEnds(host, inside, endpoint);
    inside.limitSending(link.index, rateLimit(outBits, link.mtu));
    if (hostEnd !== undefined) host.limitSending(hostEnd.index, rateLimit(inBits, hostEnd.mtu));
    else limitReceiving(inside, link, ifbName(endpoint), rateLimit(inBits, link.mtu));
  } catch (error) {
    if (!(error instanceof SyscallError) || !['ENOENT', 'EOPNOTSUPP', 'ENOTSUP'].includes(error.code)) throw error;
    throw new TareError(
      'Unsupported',
      `bandwidth of ${endpoint.interfaceName} cannot be limited: ${error.message}: the kernel needs sch_tbf, and for networks without a bridge ifb, sch_ingress, cls_u32 and act_mirred`,
      { cause: error },
    );
  } finally {
    closeSync(namespace);
  }
}

/** A link that a container's traffic waits at, and that is no network of its own. */
export const IFB = /^ifb[0-9a-f]{11}$/;
const ifbName = ({ id }: Endpoint): string => `ifb${id.slice(0, 11)}`;

/** Both ends of an endpoint's link; only a veth pair has one on the host. */
function findEnds(host: RouteSocket, inside: RouteSocket, endpoint: Endpoint): { link: Link; hostEnd?: Link } {
  const { interfaceName, hostInterface } = endpoint;
  if (hostInterface !== '') {
    const hostEnd = host.link(hostInterface);
    // By its number: the container may have renamed it.
    const link = inside.links().find(({ index, isParentElsewhere }) => isParentElsewhere && index === hostEnd?.parent);
    if (hostEnd === undefined || link === undefined) throw missing(interfaceName);
    return { link, hostEnd };
  }
  const link = inside.link(interfaceName);
  if (link === undefined) throw missing(interfaceName);
  if (link.kind !== 'veth' || !link.isParentElsewhere) return { link };
  const hostEnd = host
    .links()
    .find(({ index, kind, parent }) => kind === 'veth' && index === link.parent && parent === link.index);
  return hostEnd === undefined ? { link } : { link, hostEnd };
}

const missing = (name: string): TareError =>
  new TareError('Conflict', `link ${name} is no longer in the container: its bandwidth cannot be limited`);

function limitReceiving(inside: RouteSocket, link: Link, name: string, limit: RateLimit | undefined): void {
  const present = inside.link(name);
  if (limit === undefined) {
    if (present === undefined) return;
    inside.redirectReceived(link.index, undefined);
    // It stays, down, for the next limit: deleting a link takes tens of milliseconds.
    inside.setLink(present.index, { isUp: false });
    return;
  }
  if (present === undefined) inside.addSink({ name, kind: 'ifb' });
  const ifb = inside.link(name);
  if (ifb === undefined) throw missing(name);
  inside.limitSending(ifb.index, limit);
  inside.setLink(ifb.index, { isUp: true });
  inside.redirectReceived(link.index, ifb.index);
}

/** How long a packet may wait. */
const QUEUE_SECONDS = 0.05;
/** What may be sent at once after a pause. */
const BURST_SECONDS = 0.005;
const MIN_BURST_BYTES = 16 * 1024;
const MIN_QUEUE_BYTES = 64 * 1024;
const MAX_QUEUE_BYTES = 16 * 1024 * 1024;

function rateLimit(bits: number, mtu: number): RateLimit | undefined {
  if (bits === 0) return undefined;
  const rate = Math.max(1, Math.round(bits / 8));
  const within = (seconds: number, least: number) =>
    Math.round(Math.min(Math.max(rate * seconds, least), MAX_QUEUE_BYTES));
  const burst = within(BURST_SECONDS, Math.max(MIN_BURST_BYTES, 2 * mtu));
  return { rateBytesPerSecond: rate, burstBytes: burst, queueBytes: within(QUEUE_SECONDS, MIN_QUEUE_BYTES) };
}
