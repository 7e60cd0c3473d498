import type { ContainerRecord, ExecConfig } from './types.ts';

const present = (values: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(values).filter(
      ([, value]) => !(value === '' || value === false || (Array.isArray(value) && value.length === 0)),
    ),
  );

/** `NAME` of each `NAME=VALUE`: values may be secret. */
const names = (env: readonly string[]): string[] => env.map((entry) => entry.split('=', 1)[0] ?? '');

/** A new container in short, as it will be run. */
export function containerSubject({
  id,
  name,
  config,
  host,
  mounts,
  imageId,
}: ContainerRecord): Record<string, unknown> {
  const { privileged, networkMode, pidMode, ipcMode, utsMode, usernsMode, cgroupnsMode, capAdd, capDrop, securityOpt } =
    host;
  return present({
    ...{ id, name, image: config.image, imageId, user: config.user, env: names(config.env) },
    ...{ privileged, networkMode, pidMode, ipcMode, utsMode, usernsMode, cgroupnsMode, capAdd, capDrop, securityOpt },
    devices: host.devices.map(({ pathOnHost }) => pathOnHost),
    mounts: mounts.map(({ type, name: volume, source, destination, readWrite }) => ({
      ...{ type, source: type === 'volume' ? volume : source, destination, readWrite },
    })),
    ports: Object.keys(host.portBindings),
    restart: host.restartPolicy.name,
    runtime: host.runtime,
  });
}

/** What is to be run in a container, without its arguments, which may be secret. */
export function execSubject(container: ContainerRecord, id: string, config: ExecConfig): Record<string, unknown> {
  return present({
    ...{ exec: id, id: container.id, name: container.name, program: config.command[0] ?? '', user: config.user },
    ...{ privileged: config.privileged, env: names(config.env) },
  });
}
