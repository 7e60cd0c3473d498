import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kindOf, messageOf, TareError } from '../errors/index.ts';
import { isAway, MS_NODEV, MS_NOEXEC, MS_NOSUID, mount, mountTable } from '../linux/index.ts';
import type { Endpoint } from '../network/index.ts';
import {
  applyCdiEdits,
  buildSpec,
  type CreateRequest,
  checkPropagation,
  knowsRecursiveReadOnly,
  type NamespaceMode,
  requireRootFolders,
  resolveDevices,
  resolveUserIn,
  type SharedMemory,
  type SpecInput,
} from '../runtime/index.ts';
import { removeBundle, sharedMemoryPath } from './bundle.ts';
import { type CheckpointEndpoint, withFormerAddresses } from './checkpoints/addresses.ts';
import type { CheckpointPlace } from './checkpoints/checkpoint-types.ts';
import { openForRestore, type RestorableCheckpoint } from './checkpoints/open-for-restore.ts';
import { configArguments } from './config.ts';
import { cgroupPath } from './container-cgroup.ts';
import { makeBindSources, runtimeMounts } from './container-mounts.ts';
import { connectRequests, disconnectAll, endpointEvents } from './container-network.ts';
import { deviceEdits } from './devices.ts';
import { containerEvent, volumeUseEvents } from './events.ts';
import { exitCommandFor } from './exit-command.ts';
import { writeGeneratedFiles, writeHosts, writeResolvConf } from './generated-files.ts';
import { isHealthchecked } from './health.ts';
import { needsKeeper } from './keeper-work.ts';
import { currentBootId } from './leases.ts';
import { type LinkedContainer, linkedContainers, tellParents } from './links.ts';
import { requireLogCollector } from './log-keeping.ts';
import { parseLogOptions } from './log-options.ts';
import { prepareSources, releaseSources } from './mount-sources.ts';
import { nameServerFor } from './name-servers.ts';
import type { EngineParts } from './parts.ts';
import { removeLocked } from './remove-locked.ts';
import type { ContainerRecord } from './types.ts';

/** Why and by whom a container is started. */
export interface StartOptions {
  /** Set by the keeper: the restart policy's doing, which counts. */
  byPolicy?: boolean;
  /** Take its processes up from here. */
  checkpoint?: CheckpointPlace;
}

/**
 * Starts a container. The record says "running" last: until then reconcile finds the bundle and undoes or adopts it.
 *
 * @throws {TareError} NotFound: the checkpoint; NotModified: it runs already; Conflict: paused or being removed; CommandNotFound, NotExecutable: its
 *   program; what the network or the runtime refuse. The record then carries the error and its exit code.
 */
export async function startContainer(parts: EngineParts, ref: string, options: StartOptions = {}): Promise<void> {
  const { id } = parts.store.get(ref);
  {
    using _intent = parts.intents.begin();
    using _lock = await parts.locks.acquire(`container:${id}`);
    await startLocked(parts, parts.store.get(id), options);
  }
  await portsAnswer(parts);
}

/**
 * Waits until the ports of what was just started answer: where the keeper carries their connections, it has to be there. Not to be
 * called under a container's lock, for which the keeper may wait.
 */
export async function portsAnswer({ heldPorts }: Pick<EngineParts, 'heldPorts'>): Promise<void> {
  if (isAway()) await heldPorts.handedOver();
}

/** `startContainer` for a caller that holds the container's lock and an intent. */
export async function startLocked(
  parts: EngineParts,
  record: ContainerRecord,
  options: StartOptions = {},
): Promise<void> {
  refuseStart(record);
  if (options.byPolicy === true && record.state.status !== 'restarting') return;
  using restored = options.checkpoint && (await openForRestore(parts, record, options.checkpoint));
  try {
    await launch(parts, record, options, restored);
  } catch (error) {
    await recordFailure(parts, record, error);
    throw error;
  }
}

function refuseStart(record: ContainerRecord): void {
  switch (record.state.status) {
    case 'running':
      throw new TareError('NotModified', `Container ${record.id} is already running`);
    case 'paused':
      throw new TareError('Conflict', 'cannot start a paused container, try unpause instead');
    case 'removing':
    case 'dead':
      throw new TareError('Conflict', 'container is marked for removal and cannot be started');
    default:
  }
}

async function launch(
  parts: EngineParts,
  record: ContainerRecord,
  options: StartOptions,
  restored: RestorableCheckpoint | undefined,
): Promise<void> {
  const { config: engine, layers, networks, runtime } = parts;
  const { id, bundle } = record;
  const binary = parts.runtimeFor(record.host.runtime);
  await using undo = new AsyncDisposableStack();

  await parts.images.requireTrusted(record.imageId, record.config.image);
  await requireLogCollector(record);
  await parts.images.ensureUnpacked(record.imageId);
  undo.defer(() => layers.unmount(id));
  const rootfs = layers.mount(id, { volatile: record.host.autoRemove });
  requireRootFolders(rootfs);
  makeBindSources(record.mounts);
  undo.defer(() => releaseSources(parts, record));
  undo.defer(() => removeBundle(bundle));
  removeBundle(bundle);
  mkdirSync(bundle, { recursive: true, mode: 0o700 });
  const mounts = runtimeMounts(await prepareSources(parts, record), record.host);
  checkPropagation(mounts, mountTable);
  const user = resolveUserIn(rootfs, record.config.user, record.host.groupAdd);
  const linked = linkedContainers(parts, record);
  const generatedFiles = writeGeneratedFiles(record, sharesNetworkOf(parts, record));

  undo.defer(() => networks.deleteNamespace(id));
  const namespaces = chooseNamespaces(parts, record);
  const spec = buildSpec({
    ...{ id, config: record.config, host: record.host, user, rootfs, mounts, generatedFiles, namespaces },
    shm: sharedMemory(parts, record),
    linkedEnv: linked.flatMap(({ env }) => env),
    devices: resolveDevices(record.host),
    cgroupsPath: cgroupPath(parts, record),
    runtimeKnowsRecursiveReadOnly: knowsRecursiveReadOnly(binary.path),
    facts: parts.facts,
  });
  const edits = await deviceEdits(parts, record.host);
  if (edits !== undefined) applyCdiEdits(spec, edits);
  parts.seccomp.embed(spec, binary);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
  const exitDir = join(engine.execRoot, 'exits');
  rmSync(join(exitDir, id), { force: true });

  const log = parseLogOptions(record.host.logConfig);
  undo.defer(() => runtime.delete(id, binary, true));
  const connecting = () => connectAll(parts, record, namespaces, linked, restored?.endpoints);
  const request: CreateRequest = {
    id,
    bundle,
    runtime: binary,
    terminal: record.config.tty,
    stdin: record.config.openStdin,
    stdinOnce: record.config.stdinOnce,
    unprivileged: user.uid !== 0 || user.gid !== 0,
    ...(record.logPath === '' ? {} : { logPath: record.logPath }),
    logMaxBytes: log.hardLimitBytes,
    exitDir,
    persistDir: bundle,
    exitCommand: exitCommandFor(engine.execRoot, [...engine.command, ...configArguments(engine)], id),
  };
  undo.defer(() => disconnectAll(parts, id));
  // Before its first word: who asks for the log since the start gets all of it.
  let startedMs = Date.now();
  let created: Awaited<ReturnType<typeof runtime.create>>;
  let endpoints: Endpoint[];
  if (restored === undefined) {
    // The kernel's part of the network is done while conmon and the runtime work.
    [created, endpoints] = await bothSettled(runtime.create(request), connecting());
    await parts.attachments.connect(id, bundle, created.endsInput);
    startedMs = Date.now();
    await runtime.start(id, binary);
  } else {
    // Its sockets have addresses, which must be there before they are.
    endpoints = await connecting();
    const { images, tcpEstablished } = restored;
    created = await runtime.create({ ...request, restore: { images, tcpEstablished } });
    await parts.attachments.connect(id, bundle, created.endsInput);
  }
  await parts.store.update(id, (current, tx) => {
    current.state = {
      ...current.state,
      status: 'running',
      pid: created.container.pid,
      pidStartTicks: created.container.startTicks,
      monitorPid: created.monitor.pid,
      monitorStartTicks: created.monitor.startTicks,
      bootId: currentBootId(),
      exitCode: 0,
      oomKilled: false,
      error: '',
      startedMs,
      finishedMs: current.state.finishedMs,
      health: isHealthchecked(current.config.healthcheck) ? { status: 'starting', failingStreak: 0, log: [] } : null,
      stoppedByUser: false,
      isStopping: false,
      restartAtMs: 0,
    };
    if (options.byPolicy !== true) current.restartCount = 0;
    for (const event of endpointEvents(parts, endpoints, 'connect')) tx.event(event);
    for (const event of volumeUseEvents(current, 'mount')) tx.event(event);
    tx.event(containerEvent(current, 'start'));
  });
  undo.move();
  parts.heldPorts.hold(endpoints.flatMap(({ ports }) => ports));
  tellParents(parts, id);
  if (needsKeeper(record)) parts.wakeKeeper();
}

/** Waits for both even when one fails, so that the undo finds nothing still growing. */
async function bothSettled<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b]);
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return [first.value, second.value];
}

async function connectAll(
  parts: EngineParts,
  record: ContainerRecord,
  namespaces: SpecInput['namespaces'],
  linked: readonly LinkedContainer[],
  before: readonly CheckpointEndpoint[] = [],
): Promise<Endpoint[]> {
  if (record.host.networkMode.startsWith('container:')) return [];
  const netns = typeof namespaces.network === 'string' ? '' : namespaces.network.path;
  const endpoints: Endpoint[] = [];
  for (const request of connectRequests(record, (ref) => parts.networks.get(ref))) {
    endpoints.push(await parts.networks.connect({ ...withFormerAddresses(request, before), netns }));
  }
  if (endpoints.some(({ ipv4, ipv6 }) => ipv4 !== '' || ipv6 !== '')) writeHosts(record, endpoints, linked);
  const networks = new Map(endpoints.map(({ networkId }) => [networkId, parts.networks.get(networkId)]));
  const nameServer = nameServerFor(record, endpoints, networks, parts.networks);
  if (nameServer !== undefined) {
    writeResolvConf(record, nameServer.address, endpoints);
    parts.names.cover([nameServer]);
  }
  return endpoints;
}

function sharesNetworkOf(parts: EngineParts, { host }: ContainerRecord): ContainerRecord | undefined {
  const [mode, other] = host.networkMode.split(':', 2);
  return mode === 'container' && other !== undefined ? parts.store.get(other) : undefined;
}

/** By the kernel's name, in docker's words. */
const namespaceNames = { net: 'network', pid: 'PID', ipc: 'IPC', uts: 'UTS', cgroup: 'cgroup' } as const;

function chooseNamespaces(parts: EngineParts, record: ContainerRecord): SpecInput['namespaces'] {
  const { host } = record;
  const joined = (mode: string, kind: keyof typeof namespaceNames): { path: string } => {
    const other = parts.store.get(mode.slice('container:'.length));
    if (other.state.status !== 'running' && other.state.status !== 'paused') {
      throw new TareError(
        'Conflict',
        `cannot join ${namespaceNames[kind]} namespace of a non running container: container ${other.name} is ${other.state.status}`,
      );
    }
    return { path: `/proc/${other.state.pid}/ns/${kind}` };
  };
  const choose = (mode: string, kind: keyof typeof namespaceNames): NamespaceMode =>
    mode.startsWith('container:') ? joined(mode, kind) : mode === 'host' ? 'host' : 'new';
  return {
    network:
      host.networkMode === 'host'
        ? 'host'
        : host.networkMode.startsWith('container:')
          ? joined(host.networkMode, 'net')
          : { path: parts.networks.createNamespace(record.id) },
    pid: choose(host.pidMode, 'pid'),
    ipc: choose(host.ipcMode, 'ipc'),
    uts: host.networkMode.startsWith('container:') ? joined(host.networkMode, 'uts') : choose(host.utsMode, 'uts'),
    cgroup: choose(host.cgroupnsMode, 'cgroup'),
    user: 'host',
  };
}

/** What /dev/shm is: a shareable one is mounted on the host, so that others can join it. */
function sharedMemory(parts: EngineParts, { bundle, host }: ContainerRecord): SharedMemory {
  const { ipcMode, shmSizeBytes } = host;
  if (ipcMode === 'none') return { kind: 'none' };
  if (ipcMode === 'host') return { kind: 'bind', source: '/dev/shm' };
  if (ipcMode.startsWith('container:')) {
    const other = parts.store.get(ipcMode.slice('container:'.length));
    if (other.host.ipcMode !== 'shareable') {
      throw new TareError(
        'InvalidArgument',
        `cannot join IPC of container ${other.id}: non-shareable IPC: run that one with --ipc shareable`,
      );
    }
    return { kind: 'bind', source: sharedMemoryPath(other.bundle) };
  }
  if (ipcMode !== 'shareable') return { kind: 'private', sizeBytes: shmSizeBytes };
  const source = sharedMemoryPath(bundle);
  mkdirSync(source, { mode: 0o700 });
  mount('shm', source, 'tmpfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, `mode=1777,size=${shmSizeBytes}`);
  return { kind: 'bind', source };
}

const failureExitCodes: Partial<Record<ReturnType<typeof kindOf>, number>> = {
  CommandNotFound: 127,
  NotExecutable: 126,
};

async function recordFailure(parts: EngineParts, record: ContainerRecord, error: unknown): Promise<void> {
  parts.attachments.fail(record.id);
  await parts.store.update(record.id, (current) => {
    // A container whose restart policy meets an error stays down, as with docker.
    if (current.state.status === 'restarting') current.state.status = 'exited';
    current.state.exitCode = failureExitCodes[kindOf(error)] ?? 128;
    current.state.error = messageOf(error);
    current.state.restartAtMs = 0;
  });
  if (record.host.autoRemove) await removeLocked(parts, record, { volumes: true });
}
