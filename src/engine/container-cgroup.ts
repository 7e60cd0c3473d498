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
