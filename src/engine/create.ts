import { mkdirSync, rmSync } from 'node:fs';
import { hostname as hostName } from 'node:os';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';
import { parsePlatform } from '../image/index.ts';
import { checkEndpoint } from '../network/index.ts';
import {
  applyHostDefaults,
  type ContainerConfig,
  commandLine,
  type HostConfig,
  mergeImageDefaults,
  validateSettings,
} from '../runtime/index.ts';
import { copyUp } from '../storage/index.ts';
import { containerSubject } from './audit-subjects.ts';
import { bundleFolder, containerFolder } from './config.ts';
import { checkContainerBandwidth } from './container-bandwidth.ts';
import { makeBindSources, planMounts } from './container-mounts.ts';
import { publicationWarnings } from './container-network.ts';
import { deviceEdits } from './devices.ts';
import { egressOf } from './egress.ts';
import { emptyEndpoint } from './endpoint-request.ts';
import { containerEvent } from './events.ts';
import { findImage } from './image-records.ts';
import { noteUse } from './image-uses.ts';
import { insertLinks, resolveLinks } from './links.ts';
import { parseLogOptions, withLogDefaults } from './log-options.ts';
import { isExtraHost } from './name-files.ts';
import { newContainerID, newContainerName, parseContainerName } from './names.ts';
import type { EngineParts } from './parts.ts';
import { deleteRecord } from './remove-locked.ts';
import { noteSubject } from './request-context.ts';
import { checkRestartPolicy } from './restart-policy.ts';
import { parseSignal } from './signals.ts';
import type { ContainerRecord, ContainerState, CreateContainer, EndpointRequest } from './types.ts';
import { insertVolume } from './volumes.ts';

const NAME_ATTEMPTS = 6;

const initialState: ContainerState = {
  status: 'created',
  pid: 0,
  pidStartTicks: 0,
  monitorPid: 0,
  monitorStartTicks: 0,
  exitCode: 0,
  oomKilled: false,
  error: '',
  startedMs: 0,
  finishedMs: 0,
  health: null,
  stoppedByUser: false,
  isStopping: false,
  restartAtMs: 0,
  removesVolumes: false,
};

/**
 * Makes a container: its snapshot and files first, which nobody owns without a record, then the record with its new
 * volumes in one transaction. Whatever fails, nothing stays.
 *
 * @throws {TareError} NotFound: the image; InvalidArgument: a setting; AlreadyExists: the name
 */
export async function createContainer(
  parts: EngineParts,
  request: CreateContainer,
): Promise<{ id: string; warnings: string[] }> {
  const { config: engine } = parts;
  const platform = request.platform === undefined ? undefined : parsePlatform(request.platform);
  const image = parts.images.resolve(request.config.image, platform);
  await parts.images.requireTrusted(image.id, request.config.image);
  const config = mergeImageDefaults(request.config, image.config.config ?? {});
  const asked: HostConfig = {
    ...request.host,
    runtime: request.host.runtime || engine.defaultRuntime,
    logConfig: withLogDefaults(request.host.logConfig, engine.logConfig),
  };
  const warnings = checkSettings(parts, config, asked);
  const host = applyHostDefaults(asked, parts.facts);
  const networking = config.networkDisabled ? [] : resolveNetworking(parts, host, request.networking);
  warnings.push(...publicationWarnings({ host, config, networking }, (ref) => parts.networks.get(ref)));
  await deviceEdits(parts, host);
  const egress = egressOf(request, host.networkMode, networking, (ref) => parts.networks.get(ref));
  const plan = planMounts(parts, config, host);
  for (const { imageId, spec } of plan.mounts) {
    if (imageId !== undefined) await parts.images.requireTrusted(imageId, spec?.source ?? imageId);
  }

  const id = newContainerID();
  const folder = containerFolder(engine, id);
  const [path = '', ...args] = commandLine(config);
  const record: ContainerRecord = {
    id,
    name: request.name === undefined ? newContainerName(0) : parseContainerName(request.name),
    createdMs: Date.now(),
    config: { ...config, hostname: config.hostname || defaultHostname(parts, id, host) },
    host,
    networking,
    imageId: image.id,
    imageManifest: image.manifest,
    platform: { os: image.config.os, architecture: image.config.architecture },
    path,
    args,
    state: { ...initialState },
    mounts: plan.mounts,
    restartCount: 0,
    bundle: bundleFolder(engine, id),
    logPath: parseLogOptions(host.logConfig).type === 'none' ? '' : join(folder, 'container.log'),
    hostnamePath: join(folder, 'hostname'),
    hostsPath: join(folder, 'hosts'),
    resolvConfPath: join(folder, 'resolv.conf'),
    driver: parts.layers.driver,
  };

  noteSubject(() => containerSubject(record));
  parts.guard.checkContainer(record, plan.newVolumes);
  parts.guard.confineBinds(record.mounts);
  const links = resolveLinks(parts, record);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${id}`);
  await using undo = new AsyncDisposableStack();
  const diffIDs = await parts.images.ensureUnpacked(image.id);
  undo.defer(() => parts.layers.remove(id));
  await parts.layers.prepare(id, diffIDs);
  undo.defer(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(folder, { recursive: true, mode: 0o700 });

  const volumes = plan.mounts
    .filter((mount) => mount.type === 'volume')
    .filter(({ name }, index, all) => all.findIndex((other) => other.name === name) === index)
    .map(
      ({ name }) =>
        plan.newVolumes.find((made) => made.name === name) ??
        parts.volumes.find(name) ??
        parts.volumes.newRecord(name, {}),
    );
  await insertWithName(parts, record, request.name === undefined, (tx) => {
    insertLinks(tx, links);
    for (const volume of volumes) {
      // Named volumes may have been made, or removed, by another process since the plan.
      if (tx.get('SELECT 1 AS there FROM volumes WHERE name = ?', volume.name) === undefined) insertVolume(tx, volume);
    }
    // Removed since it was found: its layers are held by the snapshot, but nobody could derive them again.
    if (findImage(tx, image.id) === undefined) throw new TareError('NotFound', `No such image: ${config.image}`);
    if (egress !== undefined) parts.networks.egress.record(tx, { kind: 'container', id }, egress);
    noteUse(tx, image.id, record.createdMs);
    tx.event(containerEvent(record, 'create'));
  });
  undo.defer(async () => {
    await parts.db.write((tx) => deleteRecord(tx, record));
    for (const volume of plan.newVolumes)
      if (volume.anonymous) await parts.volumes.remove(volume.name, { force: true });
  });
  for (const volume of volumes) await parts.volumes.ensureDirectory(volume);
  makeBindSources(plan.mounts);
  if (plan.copyUp.length > 0) await fillVolumes(parts, id, plan.copyUp);
  undo.move();
  return { id, warnings };
}

function checkSettings(parts: EngineParts, config: ContainerConfig, host: HostConfig): string[] {
  checkRestartPolicy(host);
  parseLogOptions(host.logConfig);
  parts.runtimeFor(host.runtime);
  if (config.stopSignal !== '') parseSignal(config.stopSignal);
  const badHost = host.extraHosts.find((entry) => !isExtraHost(entry));
  if (badHost !== undefined)
    throw new TareError('InvalidArgument', `bad format for add-host: ${JSON.stringify(badHost)}`);
  checkContainerBandwidth(host);
  const joined = /^container:(.*)$/.exec(host.networkMode)?.[1];
  if (joined !== undefined) {
    parts.store.get(joined);
    if (Object.keys(host.portBindings).length > 0 || host.publishAllPorts) {
      throw new TareError(
        'InvalidArgument',
        'conflicting options: port publishing and the container type network mode',
      );
    }
  }
  for (const mode of [host.pidMode, host.ipcMode]) {
    const other = /^container:(.*)$/.exec(mode)?.[1];
    if (other !== undefined) parts.store.get(other);
  }
  return validateSettings(config, host, parts.facts);
}

/** The networks asked for, the network mode's first. @throws {TareError} NotFound: a network that is not there */
function resolveNetworking(
  parts: EngineParts,
  host: HostConfig,
  requested: readonly EndpointRequest[],
): EndpointRequest[] {
  const mode = host.networkMode === '' || host.networkMode === 'default' ? 'bridge' : host.networkMode;
  if (mode.startsWith('container:')) return [];
  const idOf = ({ network }: Pick<EndpointRequest, 'network'>) =>
    parts.networks.get(network === 'default' ? 'bridge' : network).id;
  const own = idOf({ network: mode });
  const main = requested.find((request) => idOf(request) === own) ?? emptyEndpoint(mode);
  const all = [{ ...main, network: mode }, ...requested.filter((request) => idOf(request) !== own)];
  for (const request of all) checkEndpoint(parts.networks.get(request.network), request);
  if (all.length > 1 && all.some(({ network }) => network === 'host' || network === 'none')) {
    throw new TareError('InvalidArgument', `conflicting options: cannot attach both ${mode} and other networks`);
  }
  return all;
}

function defaultHostname(parts: EngineParts, id: string, host: HostConfig): string {
  if (host.networkMode === 'host' || host.utsMode === 'host') return hostName();
  const joined = /^container:(.*)$/.exec(host.networkMode)?.[1];
  return joined === undefined ? id.slice(0, 12) : parts.store.get(joined).config.hostname;
}

async function insertWithName(
  parts: EngineParts,
  record: ContainerRecord,
  isMadeUp: boolean,
  extra: Parameters<EngineParts['store']['insert']>[1],
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await parts.store.insert(record, extra);
      return;
    } catch (error) {
      const retry = isMadeUp && attempt < NAME_ATTEMPTS && error instanceof TareError && error.kind === 'AlreadyExists';
      if (!retry) throw error;
      record.name = newContainerName(attempt);
    }
  }
}

/** Gives empty volumes what the image holds at their place. */
async function fillVolumes(
  parts: EngineParts,
  id: string,
  wanted: { destination: string; volume: string }[],
): Promise<void> {
  const root = parts.layers.mount(id);
  try {
    for (const { destination, volume } of wanted) {
      await using _mounted = await parts.volumes.hold(volume);
      using _lock = await parts.locks.acquire(`volume:${volume}`);
      await copyUp(root, destination, parts.volumes.get(volume).mountpoint);
    }
  } finally {
    parts.layers.unmount(id);
  }
}
