import { TareError } from '../errors/index.ts';
import type { OciCapabilities } from './oci-spec.ts';

/** Every Linux capability, in the order of their numbers (linux/capability.h). */
export const allCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
];

/** What a container gets when nothing is asked for; docker's set. */
export const defaultCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

/** Names of the capabilities in a mask such as /proc/PID/status shows it (`CapBnd`). */
export function capabilitiesOfMask(hexMask: string): string[] {
  const mask = BigInt(`0x${hexMask}`);
  return allCapabilities.filter((_, number) => (mask >> BigInt(number)) & 1n);
}

/**
 * Which capabilities a container's root has.
 *
 * `ALL` in `add` starts from every capability of the host, and `drop` takes from it; `ALL` in `drop` starts from none,
 * and `add` gives to it. Names are upper or lower case, with or without `CAP_`.
 *
 * @param available those of this host and this process; a default one that is not among them is left out silently, one
 *   that was asked for by name is refused
 * @throws {TareError} InvalidArgument: a name is unknown, or cannot be given on this host
 */
export function containerCapabilities(
  request: { add: readonly string[]; drop: readonly string[]; privileged: boolean },
  available: readonly string[],
): string[] {
  const drop = normalize(request.drop, 'CapDrop', allCapabilities);
  const add = normalize(request.add, 'CapAdd', available);
  if (request.privileged) return [...available];
  if (add.has('ALL')) return drop.has('ALL') ? [] : available.filter((name) => !drop.has(name));
  const base = drop.has('ALL') ? [] : defaultCapabilities.filter((name) => available.includes(name));
  const kept = base.filter((name) => !drop.has(name));
  return [...kept, ...[...add].filter((name) => !kept.includes(name))];
}

function normalize(names: readonly string[], field: string, available: readonly string[]): Set<string> {
  const result = new Set<string>();
  for (const given of names) {
    const upper = given.toUpperCase();
    const name = upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
    if (name === 'CAP_ALL') {
      result.add('ALL');
      continue;
    }
    if (name !== 'ALL' && !allCapabilities.includes(name)) {
      throw new TareError('InvalidArgument', `invalid ${field}: unknown capability: "${name}"`);
    }
    if (name !== 'ALL' && !available.includes(name)) {
      throw new TareError(
        'InvalidArgument',
        `invalid ${field}: capability not supported by your kernel or not available in the current environment: "${name}"`,
      );
    }
    result.add(name);
  }
  return result;
}

/**
 * The capability sets of a process. Inheritable and ambient stay empty (CVE-2022-24769), so a process that is not root
 * has none unless its file gives it some.
 */
export function capabilitySets(capabilities: readonly string[], isRoot: boolean): OciCapabilities {
  const bounding = [...capabilities];
  return isRoot ? { bounding, effective: bounding, permitted: bounding } : { bounding, effective: [], permitted: [] };
}
