import type { ContainerConfig, Healthcheck } from './settings.ts';

/** What an image says about how to run it; the `config` object of an image-spec configuration, docker's extensions included. */
export interface ImageDefaults {
  User?: string;
  ExposedPorts?: Record<string, object> | null;
  Env?: string[] | null;
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, object> | null;
  WorkingDir?: string;
  Labels?: Record<string, string> | null;
  StopSignal?: string;
  Healthcheck?: {
    Test?: string[];
    Interval?: number;
    Timeout?: number;
    StartPeriod?: number;
    StartInterval?: number;
    Retries?: number;
  } | null;
  OnBuild?: string[] | null;
  Shell?: string[] | null;
  StopTimeout?: number | null;
}

/**
 * A container's configuration with what it leaves open filled in from its image, by docker's rules.
 *
 * An entrypoint of the user's drops the image's command; a command of the user's keeps the image's entrypoint; an
 * entrypoint `['']` clears it. Variables are merged by name, the user's first. A health check is merged field by field.
 */
export function mergeImageDefaults(config: ContainerConfig, image: ImageDefaults | undefined): ContainerConfig {
  const { entrypoint, cmd } = mergeCommand(config, image);
  return {
    ...config,
    user: config.user || image?.User || '',
    exposedPorts: union(config.exposedPorts, Object.keys(image?.ExposedPorts ?? {})),
    env: mergeEnv(config.env, image?.Env ?? []),
    entrypoint,
    cmd,
    volumes: union(config.volumes, Object.keys(image?.Volumes ?? {})),
    workingDir: config.workingDir || image?.WorkingDir || '',
    labels: { ...image?.Labels, ...config.labels },
    stopSignal: config.stopSignal || image?.StopSignal || '',
    stopTimeoutSeconds: config.stopTimeoutSeconds ?? image?.StopTimeout ?? null,
    healthcheck: mergeHealthcheck(config.healthcheck, image ? healthcheckOf(image) : null),
    shell: config.shell ?? image?.Shell ?? null,
  };
}

/** The program and its arguments; empty when neither the user nor the image names one. */
export function commandLine(config: Pick<ContainerConfig, 'entrypoint' | 'cmd'>): string[] {
  return [...(config.entrypoint ?? []), ...(config.cmd ?? [])];
}

function mergeCommand(config: ContainerConfig, image: ImageDefaults | undefined) {
  let { entrypoint, cmd } = config;
  if (!entrypoint?.length) {
    if (!cmd?.length) cmd = image?.Cmd ?? cmd;
    // null is "not given"; [] was given, and clears the image's.
    if (entrypoint === null) entrypoint = image?.Entrypoint ?? null;
  }
  if (entrypoint?.length === 1 && entrypoint[0] === '') entrypoint = null;
  return { entrypoint, cmd };
}

const nameOf = (variable: string) => variable.split('=', 1)[0];

function mergeEnv(own: readonly string[], image: readonly string[]): string[] {
  const given = new Set(own.map(nameOf));
  return [...own, ...image.filter((variable) => !given.has(nameOf(variable)))];
}

/**
 * `base` with the variables of `overrides` replaced in place or added at the end. An override without `=` removes the
 * variable; the last of several counts.
 */
export function overrideEnv(base: readonly string[], overrides: readonly string[]): string[] {
  const result = new Map<string, string>();
  for (const variable of [...base, ...overrides]) {
    const name = nameOf(variable)!;
    if (variable.includes('=')) result.set(name, variable);
    else result.delete(name);
  }
  return [...result.values()];
}

const union = (first: readonly string[], second: readonly string[]) => [...new Set([...first, ...second])];

/** An image's health check as a container has it. */
export function healthcheckOf({ Healthcheck: image }: Pick<ImageDefaults, 'Healthcheck'>): Healthcheck | null {
  if (!image) return null;
  return {
    test: image.Test ?? [],
    intervalNs: image.Interval ?? 0,
    timeoutNs: image.Timeout ?? 0,
    startPeriodNs: image.StartPeriod ?? 0,
    startIntervalNs: image.StartInterval ?? 0,
    retries: image.Retries ?? 0,
  };
}

function mergeHealthcheck(own: Healthcheck | null, inherited: Healthcheck | null): Healthcheck | null {
  if (!own || !inherited) return own ?? inherited;
  return {
    test: own.test.length > 0 ? own.test : inherited.test,
    intervalNs: own.intervalNs || inherited.intervalNs,
    timeoutNs: own.timeoutNs || inherited.timeoutNs,
    startPeriodNs: own.startPeriodNs || inherited.startPeriodNs,
    startIntervalNs: own.startIntervalNs || inherited.startIntervalNs,
    retries: own.retries || inherited.retries,
  };
}
