import { chosenAttributes, type LogSource } from './log-shipping/index.ts';
import type { ContainerRecord } from './types.ts';

/** The labels and variables that a container's log options choose, as names and values. */
export const logAttributes = (record: ContainerRecord): [string, string][] =>
  chosenAttributes(record.host.logConfig.config)(logSource(record));

/** What a collector may be told of a container. */
export function logSource({ id, name, imageId, config, createdMs }: ContainerRecord): LogSource {
  return {
    ...{ id, name, imageId, createdMs },
    imageName: config.image,
    command: [...(config.entrypoint ?? []), ...(config.cmd ?? [])],
    labels: config.labels,
    env: config.env,
  };
}
