import { TareError } from '../../../errors/index.ts';
import type { HostConfig } from '../../../runtime/index.ts';
import type { HostConfigBody } from '../schema/container.ts';
import { invalid, portWithProtocol } from './container-config.ts';
import { toMount } from './mounts.ts';
import { toResources } from './resources.ts';
import { toRestartPolicy } from './restart-policy.ts';

/**
 * The host-dependent half of a create request in the engine's words.
 *
 * @throws {TareError} InvalidArgument, with docker's text; Unsupported: Windows isolation
 */
export function toHostConfig(body: HostConfigBody): HostConfig {
  checkModes(body);
  const restartPolicy = toRestartPolicy(body.RestartPolicy);
  if (body.AutoRemove && restartPolicy.name !== 'no') {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
  if (body.ShmSize < 0) throw invalid('SHM size can not be less than 0');
  if (body.OomScoreAdj < -1000 || body.OomScoreAdj > 1000) {
    throw invalid(`Invalid value ${body.OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  return {
    ...toResources(body),
    binds: body.Binds,
    mounts: body.Mounts.map(toMount),
    tmpfs: body.Tmpfs,
    volumesFrom: body.VolumesFrom,
    volumeDriver: body.VolumeDriver,
    networkMode: body.NetworkMode === 'default' ? '' : body.NetworkMode,
    portBindings: toPortBindings(body.PortBindings),
    publishAllPorts: body.PublishAllPorts,
    ...(body.NetworkBandwidth && {
      networkBandwidth: { in: body.NetworkBandwidth.In, out: body.NetworkBandwidth.Out },
    }),
    restartPolicy,
    autoRemove: body.AutoRemove,
    capAdd: body.CapAdd,
    capDrop: body.CapDrop,
    cgroupnsMode: body.CgroupnsMode,
    cgroupParent: body.CgroupParent,
    ipcMode: body.IpcMode,
    pidMode: body.PidMode,
    utsMode: body.UTSMode,
    usernsMode: body.UsernsMode,
    dns: body.Dns,
    dnsOptions: body.DnsOptions,
    dnsSearch: body.DnsSearch,
    extraHosts: body.ExtraHosts,
    groupAdd: body.GroupAdd,
    links: body.Links,
    deviceRequests: body.DeviceRequests.map((request) => ({
      driver: request.Driver,
      count: request.Count,
      deviceIds: request.DeviceIDs,
      capabilities: request.Capabilities,
      options: request.Options,
    })),
    oomScoreAdj: body.OomScoreAdj,
    privileged: body.Privileged,
    readonlyRootfs: body.ReadonlyRootfs,
    securityOpt: body.SecurityOpt,
    storageOpt: body.StorageOpt,
    sysctls: body.Sysctls,
    shmSizeBytes: body.ShmSize,
    runtime: body.Runtime,
    init: body.Init ?? null,
    isolation: body.Isolation,
    maskedPaths: body.MaskedPaths ?? null,
    readonlyPaths: body.ReadonlyPaths ?? null,
    annotations: body.Annotations,
    logConfig: { type: body.LogConfig.Type, config: body.LogConfig.Config },
    consoleSize: body.ConsoleSize,
    containerIdFile: body.ContainerIDFile,
  };
}

/** Spelling alone; whether a named container exists is the engine's question. */
function checkModes(body: HostConfigBody): void {
  const modes = [
    ['IPC', body.IpcMode, ['', 'private', 'host', 'shareable', 'none'], true],
    ['PID', body.PidMode, ['', 'host', 'private'], true],
    ['UTS', body.UTSMode, ['', 'host', 'private'], false],
    ['user namespace', body.UsernsMode, ['', 'host'], false],
    ['cgroup namespace', body.CgroupnsMode, ['', 'private', 'host'], false],
  ] as const;
  for (const [name, value, known, mayJoin] of modes) {
    const joins = mayJoin && /^container:.+/.test(value);
    if (!joins && !(known as readonly string[]).includes(value)) throw invalid(`invalid ${name} mode: ${value}`);
  }
  if (!['', 'default'].includes(body.Isolation)) {
    throw invalid(`invalid isolation "${body.Isolation}" on linux: leave it empty`);
  }
  if (body.Cgroup !== '')
    throw new TareError('Unsupported', `Cgroup "${body.Cgroup}" is not supported; use CgroupParent`);
}

/** @throws {TareError} InvalidArgument: a host port that is none */
export function toPortBindings(body: HostConfigBody['PortBindings']): HostConfig['portBindings'] {
  const bindings = Object.entries(body).map(([port, wanted]) => [
    portWithProtocol(port),
    wanted.map(({ HostIp, HostPort }) => {
      checkHostPort(HostPort);
      return { hostIp: HostIp, hostPort: HostPort };
    }),
  ]);
  return Object.fromEntries(bindings);
}

function checkHostPort(port: string): void {
  if (port === '') return;
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(port);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first > 65535 || last > 65535 || last < first) {
    throw invalid(`invalid port specification: "${port}"`);
  }
}
