import type { Option, Options, Values } from './option.ts';

/**
 * Options that choose and configure the engine of a process: `serve`, `keeper` and `container cleanup` take them all, and they may
 * stand before any command for the engine in its own process.
 */
export const engineOptions = {
  'add-runtime': { type: 'list', help: 'Register an additional OCI runtime (NAME=PATH)' },
  bip: { type: 'string', help: 'Subnet of the default bridge in CIDR notation' },
  bip6: { type: 'string', help: 'IPv6 subnet of the default bridge in CIDR notation' },
  'cdi-spec-dir': {
    type: 'list',
    help: "Folder of CDI device specifications, '/etc/cdi' and '/var/run/cdi' unless given",
    completes: 'directories',
  },
  'cni-bin-dir': {
    type: 'list',
    help: "Folder of CNI plugins, '/opt/cni/bin' and '/usr/lib/cni' unless given",
    completes: 'directories',
  },
  'cni-conf-dir': {
    type: 'string',
    help: "Folder of CNI's network configurations, '/etc/cni/net.d' unless given",
    completes: 'directories',
  },
  'cni-gc': { type: 'bool', help: 'Let CNI plugins drop what no container of this engine has: nobody else uses them' },
  config: { type: 'string', help: 'Configuration file', completes: 'files' },
  'config-file': { type: 'string', help: 'Configuration file', hidden: true, completes: 'files' },
  'criu-path': { type: 'string', help: "Program for checkpoints, named 'criu'", completes: 'files' },
  'data-root': {
    type: 'string',
    help: "Folder of images, volumes and records, '/var/lib/tare' unless given",
    completes: 'directories',
  },
  debug: { type: 'bool', short: 'D', help: 'Log more, and show where an error came from' },
  'default-address-pool': {
    type: 'list',
    value: 'pool-options',
    help: 'Block that networks are cut from when no subnet is given (base=SUBNET,size=PREFIX)',
  },
  'default-gateway': { type: 'string', help: 'IPv4 address of the default bridge' },
  'default-gateway-v6': { type: 'string', help: 'IPv6 address of the default bridge' },
  'default-network-opt': {
    type: 'list',
    value: 'driver=opt=value',
    help: 'Option of new networks of a driver that do not give it (bridge=com.docker.network.driver.mtu=1234)',
  },
  'default-runtime': {
    type: 'string',
    help: 'OCI runtime of containers that do not name one',
    completes: ['crun', 'runc', 'runsc'],
  },
  'events-max-age': { type: 'string', help: 'Forget events that are older, 168h unless given' },
  'events-max-size': { type: 'string', help: 'Forget the oldest events when all take more, 32m unless given' },
  'exec-root': {
    type: 'string',
    help: "Folder of sockets and what runs, '/run/tare' unless given",
    completes: 'directories',
  },
  experimental: { type: 'bool', help: "Tell docker's client of what it hides from others, such as checkpoints" },
  'fixed-cidr': { type: 'string', help: 'Part of the default bridge that containers get IPv4 addresses from' },
  'fixed-cidr-v6': { type: 'string', help: 'Part of the default bridge that containers get IPv6 addresses from' },
  icc: { type: 'bool', help: 'Let containers on the default bridge reach each other', default: true },
  'image-gc-high': {
    type: 'string',
    help: 'Remove unused images, the oldest first, when more is used (percent of the disk such as 85%, or bytes of images such as 50GB)',
  },
  'image-gc-low': { type: 'string', help: 'Remove them until no more than this is used' },
  'insecure-registry': {
    type: 'list',
    help: 'Registry or subnet that is reached without TLS, or with any certificate (HOST[:PORT] or CIDR)',
  },
  ip: { type: 'string', help: 'Address that ports are published on when none is named, all unless given' },
  'ip-masq': { type: 'bool', help: "Let containers on the default bridge out under the host's address", default: true },
  ipv6: { type: 'bool', help: 'Give the default bridge IPv6 addresses' },
  label: { type: 'list', help: "Set key=value labels of the engine, shown by 'info'" },
  'log-driver': { type: 'string', help: 'Log driver of containers that do not name one, json-file unless given' },
  'log-level': {
    type: 'string',
    short: 'l',
    help: 'Log messages of this level and above ("debug", "info", "warn", "error", "fatal")',
    default: 'info',
    completes: ['debug', 'info', 'warn', 'error', 'fatal'],
  },
  'log-opt': { type: 'list', value: 'name=value', help: 'Option of that log driver' },
  'max-concurrent-downloads': { type: 'int', help: 'Layers that one pull fetches at the same time, 6 unless given' },
  'max-concurrent-uploads': { type: 'int', help: 'Layers that one push sends at the same time, 5 unless given' },
  mtu: { type: 'int', help: 'MTU of the default bridge, 1500 unless given' },
  'registries-conf': {
    type: 'string',
    help: "Configuration of registries, in place of the machine's and the user's registries.conf",
    completes: 'files',
  },
  'registries-d': {
    type: 'string',
    help: "Folder that says where signatures lie, in place of the machine's and the user's registries.d",
    completes: 'directories',
  },
  'registry-mirror': { type: 'list', help: 'Mirror of docker.io that is asked first (https://HOST[:PORT])' },
  'runtime-arg': { type: 'list', help: 'Argument that a runtime is called with before all others (NAME=ARGUMENT)' },
  'signature-policy': {
    type: 'string',
    help: "Policy of who must have signed images, in place of the machine's and the user's policy.json",
    completes: 'files',
  },
  'storage-driver': { type: 'string', help: 'Storage driver to use', completes: ['overlay', 'vfs'] },
  'userns-remap': {
    type: 'string',
    help: "Not supported: an engine without root keeps its users from the host's",
    hidden: true,
  },
} as const satisfies Options;

export type EngineValues = Values<typeof engineOptions>;

/** The same option may stand before the command and behind it; the one behind counts, lists add up. */
export function mergeEngineValues(before: EngineValues, own: EngineValues): EngineValues {
  const merged: Record<string, unknown> = { ...before };
  for (const [name, option] of Object.entries(engineOptions) as [keyof EngineValues, Option][]) {
    const value = own[name];
    if (Array.isArray(value)) merged[name] = [...(merged[name] as string[]), ...value];
    else if (value !== (option.default ?? (option.type === 'bool' ? false : undefined))) merged[name] = value;
  }
  return merged as EngineValues;
}
