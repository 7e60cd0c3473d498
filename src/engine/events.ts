import type { NetworkRecord } from '../network/index.ts';
import type { NewEvent } from '../state/index.ts';
import type { ContainerRecord, ExecRecord } from './types.ts';

/** An event about a container, with docker's attributes: its labels, image and name, and what the action adds. */
export function containerEvent(
  record: Pick<ContainerRecord, 'id' | 'name' | 'config'>,
  action: string,
  attributes: Record<string, string> = {},
): NewEvent {
  return {
    type: 'container',
    action,
    actorId: record.id,
    attributes: { ...record.config.labels, image: record.config.image, name: record.name, ...attributes },
  };
}

/** Docker writes program and arguments with a space between, also if there are none. */
export function execEvent(
  container: ContainerRecord,
  { id, config }: { id: string; config: Pick<ExecRecord['config'], 'command'> },
  action: 'exec_create' | 'exec_start',
): NewEvent {
  const [program, ...args] = config.command;
  return containerEvent(container, `${action}: ${program} ${args.join(' ')}`, { execID: id });
}

/** An event about a network, or about a container that came to or left it. */
export function networkEvent(
  network: Pick<NetworkRecord, 'id' | 'name' | 'driver'>,
  action: 'create' | 'connect' | 'disconnect' | 'destroy',
  container?: string,
): NewEvent {
  return {
    type: 'network',
    action,
    actorId: network.id,
    attributes: { ...(container === undefined ? {} : { container }), name: network.name, type: driverName(network) },
  };
}

/** docker's name of a network's driver: that of no network is another. */
export const driverName = ({ driver }: Pick<NetworkRecord, 'driver'>): string => (driver === 'none' ? 'null' : driver);

/** One event for each volume that a container's start mounts, or its end unmounts. */
export function volumeUseEvents(
  { id, mounts }: Pick<ContainerRecord, 'id' | 'mounts'>,
  action: 'mount' | 'unmount',
): NewEvent[] {
  return mounts
    .filter(({ type }) => type === 'volume')
    .map(({ name, driver, destination, propagation, readWrite }) => ({
      type: 'volume',
      action,
      actorId: name,
      attributes: {
        container: id,
        driver,
        ...(action === 'mount' && { destination, propagation, 'read/write': String(readWrite) }),
      },
    }));
}

/** That objects of a kind were pruned, and how much that freed. */
export const pruneEvent = (type: string, reclaimedBytes: number): NewEvent => ({
  type,
  action: 'prune',
  actorId: '',
  attributes: { reclaimed: String(reclaimedBytes) },
});
