import type { ContainerView, EndpointRequest } from '../../../engine/index.ts';
import type { PortMapping } from '../../../network/index.ts';
import type { ApiVersion } from '../version.ts';
import { orNull } from './host-config.ts';

type ViewEndpoint = ContainerView['endpoints'][number];

/** inspect's `NetworkSettings`. */
export function networkSettingsOf(view: ContainerView, version: ApiVersion) {
  const bridge = view.endpoints.find(({ networkName }) => networkName === 'bridge');
  const sandbox = isOnline(view) ? view.id : '';
  return {
    Bridge: '',
    SandboxID: sandbox,
    SandboxKey: isOnline(view) && view.state.pid > 0 ? `/proc/${view.state.pid}/ns/net` : '',
    Ports: portMapOf(view),
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: bridge?.id ?? '',
    Gateway: bridge?.gatewayIpv4 ?? '',
    GlobalIPv6Address: address(bridge?.ipv6),
    GlobalIPv6PrefixLen: prefixLength(bridge?.ipv6),
    IPAddress: address(bridge?.ipv4),
    IPPrefixLen: prefixLength(bridge?.ipv4),
    IPv6Gateway: bridge?.gatewayIpv6 ?? '',
    MacAddress: bridge?.macAddress ?? '',
    Networks: networksOf(view, version),
  };
}

/** Every network that the container is on, or will be on once started, by name. */
export function networksOf(
  view: ContainerView,
  version: ApiVersion,
): Record<string, ReturnType<typeof endpointSettingsOf>> {
  const requests = new Map(view.networking.map((request) => [request.network, request]));
  const endpoints = new Map(view.endpoints.map((endpoint) => [endpoint.networkName, endpoint]));
  const names = new Set([...endpoints.keys()]);
  for (const [network] of requests) {
    // A request may name its network by id, under which no endpoint is listed.
    const isConnected = view.endpoints.some(
      ({ networkId, networkName }) => network === networkName || networkId.startsWith(network),
    );
    if (!isConnected) names.add(network);
  }
  return Object.fromEntries(
    [...names].sort().map((name) => {
      const endpoint = endpoints.get(name);
      const request = requests.get(name) ?? (endpoint && requests.get(endpoint.networkId));
      return [name, endpointSettingsOf(view, name, endpoint, request, version)];
    }),
  );
}

function endpointSettingsOf(
  view: ContainerView,
  name: string,
  endpoint: ViewEndpoint | undefined,
  request: EndpointRequest | undefined,
  version: ApiVersion,
) {
  const isUserDefined = !['bridge', 'host', 'none'].includes(name);
  const given = request?.aliases ?? [];
  const others = [view.id.slice(0, 12), view.config.hostname];
  // Until 1.45 the names that every container has counted as aliases.
  const aliases = version < 45 && isUserDefined ? distinct([...given, ...others]) : given;
  return {
    IPAMConfig: ipamOf(request),
    Links: orNull(request?.links ?? []),
    Aliases: orNull(aliases),
    MacAddress: endpoint?.macAddress ?? request?.macAddress ?? '',
    DriverOpts: request && Object.keys(request.driverOptions).length > 0 ? request.driverOptions : null,
    ...(version >= 48 && { GwPriority: request?.gatewayPriority ?? 0 }),
    NetworkID: endpoint?.networkId ?? '',
    EndpointID: endpoint?.id ?? '',
    Gateway: endpoint?.gatewayIpv4 ?? '',
    IPAddress: address(endpoint?.ipv4),
    IPPrefixLen: prefixLength(endpoint?.ipv4),
    IPv6Gateway: endpoint?.gatewayIpv6 ?? '',
    GlobalIPv6Address: address(endpoint?.ipv6),
    GlobalIPv6PrefixLen: prefixLength(endpoint?.ipv6),
    ...(version >= 44 && { DNSNames: isUserDefined ? distinct([view.name, ...given, ...others]) : null }),
  };
}

const distinct = (names: readonly string[]): string[] => [...new Set(names.filter((name) => name !== ''))];

function ipamOf(request: EndpointRequest | undefined) {
  if (!request || (request.ipv4 === '' && request.ipv6 === '' && request.linkLocalIps.length === 0)) return null;
  return {
    ...(request.ipv4 !== '' && { IPv4Address: request.ipv4 }),
    ...(request.ipv6 !== '' && { IPv6Address: request.ipv6 }),
    ...(request.linkLocalIps.length > 0 && { LinkLocalIPs: request.linkLocalIps }),
  };
}

/** inspect's `Ports`: every exposed port, null where nothing is published. Empty unless the container runs. */
function portMapOf(view: ContainerView): Record<string, { HostIp: string; HostPort: string }[] | null> {
  if (!isOnline(view)) return {};
  const ports = new Map<string, { HostIp: string; HostPort: string }[] | null>();
  for (const port of exposedPorts(view)) ports.set(port, null);
  for (const mapping of mappingsOf(view)) {
    const key = `${mapping.containerPort}/${mapping.protocol}`;
    const binding = { HostIp: mapping.hostIp, HostPort: mapping.hostPort === 0 ? '' : String(mapping.hostPort) };
    ports.set(key, [...(ports.get(key) ?? []), binding]);
  }
  return Object.fromEntries([...ports].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** ps's `Ports`. */
export function portListOf(view: ContainerView) {
  const list: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[] = [];
  for (const [port, bindings] of Object.entries(portMapOf(view))) {
    const [number, protocol] = port.split('/') as [string, string];
    const shown = { PrivatePort: Number(number), Type: protocol };
    if (!bindings) list.push(shown);
    for (const binding of bindings ?? []) {
      // One of a routed network has no port on the host.
      if (binding.HostPort === '') list.push(shown);
      else list.push({ IP: binding.HostIp, ...shown, PublicPort: Number(binding.HostPort) });
    }
  }
  return list;
}

function mappingsOf(view: ContainerView): PortMapping[] {
  const seen = new Map<string, PortMapping>();
  for (const endpoint of view.endpoints) {
    for (const mapping of endpoint.ports) {
      seen.set(`${mapping.hostIp} ${mapping.hostPort} ${mapping.containerPort} ${mapping.protocol}`, mapping);
    }
  }
  return [...seen.values()];
}

function exposedPorts(view: ContainerView): string[] {
  if (view.endpoints.length === 0) return [];
  const given = [...view.config.exposedPorts, ...Object.keys(view.host.portBindings)];
  return given.flatMap((port) => {
    const [range = '', protocol = 'tcp'] = port.split('/');
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => `${first + index}/${protocol}`);
  });
}

function isOnline(view: ContainerView): boolean {
  return view.state.status === 'running' || view.state.status === 'paused' || view.state.status === 'restarting';
}

/** Address of `address/length`, '' for none. */
function address(cidr: string | undefined): string {
  return cidr?.split('/', 1)[0] ?? '';
}

function prefixLength(cidr: string | undefined): number {
  return Number(cidr?.split('/')[1] ?? 0);
}
