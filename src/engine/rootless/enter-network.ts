import { rmSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isAway, leaveThreadOutside, moveToNamespace, moveToNewNamespace, RouteSocket } from '../../linux/index.ts';
import { answerForClients } from '../../network/index.ts';
import { Locks } from '../../state/index.ts';
import { keepUplink } from './uplink.ts';

const LOOPBACK_INDEX = 1;

/** The network namespace of all engines of an ordinary user; seen by those alone who are in his mount namespace. */
const engineNetwork = (folder: string): string => join(folder, 'netns');

/**
 * Moves this process into the engines' network, made when there is none, and joins that to the outside. One thread and libuv's
 * pool stay on the host's: sockets are made there by way of the first, names looked up by the second.
 *
 * @param folder where the namespaces are noted
 */
export async function enterEngineNetwork(folder: string): Promise<void> {
  if (isAway()) return;
  // Every thread of the pool is born now.
  await stat('/');
  leaveThreadOutside();
  const path = engineNetwork(folder);
  if (!isThere(path)) {
    using _lock = await new Locks(folder).acquire('network');
    if (!isThere(path)) {
      // A file that namespaces of the past were seen at.
      rmSync(path, { force: true });
      moveToNewNamespace(path, setUp);
    }
  }
  moveToNamespace(path);
  await keepUplink(folder, path);
}

function isThere(path: string): boolean {
  const file = statSync(path, { throwIfNoEntry: false });
  return file !== undefined && file.dev !== statSync(dirname(path)).dev;
}

function setUp(): void {
  using route = new RouteSocket();
  route.setLink(LOOPBACK_INDEX, { isUp: true });
  answerForClients();
}

/** Sees to it that a process of ours lives that joins the engines' network to the outside. Cheap while it does; nobody waits. */
export async function keepEngineUplink(folder: string): Promise<void> {
  await keepUplink(folder, engineNetwork(folder)).catch(() => {
    // The next look tries again.
  });
}
