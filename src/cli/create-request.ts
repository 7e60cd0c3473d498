import { readFileSync } from 'node:fs';
import { messageOf, TareError } from '../errors/index.ts';
import type { createOptions } from './create-options.ts';
import { parseBandwidth } from './grammar/bandwidth.ts';
import { cdiRequest, type DeviceRequestBody, isCdiDevice, parseGpus } from './grammar/device-requests.ts';
import {
  parseBpsDevice,
  parseDevice,
  parseDeviceRule,
  parseIopsDevice,
  parseUlimit,
  parseWeightDevice,
} from './grammar/devices.ts';
import { readEgress } from './grammar/egress.ts';
import { pairs, readEnvironment, readLabels } from './grammar/environment.ts';
import { parseMount } from './grammar/mounts.ts';
import { type NetworkChoice, parseNetwork } from './grammar/networks.ts';
import { parseExposed, parsePublication } from './grammar/ports.ts';
import { parseRestartPolicy } from './grammar/restart-policy.ts';
import { parseCpus, parseSize } from './grammar/sizes.ts';
import { durationFlag } from './grammar/times.ts';
import { parseVolume } from './grammar/volumes.ts';
import type { Values } from './option.ts';

export type CreateValues = Values<typeof createOptions>;

/** The body of the Docker API's POST /containers/create, as far as the command looks into it again. */
export interface CreateBody {
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  [key: string]: unknown;
}

/**
 * Options and arguments of `run` or `create` as a request.
 *
 * @throws {TareError} InvalidArgument: options that contradict each other, or a value outside its grammar
 */
export function createBody(
  options: CreateValues & { detach?: boolean },
  image: string,
  command: readonly string[],
  size?: [number, number],
): CreateBody {
  checkConflicts(options);
  const attach = attachments(options);
  const volumes = options.volume.map(parseVolume);
  const published = options.publish.flatMap(parsePublication);
  const exposed = [...options.expose.flatMap(parseExposed), ...published.map(({ containerPort }) => containerPort)];
  const networks = networkChoices(options);
  const portBindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { containerPort, hostIp, hostPort } of published) {
    portBindings[containerPort] ??= [];
    portBindings[containerPort].push({ HostIp: hostIp, HostPort: hostPort });
  }
  return {
    Hostname: options.hostname ?? '',
    Domainname: options.domainname ?? '',
    User: options.user ?? '',
    ...attach,
    ExposedPorts: Object.fromEntries(exposed.map((port) => [port, {}])),
    Tty: options.tty,
    OpenStdin: options.interactive,
    StdinOnce: options.interactive && attach.AttachStdin,
    Env: readEnvironment(options['env-file'], options.env),
    Cmd: command.length > 0 ? command : null,
    ...(options.entrypoint === undefined ? {} : { Entrypoint: [options.entrypoint] }),
    ...healthcheck(options),
    Image: image,
    Volumes: Object.fromEntries(volumes.flatMap((volume) => ('volume' in volume ? [[volume.volume, {}]] : []))),
    WorkingDir: options.workdir ?? '',
    Labels: readLabels(options['label-file'], options.label),
    ...(options['stop-signal'] === undefined ? {} : { StopSignal: options['stop-signal'] }),
    ...(options['stop-timeout'] === undefined ? {} : { StopTimeout: options['stop-timeout'] }),
    HostConfig: {
      ...resources(options),
      ...security(options),
      Binds: volumes.flatMap((volume) => ('bind' in volume ? [volume.bind] : [])),
      Mounts: options.mount.map(parseMount),
      ...(options.tmpfs.length > 0
        ? { Tmpfs: Object.fromEntries(options.tmpfs.map((text) => splitFirst(text, ':'))) }
        : {}),
      VolumesFrom: options['volumes-from'],
      VolumeDriver: options['volume-driver'] ?? '',
      ...(options['network-bandwidth'].length > 0
        ? { NetworkBandwidth: parseBandwidth(options['network-bandwidth']) }
        : {}),
      NetworkMode: networks[0]?.name ?? 'default',
      PortBindings: portBindings,
      PublishAllPorts: options['publish-all'],
      RestartPolicy: parseRestartPolicy(options.restart, '--restart'),
      AutoRemove: options.rm,
      CgroupnsMode: options.cgroupns ?? '',
      CgroupParent: options['cgroup-parent'] ?? '',
      IpcMode: options.ipc ?? '',
      PidMode: options.pid ?? '',
      UTSMode: options.uts ?? '',
      UsernsMode: options.userns ?? '',
      Dns: options.dns,
      DnsOptions: [...options['dns-option'], ...options['dns-opt']],
      DnsSearch: options['dns-search'],
      ExtraHosts: options['add-host'].map(extraHost),
      GroupAdd: options['group-add'],
      Links: options.link,
      ...(options['shm-size'] === undefined ? {} : { ShmSize: parseSize(options['shm-size'], '--shm-size') }),
      Sysctls: pairs(options.sysctl, '--sysctl'),
      StorageOpt: pairs(options['storage-opt'], '--storage-opt'),
      Runtime: options.runtime ?? '',
      ...(options.init ? { Init: true } : {}),
      Isolation: options.isolation ?? '',
      Annotations: pairs(options.annotation, '--annotation'),
      LogConfig: { Type: options['log-driver'] ?? '', Config: pairs(options['log-opt'], '--log-opt') },
      ContainerIDFile: options.cidfile ?? '',
      ConsoleSize: size ?? [0, 0],
    },
    NetworkingConfig: { EndpointsConfig: endpoints(options, networks) },
    Egress: readEgress(options.egress),
  };
}

function checkConflicts(options: CreateValues): void {
  if (options['kernel-memory'] !== undefined)
    throw new TareError(
      'Unsupported',
      '--kernel-memory is not supported: Linux has no such limit any more; use --memory',
    );
  if (options.rm && options.restart !== 'no' && options.restart !== '')
    throw new TareError('InvalidArgument', 'conflicting options: cannot specify both --restart and --rm');
  if (options['log-driver'] === 'none' && options['log-opt'].length > 0)
    throw new TareError('InvalidArgument', 'invalid logging opts for driver none');
  if (!['always', 'missing', 'never'].includes(options.pull))
    throw new TareError(
      'InvalidArgument',
      `invalid pull option: '${options.pull}': must be one of "always", "missing" or "never"`,
    );
}

/** What is attached: what -a names, or all of it. */
function attachments(
  options: CreateValues & { detach?: boolean },
): Pick<CreateBody, 'AttachStdin' | 'AttachStdout' | 'AttachStderr'> {
  const wanted = new Set<string>();
  for (const word of options.attach) {
    const name = word.toLowerCase();
    if (!['stdin', 'stdout', 'stderr'].includes(name))
      throw new TareError(
        'InvalidArgument',
        `invalid argument ${JSON.stringify(word)} for -a, --attach: valid streams are STDIN, STDOUT and STDERR`,
      );
    wanted.add(name);
  }
  if (options.detach) return { AttachStdin: false, AttachStdout: false, AttachStderr: false };
  const all = wanted.size === 0;
  return {
    AttachStdin: all ? options.interactive : wanted.has('stdin'),
    AttachStdout: all || wanted.has('stdout'),
    AttachStderr: all || wanted.has('stderr'),
  };
}

function healthcheck(options: CreateValues): { Healthcheck?: Record<string, unknown> } {
  const times = {
    Interval: options['health-interval'],
    Timeout: options['health-timeout'],
    StartPeriod: options['health-start-period'],
    StartInterval: options['health-start-interval'],
  };
  const said =
    options['health-cmd'] !== undefined ||
    options['health-retries'] !== undefined ||
    Object.values(times).some((text) => text !== undefined);
  if (options['no-healthcheck']) {
    if (said) throw new TareError('InvalidArgument', '--no-healthcheck conflicts with --health-* options');
    return { Healthcheck: { Test: ['NONE'] } };
  }
  if (!said) return {};
  const retries = options['health-retries'] ?? 0;
  if (retries < 0) throw new TareError('InvalidArgument', '--health-retries cannot be negative');
  const flags: Record<string, string> = {
    Interval: '--health-interval',
    Timeout: '--health-timeout',
    StartPeriod: '--health-start-period',
    StartInterval: '--health-start-interval',
  };
  const nanoseconds = Object.fromEntries(
    Object.entries(times).map(([key, text]) => [key, text === undefined ? 0 : durationFlag(text, flags[key]!)]),
  );
  const test = options['health-cmd'] === undefined ? {} : { Test: ['CMD-SHELL', options['health-cmd']] };
  return { Healthcheck: { ...test, ...nanoseconds, Retries: retries } };
}

function deviceRequests(options: CreateValues): DeviceRequestBody[] {
  const cdi = options.device.filter(isCdiDevice);
  return [
    ...(options.gpus === undefined ? [] : [parseGpus(options.gpus)]),
    ...(cdi.length > 0 ? [cdiRequest(cdi)] : []),
  ];
}

function resources(options: CreateValues): Record<string, unknown> {
  const size = (name: 'memory' | 'memory-reservation') => {
    const text = options[name];
    return text === undefined ? 0 : parseSize(text, `--${name}`);
  };
  const swappiness = options['memory-swappiness'];
  if (swappiness < -1 || swappiness > 100)
    throw new TareError('InvalidArgument', `invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  const weight = options['blkio-weight'];
  if (weight < 0 || weight > 65535)
    throw new TareError('InvalidArgument', `invalid value ${weight} for --blkio-weight: 10 to 1000, or 0`);
  return {
    CpuShares: options['cpu-shares'] ?? 0,
    NanoCpus: options.cpus === undefined ? 0 : parseCpus(options.cpus),
    CpuPeriod: options['cpu-period'] ?? 0,
    CpuQuota: options['cpu-quota'] ?? 0,
    CpuRealtimePeriod: options['cpu-rt-period'] ?? 0,
    CpuRealtimeRuntime: options['cpu-rt-runtime'] ?? 0,
    CpusetCpus: options['cpuset-cpus'] ?? '',
    CpusetMems: options['cpuset-mems'] ?? '',
    Memory: size('memory'),
    MemoryReservation: size('memory-reservation'),
    MemorySwap: parseSwap(options['memory-swap']),
    MemorySwappiness: swappiness,
    ...(options['oom-kill-disable'] ? { OomKillDisable: true } : {}),
    OomScoreAdj: options['oom-score-adj'] ?? 0,
    ...(options['pids-limit'] === undefined ? {} : { PidsLimit: options['pids-limit'] }),
    BlkioWeight: weight,
    BlkioWeightDevice: options['blkio-weight-device'].map(parseWeightDevice),
    BlkioDeviceReadBps: options['device-read-bps'].map((text) => parseBpsDevice(text, '--device-read-bps')),
    BlkioDeviceWriteBps: options['device-write-bps'].map((text) => parseBpsDevice(text, '--device-write-bps')),
    BlkioDeviceReadIOps: options['device-read-iops'].map((text) => parseIopsDevice(text, '--device-read-iops')),
    BlkioDeviceWriteIOps: options['device-write-iops'].map((text) => parseIopsDevice(text, '--device-write-iops')),
    Ulimits: options.ulimit.map(parseUlimit),
    Devices: options.device.filter((device) => !isCdiDevice(device)).map(parseDevice),
    DeviceRequests: deviceRequests(options),
    DeviceCgroupRules: options['device-cgroup-rule'].map(parseDeviceRule),
  };
}

/** `--memory-swap`: a size, or -1 for no limit. */
export function parseSwap(text: string | undefined): number {
  if (text === undefined) return 0;
  return text === '-1' ? -1 : parseSize(text, '--memory-swap');
}

function security(options: CreateValues): Record<string, unknown> {
  const kept: string[] = [];
  let open = false;
  for (const option of options['security-opt']) {
    if (option === 'systempaths=unconfined') open = true;
    else kept.push(option.startsWith('seccomp') ? seccompOption(option) : option);
  }
  return {
    CapAdd: capabilityNames(options['cap-add']),
    CapDrop: capabilityNames(options['cap-drop']),
    Privileged: options.privileged,
    ReadonlyRootfs: options['read-only'],
    SecurityOpt: kept,
    ...(open ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
  };
}

/** In one spelling and order. */
function capabilityNames(given: readonly string[]): string[] {
  const names = given.map((name) => name.trim().toUpperCase());
  return [...new Set(names.map((name) => (name === 'ALL' || name.startsWith('CAP_') ? name : `CAP_${name}`)))].sort();
}

/** A profile's file is ours, not the daemon's: its content is sent. */
function seccompOption(option: string): string {
  const [, name, profile] = /^(seccomp)[=:](.*)$/s.exec(option) ?? [];
  if (name === undefined || profile === '')
    throw new TareError(
      'InvalidArgument',
      `invalid --security-opt ${JSON.stringify(option)}: expected seccomp=PROFILE.json, seccomp=unconfined or seccomp=builtin`,
    );
  if (profile === 'unconfined' || profile === 'builtin') return option;
  try {
    return `seccomp=${JSON.stringify(JSON.parse(readFileSync(profile!, 'utf8')))}`;
  } catch (error) {
    throw new TareError('InvalidArgument', `opening seccomp profile (${profile}) failed: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** All `--network`s; what `--ip`, `--network-alias` and their like say belongs to the first. */
function networkChoices(options: CreateValues): NetworkChoice[] {
  const choices = [...options.network, ...options.net].map(parseNetwork);
  const aliases = [...options['network-alias'], ...options['net-alias']];
  const anyDetail =
    aliases.length > 0 ||
    options.ip !== undefined ||
    options.ip6 !== undefined ||
    options['mac-address'] !== undefined ||
    options['link-local-ip'].length > 0;
  if (choices.length === 0) {
    if (!anyDetail) return [];
    choices.push(parseNetwork('default'));
  }
  const first = choices[0]!;
  const once = (flag: string, inLong: boolean) => {
    if (inLong)
      throw new TareError(
        'InvalidArgument',
        `conflicting options: cannot specify both --${flag} and per-network ${flag}`,
      );
  };
  if (aliases.length > 0) {
    once('network-alias', first.aliases.length > 0);
    if (/^(default|bridge|host|none|container:.*)$/.test(first.name))
      throw new TareError(
        'InvalidArgument',
        'network-scoped aliases are only supported for user-defined networks: make one with tare network create',
      );
  }
  if (options.ip !== undefined) once('ip', first.ipv4 !== '');
  if (options.ip6 !== undefined) once('ip6', first.ipv6 !== '');
  if (options['mac-address'] !== undefined) once('mac-address', first.macAddress !== '');
  first.aliases.push(...aliases);
  first.ipv4 ||= options.ip ?? '';
  first.ipv6 ||= options.ip6 ?? '';
  first.macAddress ||= options['mac-address'] ?? '';
  first.linkLocalIps.push(...options['link-local-ip']);
  const names = new Set<string>();
  for (const { name } of choices) {
    if (names.has(name))
      throw new TareError('InvalidArgument', `network ${JSON.stringify(name)} is specified multiple times`);
    names.add(name);
    if (choices.length > 1 && (name === 'host' || name === 'none' || name.startsWith('container:')))
      throw new TareError(
        'InvalidArgument',
        `conflicting options: cannot attach both user-defined and non-user-defined network-modes (${name})`,
      );
  }
  return choices;
}

function endpoints(options: CreateValues, networks: readonly NetworkChoice[]): Record<string, unknown> {
  return Object.fromEntries(
    networks
      .filter(({ name }) => !name.startsWith('container:'))
      .map((choice, i) => [
        choice.name,
        {
          IPAMConfig:
            choice.ipv4 || choice.ipv6 || choice.linkLocalIps.length > 0
              ? { IPv4Address: choice.ipv4, IPv6Address: choice.ipv6, LinkLocalIPs: choice.linkLocalIps }
              : null,
          Links: i === 0 ? options.link : [],
          Aliases: choice.aliases,
          MacAddress: choice.macAddress,
          DriverOpts: choice.driverOptions,
          GwPriority: choice.gatewayPriority,
        },
      ]),
  );
}

/** `host:ip`, `host=ip`, brackets around IPv6 allowed. */
function extraHost(text: string): string {
  const [, host = '', address = ''] = /^([^:=]+)[:=](.+)$/s.exec(text) ?? [];
  if (host === '' || address === '')
    throw new TareError('InvalidArgument', `bad format for add-host: ${JSON.stringify(text)}: expected HOST:IP`);
  return `${host}:${/^\[.*\]$/.test(address) ? address.slice(1, -1) : address}`;
}

function splitFirst(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
