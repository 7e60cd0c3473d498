import { isHealthchecked } from './health.ts';
import { parseLogOptions } from './log-options.ts';
import type { ContainerRecord } from './types.ts';

/** Whether a container that runs, or waits for its restart, needs the living process. */
export function needsKeeper(record: Pick<ContainerRecord, 'config' | 'host'>): boolean {
  return (
    record.host.restartPolicy.name !== 'no' ||
    isHealthchecked(record.config.healthcheck) ||
    record.host.publishAllPorts ||
    Object.values(record.host.portBindings).some((bindings) => bindings.length > 0) ||
    parseLogOptions(record.host.logConfig).maxSizeBytes > 0
  );
}
