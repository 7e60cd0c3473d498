import { isProcessAlive } from '../linux/index.ts';
import type { ContainerRecord } from './types.ts';

/** Whether the record says that a process runs. */
export const isUp = ({ state }: Pick<ContainerRecord, 'state'>): boolean =>
  state.status === 'running' || state.status === 'paused';

/** Whether the container's first process is alive, whatever its record says. */
export const isContainerAlive = ({ state }: Pick<ContainerRecord, 'state'>): boolean =>
  state.pid > 0 && isProcessAlive(state.pid, state.pidStartTicks);
