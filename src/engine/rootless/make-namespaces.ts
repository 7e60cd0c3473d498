import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, readFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { userInfo } from 'node:os';
import { TareError } from '../../errors/index.ts';
import { openPipe, spawnProcess } from '../../linux/index.ts';
import { Locks } from '../../state/index.ts';
import { mapArguments, readSubordinate } from './subordinate-ids.ts';

const UNSHARE = '/usr/bin/unshare';
const MAPPERS = '/usr/bin';
/** Says when it is in its namespaces, and keeps them for good once it is told to: who made it may die before it is noted. */
const HOLD = 'echo ready; read -r _ || exit 1; exec sleep infinity </dev/null >/dev/null 2>&1';

/** Where it is noted who holds the namespaces. */
export interface HolderNote {
  /** A living process that is in them. */
  find(): number | undefined;
  write(pid: number): void;
}

/**
 * Makes the user and the mount namespace in which an ordinary user's engines live, unless somebody was quicker.
 *
 * @param folder of this user alone, and gone with a reboot
 * @returns a process that is in them
 * @throws {TareError} Unavailable: a program or subordinate ids are missing, or the kernel forbids user namespaces
 */
export async function makeNamespaces(folder: string, note: HolderNote): Promise<number> {
  using _lock = await new Locks(folder).acquire('namespaces');
  const known = note.find();
  if (known !== undefined) return known;
  const { uid, gid, username } = user();
  const uids = mapArguments(uid, readSubordinate('/etc/subuid', username, uid));
  const gids = mapArguments(gid, readSubordinate('/etc/subgid', username, uid));
  for (const program of ['newuidmap', 'newgidmap']) {
    if (existsSync(`${MAPPERS}/${program}`)) continue;
    throw new TareError(
      'Unavailable',
      `${MAPPERS}/${program} is missing, which gives containers without root their user ids: install uidmap`,
    );
  }
  using holder = await startHolder();
  map('newuidmap', holder.pid, uids);
  map('newgidmap', holder.pid, gids);
  note.write(holder.pid);
  holder.keep();
  return holder.pid;
}

/** Ends when it is disposed, unless it was told to stay. */
interface NewHolder extends Disposable {
  pid: number;
  keep(): void;
}

function user(): { uid: number; gid: number; username: string } {
  try {
    return userInfo();
  } catch {
    // No line in /etc/passwd: /etc/subuid may name him by number.
    return { uid: process.getuid!(), gid: process.getgid!(), username: '' };
  }
}

async function startHolder(): Promise<NewHolder> {
  const { readFd, writeFd } = openPipe();
  const input = openPipe();
  const output = new Socket({ fd: readFd, readable: true, writable: false });
  let pid: number;
  try {
    pid = spawnProcess({
      path: UNSHARE,
      // Mounts of the host go on coming in; none goes out.
      args: ['--user', '--mount', '--propagation', 'slave', '/bin/sh', '-c', HOLD],
      env: ['PATH=/usr/bin:/bin', 'LC_ALL=C.UTF-8'],
      descriptors: new Map([
        [0, input.readFd],
        [1, writeFd],
        [2, writeFd],
      ]),
    });
  } catch (error) {
    output.destroy();
    closeSync(input.writeFd);
    throw new TareError('Unavailable', `${UNSHARE} cannot be run: install util-linux`, { cause: error });
  } finally {
    closeSync(writeFd);
    closeSync(input.readFd);
  }
  const holder: NewHolder = {
    pid,
    keep: () => void writeSync(input.writeFd, '\n'),
    [Symbol.dispose]: () => closeSync(input.writeFd),
  };
  let said = '';
  for await (const chunk of output) {
    said += String(chunk);
    if (said.includes('\n')) break;
  }
  if (said === 'ready\n') return holder;
  holder[Symbol.dispose]();
  throw new TareError(
    'Unavailable',
    `no user namespace can be made (${said.trim() || 'no reason given'})${forbidden()}`,
  );
}

/** Which of the kernel's switches stands against it. */
function forbidden(): string {
  const value = (name: string) => {
    try {
      return readFileSync(`/proc/sys/${name}`, 'latin1').trim();
    } catch {
      return '';
    }
  };
  if (value('user/max_user_namespaces') === '0') return ": have root run 'sysctl user.max_user_namespaces=15000'";
  if (value('kernel/unprivileged_userns_clone') === '0')
    return ": have root run 'sysctl kernel.unprivileged_userns_clone=1'";
  if (value('kernel/apparmor_restrict_unprivileged_userns') === '1')
    return ": AppArmor forbids it; have root run 'sysctl kernel.apparmor_restrict_unprivileged_userns=0', or load a profile that allows it";
  return ': ask the administrator whether this machine allows user namespaces';
}

function map(program: 'newuidmap' | 'newgidmap', pid: number, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(`${MAPPERS}/${program}`, [String(pid), ...args], { encoding: 'utf8' });
  if (status === 0) return;
  throw new TareError(
    'Unavailable',
    `${program} failed: ${error?.message ?? stderr.trim()}; it must be setuid root (package uidmap), and its file system not mounted nosuid`,
  );
}
