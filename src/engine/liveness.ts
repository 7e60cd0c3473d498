import { isProcessAlive } from '../linux/index.ts';
import { currentBootId } from './leases.ts';
import type { ContainerRecord } from './types.ts';

/** Whether the record says that a process runs. */
export const isUp = ({ state }: Pick<ContainerRecord, 'state'>): boolean =>
  state.status === 'running' || state.status === 'paused';

/** Whether the container's first process is alive, whatever its record says. */
export const isContainerAlive = ({ state }: Pick<ContainerRecord, 'state'>): boolean =>
  isOfThisBoot(state) && isProcessAlive(state.pid, state.pidStartTicks);

/** The same of its monitor. */
export const isMonitorAlive = ({ state }: Pick<ContainerRecord, 'state'>): boolean =>
  isOfThisBoot(state) && isProcessAlive(state.monitorPid, state.monitorStartTicks);

/** Processes of another boot may have the same number and the same ticks. */
export const isOfThisBoot = ({ bootId }: ContainerRecord['state']): boolean =>
  bootId === undefined || bootId === currentBootId();
