import { listPids, listProcesses } from '../linux/index.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

/** The cgroup below which containers get theirs, unless the user names another. */
export const defaultCgroupParent = (instance: string): string => `/${instance}`;

/** A container's cgroup, from the top of each hierarchy. */
export function cgroupPath(
  parts: Pick<EngineParts, 'instance'>,
  record: { id: string; host: Pick<ContainerRecord['host'], 'cgroupParent'> },
): string {
  const parent = record.host.cgroupParent || defaultCgroupParent(parts.instance);
  return `${parent.startsWith('/') ? '' : '/'}${parent.replace(/\/+$/, '')}/${record.id}`;
}

/** Whether containers have cgroups: those of an ordinary user have none. */
export const hasCgroup = ({ config }: Pick<EngineParts, 'config'>): boolean => config.rootless === undefined;

/** The processes of a running container, ascending. */
export function containerPids(
  parts: Pick<EngineParts, 'instance' | 'config'>,
  record: Pick<ContainerRecord, 'id' | 'host' | 'state'>,
): number[] {
  return hasCgroup(parts) ? listPids(cgroupPath(parts, record)) : listProcesses(record.state.pid);
}
