import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';
import type { OciDevice, OciDeviceRule } from './oci-spec.ts';
import type { HostConfig } from './settings.ts';

/** What the devices a user named are on this host. Found out once before the spec is built. */
export interface ResolvedDevices {
  /** Nodes to make in the container. */
  nodes: OciDevice[];
  /** What the container may do with them. */
  rules: OciDeviceRule[];
  /** Numbers of the block devices whose I/O is limited, by path. */
  blockNumbers: Record<string, [major: number, minor: number]>;
}

type DeviceSettings = Pick<
  HostConfig,
  | 'privileged'
  | 'devices'
  | 'deviceCgroupRules'
  | 'blkioWeightDevice'
  | 'blkioDeviceReadBps'
  | 'blkioDeviceWriteBps'
  | 'blkioDeviceReadIOps'
  | 'blkioDeviceWriteIOps'
>;

/** A container may use these and no others unless it is given more; the runtime adds that any node may be made. */
export const defaultDeviceRules: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: false, type: 'c', major: 10, minor: 229, access: 'rwm' },
];

/**
 * Looks up the devices that a container is to have. A privileged one has all of the host's.
 * @throws {TareError} InvalidArgument: a path is no device, or a rule is malformed; NotFound is not used, as in docker
 */
export function resolveDevices(host: DeviceSettings): ResolvedDevices {
  const nodes: OciDevice[] = host.privileged ? hostDevices() : [];
  const rules: OciDeviceRule[] = host.privileged ? [{ allow: true, access: 'rwm' }] : [];
  for (const { pathOnHost, pathInContainer, cgroupPermissions } of host.devices) {
    const target = pathInContainer || pathOnHost;
    // Every host device is there already, under its own name.
    if (host.privileged && pathOnHost === target) continue;
    const access = cgroupPermissions || 'rwm';
    checkAccess(access, `${pathOnHost}:${target}:${access}`);
    for (const node of devicesAt(pathOnHost, target)) {
      nodes.push(node);
      if (host.privileged) continue;
      rules.push({ allow: true, type: node.type === 'b' ? 'b' : 'c', major: node.major, minor: node.minor, access });
    }
  }
  if (!host.privileged) rules.push(...host.deviceCgroupRules.map(parseDeviceRule));
  const blockNumbers: ResolvedDevices['blockNumbers'] = {};
  for (const path of throttledPaths(host)) blockNumbers[path] ??= numbersOf(path);
  return { nodes, rules, blockNumbers };
}

/** Numbers of the block devices that limits name. @throws {TareError} InvalidArgument */
export function resolveBlockNumbers(host: Partial<DeviceSettings>): ResolvedDevices['blockNumbers'] {
  const numbers: ResolvedDevices['blockNumbers'] = {};
  for (const path of throttledPaths(host)) numbers[path] ??= numbersOf(path);
  return numbers;
}

function throttledPaths(host: Partial<DeviceSettings>): string[] {
  return [
    host.blkioWeightDevice,
    host.blkioDeviceReadBps,
    host.blkioDeviceWriteBps,
    host.blkioDeviceReadIOps,
    host.blkioDeviceWriteIOps,
  ].flatMap((list) => (list ?? []).map(({ path }) => path));
}

function numbersOf(path: string): [number, number] {
  const status = statusOfPath(path);
  if (status === undefined) throw new TareError('InvalidArgument', `stat ${path}: no such file or directory`);
  if (!status.isBlockDevice()) {
    throw new TareError('InvalidArgument', `${path} is not a block device: its input and output cannot be limited`);
  }
  return deviceNumbers(status.rdev);
}

const statusOfPath = (path: string) => statSync(path, { throwIfNoEntry: false });

/** glibc's major() and minor(). */
export function deviceNumbers(rdev: number): [major: number, minor: number] {
  const device = BigInt(rdev);
  const major = ((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn);
  const minor = ((device >> 12n) & 0xffffff00n) | (device & 0xffn);
  return [Number(major), Number(minor)];
}

function devicesAt(pathOnHost: string, pathInContainer: string): OciDevice[] {
  const failed = (why: string) =>
    new TareError(
      'InvalidArgument',
      `error gathering device information while adding custom device ${JSON.stringify(pathOnHost)}: ${why}`,
    );
  const status = statusOfPath(pathOnHost);
  if (status === undefined) throw failed('no such file or directory');
  if (!status.isDirectory()) {
    const node = nodeOf(pathOnHost, pathInContainer);
    if (node === undefined) throw failed('not a device node');
    return [node];
  }
  const nodes = collect(pathOnHost, pathInContainer);
  if (nodes.length === 0) throw failed('no devices in this folder');
  return nodes;
}

/** Folders and nodes of /dev that each container has of its own. */
const ownParts = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console', 'ptmx']);

function hostDevices(): OciDevice[] {
  return collect('/dev', '/dev', ownParts);
}

/** Devices beneath a folder, links not followed: a link out of it names nothing that was asked for. */
function collect(folder: string, target: string, except?: ReadonlySet<string>): OciDevice[] {
  const found: OciDevice[] = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (except?.has(entry.name)) continue;
    const path = join(folder, entry.name);
    const inner = join(target, entry.name);
    if (entry.isDirectory()) found.push(...collect(path, inner));
    else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      const node = nodeOf(path, inner);
      if (node !== undefined) found.push(node);
    }
  }
  return found;
}

function nodeOf(path: string, target: string): OciDevice | undefined {
  const status = statusOfPath(path);
  // Undefined too when it vanished since its folder was read, as unplugged devices do.
  if (!status?.isCharacterDevice() && !status?.isBlockDevice()) return undefined;
  const [major, minor] = deviceNumbers(status.rdev);
  return {
    type: status.isBlockDevice() ? 'b' : 'c',
    path: target,
    major,
    minor,
    fileMode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
  };
}

function checkAccess(access: string, what: string): void {
  if (/^[rwm]{1,3}$/.test(access) && new Set(access).size === access.length) return;
  throw new TareError('InvalidArgument', `bad mode specified: ${access} (device ${what}: want some of r, w and m)`);
}

/**
 * A rule such as `c 42:* rmw`.
 * @throws {TareError} InvalidArgument with docker's text
 */
export function parseDeviceRule(rule: string): OciDeviceRule {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(rule);
  if (match === null) {
    throw new TareError('InvalidArgument', `invalid device cgroup rule format: '${rule}'`);
  }
  const number = (text: string) => (text === '*' ? undefined : Number(text));
  const [major, minor] = [number(match[2]!), number(match[3]!)];
  return {
    allow: true,
    type: match[1] as 'a' | 'b' | 'c',
    ...(major !== undefined && { major }),
    ...(minor !== undefined && { minor }),
    access: match[4]!,
  };
}
