import { TareError } from '../errors/index.ts';
import { containerCapabilities } from './capabilities.ts';
import { parseDeviceRule } from './devices.ts';
import type { HostFacts } from './host-facts.ts';
import { commandLine } from './merge-image-defaults.ts';
import { mergeTmpfsOptions } from './mounts.ts';
import { checkResources, supportedResources } from './resource-checks.ts';
import { parseSeccompProfile } from './seccomp.ts';
import { parseSecurityOptions } from './security-options.ts';
import type { ContainerConfig, Healthcheck, HostConfig } from './settings.ts';
import { defaultShmBytes } from './spec.ts';
import { checkSysctls } from './sysctls.ts';
import { checkUlimits } from './ulimits.ts';

const invalid = (why: string) => new TareError('InvalidArgument', why);

/**
 * Settings with what was left open filled in, as `inspect` shows them: swap, /dev/shm, namespace modes. Limits that this
 * host cannot set are taken out; `validateSettings` warns of them.
 */
export function applyHostDefaults(host: HostConfig, facts: HostFacts): HostConfig {
  const filled = { ...host };
  if (filled.memoryBytes > 0 && filled.memorySwapBytes === 0) filled.memorySwapBytes = 2 * filled.memoryBytes;
  if (filled.shmSizeBytes === 0) filled.shmSizeBytes = defaultShmBytes;
  if (filled.ipcMode === '') filled.ipcMode = 'private';
  // What reaches into the host is confined by no label; docker shows it so.
  if (
    filled.securityOpt.length === 0 &&
    (filled.privileged || filled.ipcMode === 'host' || filled.pidMode === 'host')
  ) {
    filled.securityOpt = ['label=disable'];
  }
  filled.cgroupnsMode = cgroupNamespace(filled, facts);
  return supportedResources(filled, facts).resources;
}

/** On v1 a namespace of its own would hide the hierarchy's path from programs that look for their limits. */
const cgroupNamespace = ({ cgroupnsMode }: HostConfig, facts: HostFacts): string =>
  cgroupnsMode || (facts.cgroupLayout.mode === 'v2' ? 'private' : 'host');

/**
 * Checks a container's settings before anything changes.
 *
 * @param config with the image's defaults merged in
 * @returns warnings: what this host cannot do and is left out
 * @throws {TareError} InvalidArgument, with docker's text where docker has one; Unsupported: this engine has no such feature
 */
export function validateSettings(config: ContainerConfig, host: HostConfig, facts: HostFacts): string[] {
  checkConfig(config);
  checkModes(host);
  checkNetworkConflicts(config, host);
  checkResources(host, facts, 'create');
  checkUlimits(host.ulimits, facts);
  checkOomScore(host.oomScoreAdj, facts);
  containerCapabilities({ add: host.capAdd, drop: host.capDrop, privileged: host.privileged }, facts.capabilities);
  checkSysctls(host.sysctls, {
    network: host.networkMode !== 'host',
    ipc: host.ipcMode !== 'host',
    uts: host.utsMode !== 'host',
  });
  for (const rule of host.deviceCgroupRules) parseDeviceRule(rule);
  for (const [target, options] of Object.entries(host.tmpfs)) checkTmpfs(target, options);
  for (const { tmpfs } of host.mounts) {
    if (tmpfs !== undefined) mergeTmpfsOptions(tmpfs.options.map((option) => option.join('=')));
  }
  if (host.shmSizeBytes < 0) throw invalid('SHM size can not be less than 0');
  if (host.init === true && facts.initPath === undefined) {
    throw invalid('--init needs an init program on the host: install tini or catatonit');
  }
  checkCgroupParent(host.cgroupParent);
  if ('' in host.annotations) {
    throw invalid('invalid Annotations: the empty string is not permitted as an annotation key');
  }
  checkStorageOptions(host.storageOpt);
  return [...securityWarnings(host, facts), ...supportedResources(host, facts).warnings, ...portWarnings(host)];
}

function checkConfig(config: ContainerConfig): void {
  if (commandLine(config).length === 0) throw invalid('no command specified');
  if (config.workingDir !== '' && !config.workingDir.startsWith('/')) {
    throw invalid(`the working directory '${config.workingDir}' is invalid, it needs to be an absolute path`);
  }
  for (const variable of config.env) {
    if (variable === '' || variable.startsWith('=')) throw invalid(`invalid environment variable: ${variable}`);
  }
  const texts = [...config.env, ...commandLine(config), config.workingDir, config.user, config.hostname];
  if (texts.some((text) => text.includes('\0'))) {
    throw invalid('commands, variables and names cannot contain a NUL character');
  }
  if (config.hostname.length > 64) {
    throw invalid(`invalid hostname ${JSON.stringify(config.hostname)}: Linux allows at most 64 characters`);
  }
  if (config.healthcheck !== null) checkHealth(config.healthcheck);
}

const minHealthNs = 1_000_000;

function checkHealth(health: Healthcheck): void {
  const times = {
    Interval: health.intervalNs,
    Timeout: health.timeoutNs,
    StartPeriod: health.startPeriodNs,
    StartInterval: health.startIntervalNs,
  };
  for (const [name, valueNs] of Object.entries(times)) {
    if (valueNs !== 0 && valueNs < minHealthNs) throw invalid(`${name} in Healthcheck cannot be less than 1ms`);
  }
  if (health.retries < 0) throw invalid('Retries in Healthcheck cannot be negative');
}

const containerMode = /^container:.+/;

function checkModes(host: HostConfig): void {
  const check = (what: string, value: string, allowed: readonly string[], joins: boolean) => {
    if (!allowed.includes(value) && !(joins && containerMode.test(value))) throw invalid(`invalid ${what}: ${value}`);
  };
  check('IPC mode', host.ipcMode, ['', 'none', 'private', 'shareable', 'host'], true);
  check('PID mode', host.pidMode, ['', 'private', 'host'], true);
  check('UTS mode', host.utsMode, ['', 'private', 'host'], false);
  check('userns mode', host.usernsMode, ['', 'host'], false);
  check('cgroup namespace mode', host.cgroupnsMode, ['', 'private', 'host'], false);
  if (!['', 'default'].includes(host.isolation)) throw invalid(`invalid isolation '${host.isolation}' on linux`);
  if (host.networkMode === 'container:') throw invalid('invalid container format container:<name|id>');
}

function checkNetworkConflicts(config: ContainerConfig, host: HostConfig): void {
  const conflict = (why: string) => invalid(`conflicting options: ${why}`);
  if (host.utsMode === 'host' && config.hostname !== '' && config.domainname !== '') {
    throw conflict('hostname and the UTS mode');
  }
  if (host.networkMode === 'host' && host.links.length > 0) {
    throw conflict("host type networking can't be used with links. This would result in undefined behavior");
  }
  if (!containerMode.test(host.networkMode)) return;
  if (host.links.length > 0) {
    throw conflict("container type network can't be used with links. This would result in undefined behavior");
  }
  if (host.dns.length > 0) throw conflict('dns and the network mode');
  if (host.extraHosts.length > 0) throw conflict('custom host-to-IP mapping and the network mode');
  if (Object.keys(host.portBindings).length > 0 || host.publishAllPorts) {
    throw conflict('port publishing and the container type network mode');
  }
}

function checkStorageOptions(options: HostConfig['storageOpt']): void {
  const unknown = Object.keys(options).find((key) => key.toLowerCase() !== 'size');
  if (unknown !== undefined) throw invalid(`unknown option ${unknown}: --storage-opt takes size=BYTES`);
  if (Object.keys(options).length === 0) return;
  throw new TareError(
    'Unsupported',
    "--storage-opt is supported only for overlay over xfs with 'pquota' mount option, and not by this engine: its storage sets no quotas of the file system; give what may grow a volume of type tmpfs with o=size=BYTES",
  );
}

/** The path is the user's, but it stays below the top of each hierarchy. */
function checkCgroupParent(parent: string): void {
  if (parent === '') return;
  const parts = parent.split('/').filter((part) => part !== '');
  if (parts.length > 0 && !parts.includes('..') && !parts.includes('.') && !/[\0\n]/.test(parent)) return;
  throw invalid(`invalid cgroup parent ${JSON.stringify(parent)}: want the path of a cgroup such as /batch`);
}

function checkOomScore(asked: number, facts: HostFacts): void {
  if (!Number.isInteger(asked) || asked < -1000 || asked > 1000) {
    throw invalid(`Invalid value ${asked}, range for oom score adj is [-1000, 1000]`);
  }
  if (asked !== 0 && asked < facts.oomScoreAdj && !facts.canRaiseLimits) {
    throw invalid(
      `Invalid value ${asked} for oom score adj: this host lets no process go below ${facts.oomScoreAdj} without CAP_SYS_RESOURCE`,
    );
  }
}

function checkTmpfs(target: string, options: string): void {
  if (!target.startsWith('/')) throw invalid(`invalid mount path: '${target}' mount path must be absolute`);
  if (/^\/(\.?\/)*\.?$/.test(target)) throw invalid("invalid specification: destination can't be '/'");
  if (options !== '') mergeTmpfsOptions(options.split(','));
}

function securityWarnings(host: HostConfig, facts: HostFacts): string[] {
  const security = parseSecurityOptions(host.securityOpt);
  const warnings: string[] = [];
  if (security.seccomp === 'default') {
    // Looked at so that a missing profile shows now.
    if (!host.privileged && facts.seccomp === undefined) {
      warnings.push('Your kernel does not support seccomp. The default profile is not applied.');
    }
  } else if (security.seccomp !== 'unconfined') {
    parseSeccompProfile(security.seccomp);
    if (facts.seccomp === undefined) {
      throw invalid('seccomp is not enabled in your kernel, cannot run a custom seccomp profile');
    }
  }
  if (security.writableCgroups === true && !host.privileged && cgroupNamespace(host, facts) === 'host') {
    throw invalid('writable-cgroups needs a cgroup namespace of its own: give --cgroupns private');
  }
  const named = security.apparmor !== undefined && !['', 'unconfined'].includes(security.apparmor);
  if (named && facts.apparmor === undefined) {
    warnings.push(`This host has no AppArmor. Profile ${security.apparmor} is not applied.`);
  }
  if (security.labels.some((label) => label !== 'disable') && facts.selinux === undefined) {
    warnings.push('This host has no SELinux. Labels are not applied.');
  }
  return warnings;
}

function portWarnings(host: HostConfig): string[] {
  const published = Object.keys(host.portBindings).length > 0;
  return host.networkMode === 'host' && published ? ['Published ports are discarded when using host network mode'] : [];
}
