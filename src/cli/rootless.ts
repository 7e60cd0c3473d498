import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';

/*
 * Without root: the engine of an ordinary user lives in a user namespace, where he is root over his own ids, and in a mount namespace.
 * A program with threads, as Node.js is, cannot enter a user namespace, so the command becomes nsenter(1), which enters and becomes the
 * command again.
 */

/** Names the folder of run-time files of the user whose namespaces a process is in. */
const INSIDE = 'TARE_ROOTLESS';
const NSENTER = '/usr/bin/nsenter';

/** Where the engine of an ordinary user keeps what root's has below /var/lib, /run and /etc. */
export interface UserFolders {
  dataRoot: string;
  execRoot: string;
  configFile: string;
  /** Of the namespaces that his engines share. */
  namespaces: string;
  /** What other processes of the same engine are to find in their environment, as NAME=VALUE. */
  marker: string;
}

/**
 * The folders of the user who runs this, by the XDG Base Directory Specification.
 *
 * @returns undefined: root has the machine's
 */
export function userFolders(env: NodeJS.ProcessEnv = process.env): UserFolders | undefined {
  const runtime = process.getuid?.() === 0 ? folderInside(env) : runtimeFolder(env);
  if (runtime === undefined) return undefined;
  const home = env['HOME'] ?? '/';
  const execRoot = join(runtime, 'tare');
  return {
    dataRoot: join(env['XDG_DATA_HOME'] || join(home, '.local/share'), 'tare'),
    execRoot,
    configFile: join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'tare/tare.toml'),
    namespaces: join(execRoot, 'namespaces'),
    marker: `${INSIDE}=${runtime}`,
  };
}

/** What the command that entered the namespaces has left in the environment. Root of the machine takes no such word. */
function folderInside(env: NodeJS.ProcessEnv): string | undefined {
  const folder = env[INSIDE];
  if (folder === undefined || /^\s*0\s+0\s/.test(readFileSync('/proc/self/uid_map', 'latin1'))) return undefined;
  return folder;
}

function runtimeFolder(env: NodeJS.ProcessEnv): string {
  const named = env['XDG_RUNTIME_DIR'];
  if (named) return named;
  const uid = process.getuid!();
  const usual = `/run/user/${uid}`;
  return lstatSync(usual, { throwIfNoEntry: false })?.uid === uid ? usual : `/tmp/tare-run-${uid}`;
}

/**
 * Makes this process one that is in the namespaces of the user who started it: it begins anew there, with the same command line, and
 * this call never returns. Nothing happens for root, nor when it is in them already.
 *
 * @throws {TareError} Unavailable: they cannot be made, and why
 */
export async function enterNamespaces(): Promise<void> {
  if (process.getuid?.() === 0) return;
  const folders = userFolders()!;
  makeOwnFolder(folders.execRoot);
  mkdirSync(folders.namespaces, { recursive: true, mode: 0o700 });
  const note = holderNote(folders.namespaces);
  const pid = note.find() ?? (await import('./local.ts').then((local) => local.makeUserNamespaces(folders, note)));
  if (!existsSync(NSENTER)) throw new TareError('Unavailable', `${NSENTER} is missing: install util-linux`);
  const [name, value] = folders.marker.split(/=(.*)/s) as [string, string];
  const args = ['--user', '--mount', '--preserve-credentials', `--target=${pid}`, `--wdns=${process.cwd()}`, '--'];
  const again = [process.execPath, ...process.execArgv, '--', ...process.argv.slice(1)];
  process.execve!(NSENTER, [NSENTER, ...args, ...again], { ...process.env, [name]: value });
}

/** What others can write to, or is another's, they could lead us astray with. */
function makeOwnFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  for (const folder of [path, join(path, '..')]) {
    const { uid, mode } = lstatSync(folder);
    if (uid === process.getuid!() && (mode & 0o022) === 0) continue;
    throw new TareError(
      'Forbidden',
      `${folder} must be this user's, and nobody else's to write to: set XDG_RUNTIME_DIR to a folder that is`,
    );
  }
}

interface Holder {
  pid: number;
  /** Names of the namespaces, as /proc/PID/ns has them. */
  user: string;
  mount: string;
}

/** Where it is written down which process holds the namespaces. */
export function holderNote(folder: string): { find(): number | undefined; write(pid: number): void } {
  const path = join(folder, 'holder.json');
  return {
    find() {
      let holder: Holder;
      try {
        holder = JSON.parse(readFileSync(path, 'utf8')) as Holder;
      } catch {
        return undefined;
      }
      if (isIn(holder, holder.pid)) return holder.pid;
      // It was killed; a container's monitor, say, is in them too.
      return readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map(Number)
        .find((pid) => isIn(holder, pid));
    },
    write(pid) {
      const holder: Holder = { pid, user: namespaceOf(pid, 'user'), mount: namespaceOf(pid, 'mnt') };
      writeFileSync(`${path}.new`, JSON.stringify(holder), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}

const isIn = ({ user, mount }: Holder, pid: number): boolean =>
  user !== '' && namespaceOf(pid, 'user') === user && namespaceOf(pid, 'mnt') === mount;

function namespaceOf(pid: number, kind: 'user' | 'mnt'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return '';
  }
}
