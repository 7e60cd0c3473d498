import { TareError } from '../errors/index.ts';
import { isIP } from '../linux/index.ts';
import type { NetworkRecord } from './driver.ts';
import type { CreateNetwork } from './network-service.ts';
import type { StoredNetwork } from './records.ts';
import { addressText, checkedAddress, contains, lastAddress, parseSubnet, type Subnet, subnetText } from './subnet.ts';

/** The option that says where a network's ports are published when no address is named. */
export const HOST_BINDING = 'com.docker.network.bridge.host_binding_ipv4';

const BRIDGE = 'com.docker.network.bridge';
const gatewayModes = ['nat', 'nat-unprotected', 'routed', 'isolated'] as const;
/**
 * How a bridge network meets the world in one family. `nat`: published ports, by the host's addresses. `nat-unprotected`: the
 * same, and whoever routes to the subnet reaches every port. `routed`: no address translation, published ports by the
 * container's own address. `isolated`: the host has no address on the bridge.
 */
export type GatewayMode = (typeof gatewayModes)[number];

export function gatewayMode(network: Pick<NetworkRecord, 'options'>, family: 4 | 6): GatewayMode {
  const text = network.options[`${BRIDGE}.gateway_mode_ipv${family}`] ?? '';
  return gatewayModes.find((mode) => mode === text) ?? 'nat';
}

/** Whether containers of a bridge are held to their own MAC addresses, and nobody believes others' answers to ARP. */
export const isGuarded = (network: Pick<NetworkRecord, 'options'>): boolean =>
  booleanFrom(network.options, SPOOF_GUARD);

const SPOOF_GUARD = 'tare.bridge.spoof_guard';

/** The host's address that a network's packets leave under; '' for that of the link they leave by. */
export const sourceAddress = (network: Pick<NetworkRecord, 'options'>, family: 4 | 6): string =>
  network.options[`com.docker.network.host_ipv${family}`] ?? '';

/** @throws {TareError} InvalidArgument */
function checkBridgeOptions({ name, internal, options }: CreateNetwork): void {
  const binding = options[HOST_BINDING] ?? '';
  if (binding !== '') checkedAddress(binding, HOST_BINDING);
  booleanFrom(options, SPOOF_GUARD);
  for (const family of [4, 6] as const) {
    const key = `${BRIDGE}.gateway_mode_ipv${family}`;
    const mode = options[key] ?? '';
    if (mode !== '' && !gatewayModes.some((known) => known === mode)) {
      throw new TareError(
        'InvalidArgument',
        `network ${name}: invalid ${key} ${JSON.stringify(mode)}: one of ${gatewayModes.join(', ')}`,
      );
    }
    if (mode === 'isolated' && !internal) {
      throw new TareError(
        'InvalidArgument',
        `network ${name}: ${key}=isolated is for internal networks: add --internal`,
      );
    }
    const source = options[`com.docker.network.host_ipv${family}`] ?? '';
    if (source !== '' && isIP(checkedAddress(source, `com.docker.network.host_ipv${family}`)) !== family) {
      throw new TareError(
        'InvalidArgument',
        `network ${name}: com.docker.network.host_ipv${family}: ${source} is not an IPv${family} address`,
      );
    }
  }
}

const LINK_PREFIX = 'com.docker.network.container_iface_prefix';

/** What the links of a network's containers are called, before their number. */
export const linkPrefix = ({ options }: Pick<NetworkRecord, 'options'>): string => options[LINK_PREFIX] || 'eth';

/** @throws {TareError} InvalidArgument */
function checkLinkPrefix(network: CreateNetwork): void {
  const prefix = linkPrefix(network);
  // Three bytes of the fifteen are for the number.
  if (/^[a-zA-Z][a-zA-Z0-9_.-]{0,11}$/.test(prefix)) return;
  throw new TareError(
    'InvalidArgument',
    `network ${network.name}: invalid ${LINK_PREFIX} ${JSON.stringify(prefix)}: 1 to 12 letters, digits, '_', '.' or '-', beginning with a letter`,
  );
}

const DEFAULT_MTU = 1500;
const drivers = ['bridge', 'macvlan', 'ipvlan', 'host', 'none'] as const;
const isDriver = (name: string): name is (typeof drivers)[number] => drivers.some((driver) => driver === name);

/** Whether the host itself is a network's gateway; where it is not, there is one only if the user names it. */
export const isGatewayOurs = ({ driver }: Pick<NetworkRecord, 'driver'>): boolean => driver === 'bridge';

/**
 * A network's record from what was asked, still without subnets from the pools.
 *
 * @param defaultBridge name of the bridge link when the options name none
 * @throws {TareError} InvalidArgument, or NotFound for an unknown driver
 */
export function networkFrom(request: CreateNetwork, id: string, defaultBridge: string): StoredNetwork {
  const { name, driver, options } = request;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) || name.length > 255) {
    throw new TareError(
      'InvalidArgument',
      `invalid network name: ${JSON.stringify(name)}: use letters, digits, '_', '.' and '-', beginning with a letter or digit`,
    );
  }
  if (!isDriver(driver)) {
    throw new TareError(
      'NotFound',
      `plugin ${JSON.stringify(driver)} not found: network drivers are ${drivers.join(', ')}`,
    );
  }
  const bridge = options['com.docker.network.bridge.name'] ?? defaultBridge;
  // dev_valid_name in net/core/dev.c; quotes would break out of our rules' text.
  if (driver === 'bridge' && (!/^[a-zA-Z0-9_.-]{1,15}$/.test(bridge) || bridge === '.' || bridge === '..')) {
    throw new TareError(
      'InvalidArgument',
      `invalid bridge name ${JSON.stringify(bridge)}: 1 to 15 letters, digits, '_', '.' or '-'`,
    );
  }
  if (driver !== 'host' && driver !== 'none' && !request.enableIPv4 && !request.enableIPv6) {
    throw new TareError('InvalidArgument', `network ${name}: IPv4 or IPv6 must be enabled`);
  }
  if (driver === 'bridge') checkBridgeOptions(request);
  checkLinkPrefix(request);
  return {
    id,
    name,
    driver,
    createdMs: Date.now(),
    bridge: driver === 'bridge' ? bridge : '',
    internal: request.internal,
    enableIPv4: request.enableIPv4,
    enableIPv6: request.enableIPv6,
    mtu: mtuFrom(options['com.docker.network.driver.mtu']),
    ipam: request.ipam,
    icc: booleanFrom(options, 'com.docker.network.bridge.enable_icc'),
    masquerade: booleanFrom(options, 'com.docker.network.bridge.enable_ip_masquerade'),
    options,
    labels: request.labels,
    attachable: request.attachable ?? false,
    configOnly: request.configOnly ?? false,
    configFrom: request.configFrom ?? '',
    ipamOptions: request.ipamOptions ?? {},
    cursorIpv4: '',
    cursorIpv6: '',
    ownsBridge: true,
    isAutomatic: false,
  };
}

/**
 * The wanted subnets, complete and consistent, those of IPv4 first; an entry without a subnet only asks for one from
 * the pools.
 * @throws {TareError} InvalidArgument
 */
export function checkedIpam(network: NetworkRecord): NetworkRecord['ipam'] {
  const checked = network.ipam
    .filter(({ subnet }) => subnet !== '')
    .map((entry) => {
      const subnet = parseSubnet(entry.subnet);
      const text = subnetText(subnet);
      if (subnet.family === 4 ? !network.enableIPv4 : !network.enableIPv6) {
        throw new TareError(
          'InvalidArgument',
          `network ${network.name}: subnet ${text} needs IPv${subnet.family} to be enabled`,
        );
      }
      const isTooSmall = subnet.prefix > (subnet.family === 4 ? 30 : 126);
      if (isTooSmall)
        throw new TareError('InvalidArgument', `network ${network.name}: subnet ${text} has no room for containers`);
      const first = isGatewayOurs(network) ? addressText(subnet.base + 1n, subnet.family) : '';
      const gateway = entry.gateway === '' ? first : checkedAddress(entry.gateway, 'gateway');
      if (gateway !== '' && !contains(subnet, gateway)) {
        throw new TareError('InvalidArgument', `no matching subnet for gateway ${entry.gateway}`);
      }
      const range = entry.ipRange === '' ? undefined : parseSubnet(entry.ipRange);
      if (
        range !== undefined &&
        (!contains(subnet, addressText(range.base, range.family)) ||
          !contains(subnet, addressText(lastAddress(range), range.family)))
      ) {
        throw new TareError('InvalidArgument', `no matching subnet for range ${entry.ipRange}`);
      }
      return {
        subnet: text,
        gateway,
        ipRange: range === undefined ? '' : subnetText(range),
        auxAddresses: checkedAuxiliary(entry.auxAddresses ?? {}, subnet),
      };
    });
  return inFamilyOrder(checked);
}

/** Subnets of IPv4 before those of IPv6, as Docker shows them: docker's client sends several in a random order. */
export function inFamilyOrder<T extends { subnet: string }>(ipam: readonly T[]): T[] {
  return ipam.toSorted((a, b) => parseSubnet(a.subnet).family - parseSubnet(b.subnet).family);
}

/** Addresses of others in a subnet, which no container is given. */
function checkedAuxiliary(wanted: Record<string, string>, subnet: Subnet): Record<string, string> {
  return Object.fromEntries(
    Object.entries(wanted).map(([name, text]) => {
      const address = checkedAddress(text, `auxiliary address ${name}`);
      if (!contains(subnet, address)) {
        throw new TareError('InvalidArgument', `no matching subnet for aux-address ${text}`);
      }
      return [name, address];
    }),
  );
}

function mtuFrom(text: string | undefined): number {
  if (text === undefined || text === '' || text === '0') return DEFAULT_MTU;
  const mtu = /^\d{2,5}$/.test(text) ? Number(text) : 0;
  // Below 68 IPv4 cannot work (RFC 791); a veth takes at most 65535.
  if (mtu < 68 || mtu > 65_535)
    throw new TareError('InvalidArgument', `invalid MTU ${JSON.stringify(text)}: 68 to 65535`);
  return mtu;
}

function booleanFrom(options: Record<string, string>, key: string): boolean {
  const text = options[key];
  if (text === undefined || text === '') return true;
  // What Go's ParseBool takes, as docker's own driver does.
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new TareError('InvalidArgument', `invalid value for ${key}: ${JSON.stringify(text)} is neither true nor false`);
}
