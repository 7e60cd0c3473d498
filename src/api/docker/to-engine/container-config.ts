import { TareError } from '../../../errors/index.ts';
import type { ContainerConfig, Healthcheck } from '../../../runtime/index.ts';
import type { CreateBody } from '../schema/container.ts';

/**
 * The portable half of a create request in the engine's words.
 *
 * @throws {TareError} InvalidArgument, with docker's text
 */
export function toContainerConfig(body: CreateBody): ContainerConfig {
  for (const variable of body.Env) {
    if (variable === '' || variable.startsWith('=')) throw invalid(`invalid environment variable: ${variable}`);
    if (variable.includes('\0')) throw invalid(`invalid environment variable: ${JSON.stringify(variable)}`);
  }
  if (body.WorkingDir !== '' && !body.WorkingDir.startsWith('/')) {
    throw invalid(`the working directory '${body.WorkingDir}' is invalid, it needs to be an absolute path`);
  }
  if (body.StopTimeout !== undefined && body.StopTimeout < -1) {
    throw invalid(`invalid stop timeout ${body.StopTimeout}: give seconds, or -1 to wait without end`);
  }
  return {
    hostname: body.Hostname,
    domainname: body.Domainname,
    user: body.User,
    attachStdin: body.AttachStdin,
    attachStdout: body.AttachStdout,
    attachStderr: body.AttachStderr,
    exposedPorts: Object.keys(body.ExposedPorts).map(portWithProtocol),
    tty: body.Tty,
    openStdin: body.OpenStdin,
    stdinOnce: body.StdinOnce,
    env: body.Env,
    cmd: body.Cmd ?? null,
    entrypoint: body.Entrypoint ?? null,
    healthcheck: body.Healthcheck ? toHealthcheck(body.Healthcheck) : null,
    image: body.Image,
    volumes: Object.keys(body.Volumes),
    workingDir: body.WorkingDir,
    networkDisabled: body.NetworkDisabled,
    labels: body.Labels,
    stopSignal: body.StopSignal,
    stopTimeoutSeconds: body.StopTimeout ?? null,
    onBuild: body.OnBuild,
    shell: body.Shell ?? null,
  };
}

function toHealthcheck(body: NonNullable<CreateBody['Healthcheck']>): Healthcheck {
  for (const [name, ns] of [
    ['Interval', body.Interval],
    ['Timeout', body.Timeout],
    ['StartPeriod', body.StartPeriod],
    ['StartInterval', body.StartInterval],
  ] as const) {
    if (ns !== 0 && ns < 1_000_000) throw invalid(`${name} in Healthcheck cannot be less than 1ms`);
  }
  if (body.Retries < 0) throw invalid('Retries in Healthcheck cannot be negative');
  const kind = body.Test[0];
  if (kind !== undefined && !['', 'NONE', 'CMD', 'CMD-SHELL'].includes(kind)) {
    throw invalid(`invalid Test in Healthcheck: it begins with "${kind}", not with NONE, CMD or CMD-SHELL`);
  }
  return {
    test: body.Test,
    intervalNs: body.Interval,
    timeoutNs: body.Timeout,
    startPeriodNs: body.StartPeriod,
    startIntervalNs: body.StartInterval,
    retries: body.Retries,
  };
}

/** `80` means `80/tcp`. @throws {TareError} InvalidArgument: not `PORT[-PORT][/PROTOCOL]` */
export function portWithProtocol(port: string): string {
  const [, range = '', name = 'tcp'] = /^([0-9]{1,5}(?:-[0-9]{1,5})?)(?:\/([a-zA-Z]+))?$/.exec(port) ?? [];
  const protocol = name.toLowerCase();
  const numbers = range.split('-').map(Number);
  const isRange = range !== '' && numbers.every((number) => number <= 65535) && numbers[0]! <= numbers.at(-1)!;
  if (!isRange || !['tcp', 'udp', 'sctp'].includes(protocol)) throw invalid(`invalid port specification: "${port}"`);
  return `${range}/${protocol}`;
}

export function invalid(message: string): TareError {
  return new TareError('InvalidArgument', message);
}
