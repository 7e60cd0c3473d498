import { capabilitySets, containerCapabilities } from './capabilities.ts';
import { defaultDeviceRules, type ResolvedDevices } from './devices.ts';
import type { HostFacts } from './host-facts.ts';
import { commandLine, overrideEnv } from './merge-image-defaults.ts';
import {
  adjustDefaults,
  defaultMounts,
  rootfsPropagation,
  type SharedMemory,
  type SpecMount,
  userMount,
} from './mounts.ts';
import type { OciLinux, OciMount, OciNamespace, OciProcess, OciSeccomp, OciSpec } from './oci-spec.ts';
import { supportedResources } from './resource-checks.ts';
import { toOciResources } from './resources.ts';
import { parseSeccompProfile, toOciSeccomp } from './seccomp.ts';
import { apparmorProfile, parseSecurityOptions, type SecurityOptions, selinuxLabels } from './security-options.ts';
import type { ContainerConfig, HostConfig } from './settings.ts';
import { toRlimits } from './ulimits.ts';
import type { ResolvedUser } from './user.ts';

/** A namespace of the container's own, the host's, or the one at a path. */
export type NamespaceMode = 'new' | 'host' | { path: string };

export interface SpecInput {
  id: string;
  /** With the image's defaults merged in. */
  config: ContainerConfig;
  host: HostConfig;
  user: ResolvedUser;
  /** The mounted root file system. */
  rootfs: string;
  mounts: readonly SpecMount[];
  shm: SharedMemory;
  /** Host paths of the files that the engine writes for the container; each is mounted unless the user mounts there. */
  generatedFiles: { hostname?: string; hosts?: string; resolvConf?: string; areReadOnly?: boolean };
  namespaces: {
    network: NamespaceMode;
    pid: NamespaceMode;
    ipc: NamespaceMode;
    uts: NamespaceMode;
    cgroup: NamespaceMode;
    user: Exclude<NamespaceMode, 'new'>;
  };
  /** Absolute within each cgroup hierarchy: `/tare/ID`. */
  cgroupsPath: string;
  /** Whether the runtime knows the `rro` mount option; kernels since 5.12 do. */
  runtimeKnowsRecursiveReadOnly: boolean;
  devices: ResolvedDevices;
  /** Variables of linked containers, below the container's own. */
  linkedEnv?: readonly string[];
  facts: HostFacts;
}

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const defaultShmBytes = 64 * 1024 * 1024;
/** Where the program of `--init` is found inside a container. */
const initInContainer = '/sbin/docker-init';

const maskedPaths: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

const readonlyPaths: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/**
 * The OCI runtime's `config.json` for a container. Pure: all that is asked of the host is in the input.
 *
 * @throws {TareError} InvalidArgument or Unsupported: settings that `validateSettings` would have refused
 */
export function buildSpec(input: SpecInput): OciSpec {
  const { config, host, facts } = input;
  const security = parseSecurityOptions(host.securityOpt);
  const capabilities = containerCapabilities(
    { add: host.capAdd, drop: host.capDrop, privileged: host.privileged },
    facts.capabilities,
  );
  const labels = selinuxLabels(security, input.id, host.privileged, facts.selinux);
  const seccomp = seccompOf(security, host.privileged, capabilities, facts);
  const apparmor = apparmorProfile(security, host.privileged, facts.apparmor);
  const process: OciProcess = {
    terminal: config.tty,
    ...(config.tty && hasSize(host.consoleSize) && { consoleSize: consoleSize(host.consoleSize) }),
    user: { uid: input.user.uid, gid: input.user.gid, additionalGids: input.user.additionalGids },
    args: usesInit(input) ? [initInContainer, '--', ...commandLine(config)] : commandLine(config),
    env: containerEnv(config, input.user.home, input.linkedEnv),
    cwd: config.workingDir || '/',
    capabilities: capabilitySets(capabilities, input.user.uid === 0),
    ...(host.ulimits.length > 0 && { rlimits: toRlimits(host.ulimits) }),
    noNewPrivileges: security.noNewPrivileges,
    ...(apparmor && { apparmorProfile: apparmor }),
    ...(labels && { selinuxLabel: labels.process }),
    oomScoreAdj: oomScore(host.oomScoreAdj, facts),
  };
  const linux: OciLinux = {
    namespaces: namespaces(input),
    ...(input.devices.nodes.length > 0 && { devices: input.devices.nodes }),
    cgroupsPath: input.cgroupsPath,
    resources: resourcesOf(input),
    ...propagationOf(input),
    ...(seccomp && { seccomp }),
    sysctl: sysctlsOf(input),
    ...pathRules(host, security, facts),
    ...(labels && { mountLabel: labels.mount }),
  };
  return {
    ociVersion: '1.0.2',
    process,
    root: { path: input.rootfs, readonly: host.readonlyRootfs },
    ...(input.namespaces.uts === 'new' && config.hostname !== '' && { hostname: config.hostname }),
    mounts: mountsOf(input),
    ...(Object.keys(host.annotations).length > 0 && { annotations: host.annotations }),
    linux,
  };
}

/** Variables of the container's first process, and the base of every exec's. */
function containerEnv(
  config: Pick<ContainerConfig, 'hostname' | 'tty' | 'env'>,
  home: string,
  linked: readonly string[] = [],
): string[] {
  const base = [defaultPath, `HOSTNAME=${config.hostname}`, ...(config.tty ? ['TERM=xterm'] : []), ...linked];
  const env = overrideEnv(base, config.env);
  return env.some((variable) => variable.startsWith('HOME=')) ? env : [...env, `HOME=${home}`];
}

const hasSize = ([rows, columns]: readonly [number, number]) => rows > 0 && columns > 0;
const consoleSize = ([height, width]: readonly [number, number]) => ({ height, width });

/** An init of ours makes sense only as process 1. */
const usesInit = ({ host, namespaces, facts }: SpecInput) =>
  host.init === true && namespaces.pid === 'new' && facts.initPath !== undefined;

/** Below our own score nobody may go without CAP_SYS_RESOURCE; 0 was not asked for, so it gives way. */
function oomScore(asked: number, facts: HostFacts): number {
  if (asked !== 0 || facts.canRaiseLimits) return asked;
  return Math.max(0, facts.oomScoreAdj);
}

function seccompOf(
  security: SecurityOptions,
  privileged: boolean,
  capabilities: readonly string[],
  facts: HostFacts,
): OciSeccomp | undefined {
  if (security.seccomp === 'unconfined') return undefined;
  if (security.seccomp === 'default' && (privileged || facts.seccomp === undefined)) return undefined;
  const profile =
    security.seccomp === 'default' ? facts.seccomp!.defaultProfile : parseSeccompProfile(security.seccomp);
  return toOciSeccomp(profile, { architecture: facts.architecture, kernel: facts.kernel, capabilities });
}

function namespaces(input: SpecInput): OciNamespace[] {
  const result: OciNamespace[] = [{ type: 'mount' }];
  for (const [type, mode] of Object.entries(input.namespaces)) {
    if (mode === 'host') continue;
    result.push({ type: type as OciNamespace['type'], ...(mode !== 'new' && { path: mode.path }) });
  }
  return result;
}

function resourcesOf({ host, devices, facts }: SpecInput): OciLinux['resources'] {
  const asked = { ...host };
  // Docker's default: as much swap as memory.
  if (asked.memoryBytes > 0 && asked.memorySwapBytes === 0) asked.memorySwapBytes = 2 * asked.memoryBytes;
  // A new cgroup has no limit.
  if (asked.pidsLimit !== null && asked.pidsLimit < 0) asked.pidsLimit = null;
  // The same; crun 1.8 fails to write -1 to a v1 cgroup.
  if (asked.cpuQuota < 0) asked.cpuQuota = 0;
  const { resources } = supportedResources(asked, facts);
  const oci = toOciResources(resources, devices.blockNumbers);
  if (oci.memory !== undefined && !facts.cgroups.memory.swap) delete oci.memory.swap;
  return { devices: [...defaultDeviceRules, ...devices.rules], ...oci };
}

function propagationOf({ mounts }: SpecInput): Pick<OciLinux, 'rootfsPropagation'> {
  const propagation = rootfsPropagation(mounts);
  return propagation === undefined ? {} : { rootfsPropagation: propagation };
}

function sysctlsOf({ config, host, namespaces: { network, uts }, facts }: SpecInput): Record<string, string> {
  return {
    // There is no field for the NIS domain name, but this is setdomainname(2) by another way.
    ...(config.domainname !== '' && uts === 'new' && { 'kernel.domainname': config.domainname }),
    // 'host' has no namespace to set them in; a joined one is its first container's matter.
    ...(network !== 'host' && !host.networkMode.startsWith('container:') && facts.presetSysctls),
    ...host.sysctls,
  };
}

function pathRules(
  host: HostConfig,
  security: SecurityOptions,
  facts: HostFacts,
): Pick<OciLinux, 'maskedPaths' | 'readonlyPaths'> {
  if (host.privileged) return {};
  const masked = security.unconfinedSystemPaths ? [] : (host.maskedPaths ?? [...maskedPaths, ...facts.thermalPaths]);
  const readOnly = security.unconfinedSystemPaths ? [] : (host.readonlyPaths ?? [...readonlyPaths]);
  return {
    ...(masked.length > 0 && { maskedPaths: masked }),
    ...(readOnly.length > 0 && { readonlyPaths: readOnly }),
  };
}

function mountsOf(input: SpecInput): OciMount[] {
  const { host, facts, mounts, shm, generatedFiles } = input;
  const destinations = new Set(mounts.map(({ destination }) => destination));
  const [major, minor] = facts.kernel;
  const recursiveReadOnly = input.runtimeKnowsRecursiveReadOnly && (major > 5 || (major === 5 && minor >= 12));
  const ofFile = generatedFiles.areReadOnly
    ? { readOnly: true, isFile: true, restrictions: ['nosuid', 'nodev', 'noexec'] }
    : { readOnly: host.readonlyRootfs, isFile: true };
  const generated: SpecMount[] = [
    [generatedFiles.resolvConf, '/etc/resolv.conf'],
    [generatedFiles.hostname, '/etc/hostname'],
    [generatedFiles.hosts, '/etc/hosts'],
  ].flatMap(([source, destination]) =>
    source === undefined || destinations.has(destination!)
      ? []
      : [{ type: 'bind', source, destination: destination!, ...ofFile }],
  );
  if (shm.kind === 'bind' && !destinations.has('/dev/shm')) {
    generated.push({ type: 'bind', source: shm.source, destination: '/dev/shm', readOnly: false });
  }
  if (usesInit(input)) {
    generated.push({
      ...{ type: 'bind', source: facts.initPath!, destination: initInContainer, readOnly: true, isFile: true },
    });
  }
  const own = adjustDefaults(defaultMounts(shm), destinations, {
    privileged: host.privileged,
    writableCgroups: parseSecurityOptions(host.securityOpt).writableCgroups ?? host.privileged,
    readOnlyRoot: host.readonlyRootfs,
  });
  // A mount hides what lies below it, so the shorter destination comes first.
  const users = [...mounts].sort((a, b) => depth(a.destination) - depth(b.destination));
  return [...own, ...[...users, ...generated].map((mount) => userMount(mount, recursiveReadOnly))];
}

const depth = (path: string) => path.split('/').filter((part) => part !== '').length;
