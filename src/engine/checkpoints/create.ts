import { messageOf, TareError } from '../../errors/index.ts';
import { containerPids } from '../container-cgroup.ts';
import { disconnectAll, endpointEvents } from '../container-network.ts';
import { containerEvent } from '../events.ts';
import { handleExit } from '../exit.ts';
import type { EngineParts } from '../parts.ts';
import { keepStill } from '../quiesce.ts';
import type { ContainerRecord } from '../types.ts';
import { waitForExit } from '../wait.ts';
import { checkpointEndpoints } from './addresses.ts';
import type { CheckpointRequest } from './checkpoint-types.ts';
import { requireCheckpointable } from './checkpointable.ts';
import { CheckpointsFolder, checkCheckpointName, pathOf } from './folder.ts';
import { type CheckpointRecord, forgetCheckpoint, putCheckpoint } from './records.ts';
import { settleCheckpoints } from './settle.ts';

const SIGKILL = 9;
/** After SIGKILL to each of its processes. */
const END_MS = 10_000;

/**
 * Writes the state of a container's processes to a folder. The container stands still from before until the checkpoint is whole
 * under its name; only then is it ended, so that a process of ours that dies in between costs no container: it goes on.
 *
 * @see ContainerService.checkpoint
 */
export async function createCheckpoint(parts: EngineParts, ref: string, request: CheckpointRequest): Promise<void> {
  checkCheckpointName(request.name);
  const first = parts.store.get(ref);
  requireRunning(first);
  await requireCheckpointable(parts, first);
  if (request.exit && first.host.autoRemove && request.directory === undefined) {
    throw new TareError(
      'Conflict',
      `container ${first.name} goes when it ends (--rm), and the checkpoint with it: say --leave-running or --checkpoint-dir`,
    );
  }
  using _intent = parts.intents.begin();
  using exit = waitForExit(parts, first);
  {
    await using _still = await keepStill(parts, first.id);
    using _lock = await parts.locks.acquire(`container:${first.id}`);
    const record = parts.store.get(first.id);
    if (record.state.pid !== first.state.pid) throw notRunning(record);
    await writeDown(parts, record, request);
    if (request.exit && request.tcpEstablished) await unplug(parts, record);
    if (request.exit) await endAll(parts, record);
  }
  if (!request.exit) return;
  if (await exit.within(END_MS)) return await handleExit(parts, first.id);
  throw new TareError(
    'Internal',
    `container ${first.name} has its checkpoint, but does not end: a process hangs in the kernel`,
  );
}

async function writeDown(parts: EngineParts, container: ContainerRecord, request: CheckpointRequest): Promise<void> {
  const { id } = container;
  const { name, directory, tcpEstablished = false } = request;
  await settleCheckpoints(parts, container);
  using folder = CheckpointsFolder.open(parts.config, id, directory, { create: true })!;
  if (folder.has(name)) {
    const what = `checkpoint with name ${name} already exists for container ${container.name}`;
    throw new TareError('AlreadyExists', `cannot checkpoint container ${container.name}: ${what}`);
  }
  const record: CheckpointRecord = {
    ...{ containerId: id, directory: folder.path, name, isWhole: false, tcpEstablished },
    endpoints: checkpointEndpoints(parts.networks.endpoints({ containerId: id })),
  };
  await parts.db.write((tx) => putCheckpoint(tx, record));
  try {
    using place = folder.begin(name);
    await parts.runtime.checkpoint({
      ...{ id, bundle: container.bundle, tcpEstablished, images: pathOf(place) },
      runtime: parts.runtimeFor(container.host.runtime),
    });
    await folder.publish(name, place);
  } catch (error) {
    folder.removeUnfinished(name);
    await parts.db.write((tx) => forgetCheckpoint(tx, record));
    if (!(error instanceof TareError)) throw error;
    throw new TareError(error.kind, `Cannot checkpoint container ${container.name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  await parts.db.write((tx) => {
    putCheckpoint(tx, { ...record, isWhole: true });
    tx.event(containerEvent(container, 'checkpoint'));
  });
}

/** The kernel closes the connections of a process that ends, and would say so to their other ends, which are to wait. */
async function unplug(parts: EngineParts, { id }: ContainerRecord): Promise<void> {
  const endpoints = parts.networks.endpoints({ containerId: id });
  await disconnectAll(parts, id);
  await parts.db.write((tx) => {
    for (const event of endpointEvents(parts, endpoints, 'disconnect')) tx.event(event);
  });
}

/** Each of them while all stand still: when they are thawed they die before they do anything. */
async function endAll(parts: EngineParts, record: ContainerRecord): Promise<void> {
  await parts.store.update(record.id, (current) => {
    current.state.stoppedByUser = true;
  });
  for (const pid of containerPids(parts, record)) {
    try {
      process.kill(pid, SIGKILL);
    } catch {
      // It has ended meanwhile.
    }
  }
}

function requireRunning(record: ContainerRecord): void {
  if (record.state.status === 'paused') {
    throw new TareError('Conflict', `Container ${record.name} is paused. Unpause the container before its checkpoint`);
  }
  if (record.state.status !== 'running') throw notRunning(record);
}

const notRunning = ({ id }: ContainerRecord): TareError => new TareError('Conflict', `Container ${id} is not running`);
