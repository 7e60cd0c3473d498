import type { ContainerConfig, Healthcheck } from '../../../runtime/index.ts';

/** inspect's `Config`. */
export function containerConfigOf(config: ContainerConfig) {
  const healthcheck = config.healthcheck;
  return {
    Hostname: config.hostname,
    Domainname: config.domainname,
    User: config.user,
    AttachStdin: config.attachStdin,
    AttachStdout: config.attachStdout,
    AttachStderr: config.attachStderr,
    ...(config.exposedPorts.length > 0 && { ExposedPorts: emptyObjects(config.exposedPorts) }),
    Tty: config.tty,
    OpenStdin: config.openStdin,
    StdinOnce: config.stdinOnce,
    Env: config.env,
    Cmd: config.cmd,
    ...(healthcheck && { Healthcheck: healthcheckOf(healthcheck) }),
    Image: config.image,
    Volumes: config.volumes.length > 0 ? emptyObjects(config.volumes) : null,
    WorkingDir: config.workingDir,
    Entrypoint: config.entrypoint,
    ...(config.networkDisabled && { NetworkDisabled: true }),
    OnBuild: config.onBuild.length > 0 ? config.onBuild : null,
    Labels: config.labels,
    ...(config.stopSignal && { StopSignal: config.stopSignal }),
    ...(config.stopTimeoutSeconds !== null && { StopTimeout: config.stopTimeoutSeconds }),
    ...(config.shell && { Shell: config.shell }),
  };
}

function healthcheckOf(healthcheck: Healthcheck) {
  return {
    ...(healthcheck.test.length > 0 && { Test: healthcheck.test }),
    ...(healthcheck.intervalNs !== 0 && { Interval: healthcheck.intervalNs }),
    ...(healthcheck.timeoutNs !== 0 && { Timeout: healthcheck.timeoutNs }),
    ...(healthcheck.startPeriodNs !== 0 && { StartPeriod: healthcheck.startPeriodNs }),
    ...(healthcheck.startIntervalNs !== 0 && { StartInterval: healthcheck.startIntervalNs }),
    ...(healthcheck.retries !== 0 && { Retries: healthcheck.retries }),
  };
}

/** Go's `map[string]struct{}`. */
function emptyObjects(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}
