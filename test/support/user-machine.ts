import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { built, project } from './built.ts';
import { type ExecuteOptions, eventually, execute, type Result } from './execute.ts';
import { busyboxImage } from './image.ts';
import { Namespaces } from './namespaces.ts';

/** Where the machine's own files are, on a tmpfs that nobody else sees. */
const PLACE = '/mnt';
const UID = 4321;
/** Host ids of the user's containers. */
export const SUBORDINATE = 200_000;
const SUBORDINATES = 65_536;

/**
 * A machine with an ordinary user: a mount, a network and a PID namespace in which /etc has a user more, and another host on a cable.
 * Disposing ends whatever runs there. The host's files are as they were.
 */
export class UserMachine implements AsyncDisposable {
  /** The user's machine as the other host sees it. */
  readonly address = '10.77.0.1';
  readonly address6 = 'fd77::1';
  /** The other host. */
  readonly peer = '10.77.0.2';
  readonly peer6 = 'fd77::2';
  readonly uid = UID;
  readonly home = `${PLACE}/home`;
  readonly runtime = `${PLACE}/run`;
  /** The busybox image, as docker saves it. */
  readonly image = `${PLACE}/busybox.tar`;
  readonly #space: Namespaces;
  readonly #init: number;

  private constructor(space: Namespaces, init: number) {
    this.#space = space;
    this.#init = init;
  }

  /** @param options.subordinates the user's lines in /etc/subuid and /etc/subgid */
  static async start(options: { subordinates?: string; image?: boolean } = {}): Promise<UserMachine> {
    const { subordinates = `alice:${SUBORDINATE}:${SUBORDINATES}\n`, image = true } = options;
    const home = built();
    const space = await Namespaces.open(() => 'tare-user-machine');
    try {
      const setUp = script(home, subordinates);
      const unshare = [
        'unshare',
        '--pid',
        '--fork',
        '--kill-child',
        '--mount',
        '--mount-proc',
        '--propagation',
        'private',
      ];
      const outer = space.spawn([...unshare, 'sh', '-c', `${setUp}\necho ready\nwhile :; do sleep 3600 & wait; done`]);
      const init = await firstProcess(outer);
      const machine = new UserMachine(space, init);
      if (image) await machine.tare(['load', '--quiet', '--input', machine.image]);
      return machine;
    } catch (error) {
      await space[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs our command line as the user. */
  tare(args: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.asUser(['tare', ...args], options);
  }

  /** Runs a program as the user. */
  asUser(argv: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.asRoot([...this.#asUser, ...argv], options);
  }

  /** Starts a program as the user. */
  spawn(argv: readonly string[]): ChildProcessWithoutNullStreams {
    return this.#space.spawn([...this.#entered, ...this.#asUser, ...argv]);
  }

  /** Runs a program as root of this machine. */
  asRoot(argv: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return execute([...this.#entered, ...argv], options);
  }

  /** Runs a program on the other host. */
  onPeer(argv: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.asRoot(['ip', 'netns', 'exec', 'peer', ...argv], options);
  }

  /** Puts a file where the user can read it. @returns its path */
  async file(name: string, content: Uint8Array): Promise<string> {
    const path = `${PLACE}/${name}`;
    await this.asRoot(['dd', `of=${path}`, 'status=none'], { input: content });
    return path;
  }

  /** Processes of this machine whose command line has the words, as the machine numbers them. */
  async pids(words: string): Promise<number[]> {
    const { stdout } = await this.asRoot(['pgrep', '--full', words], { expect: 'any' });
    return stdout.split('\n').filter(Boolean).map(Number);
  }

  async kill(words: string): Promise<void> {
    const found = await this.pids(words);
    if (found.length === 0) throw new Error(`no process ${words}`);
    await this.asRoot(['kill', '-KILL', ...found.map(String)]);
    await eventually(`${words} has ended`, async () => {
      const left = await this.pids(words);
      return found.every((pid) => !left.includes(pid));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The kernel ends every process of a PID namespace with its first.
    process.kill(this.#init, 'SIGKILL');
    await eventually('the machine is down', () => !existsSync(`/proc/${this.#init}/ns`));
    await this.#space[Symbol.asyncDispose]();
  }

  get #entered(): string[] {
    return ['nsenter', '--target', String(this.#init), '--mount', '--net', '--pid', `--wdns=${this.home}`, '--'];
  }

  get #asUser(): string[] {
    const ids = [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups'];
    const env = [
      `PATH=${PLACE}/tare/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
      ...[`HOME=${this.home}`, `XDG_RUNTIME_DIR=${this.runtime}`, 'USER=alice'],
    ];
    return ['setpriv', ...ids, 'env', '-i', ...env];
  }
}

/** What makes an ordinary machine of bare namespaces, in sh. */
const script = (home: string, subordinates: string): string => `set -e
mount -t tmpfs -o mode=755 tmpfs ${PLACE}
cd ${PLACE}
mkdir -p etc home run tare/bin tare/dist tare/node_modules
cp /etc/passwd /etc/group etc/
echo 'alice:x:${UID}:${UID}::${PLACE}/home:/bin/sh' >> etc/passwd
echo 'alice:x:${UID}:' >> etc/group
printf '%s' '${subordinates}' > etc/subuid
printf '%s' '${subordinates}' > etc/subgid
printf 'nameserver 127.0.0.53\\n' > etc/resolv.conf
for file in subuid subgid; do [ -e /etc/$file ] || touch /etc/$file; done
for file in passwd group subuid subgid resolv.conf; do mount --bind etc/$file /etc/$file; done
mount --bind ${join(home, 'bin')} tare/bin
mount --bind ${join(home, 'dist')} tare/dist
mount --bind ${join(project, 'node_modules')} tare/node_modules
cp ${busyboxImage().docker} busybox.tar
chown ${UID}:${UID} home run
chmod 700 home run
# As udev has it on every desktop and server; this machine has no udev.
mknod tun c 10 200
chmod 666 tun
mount --bind tun /dev/net/tun
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns
ip link set lo up
ip netns add peer
ip link add cable type veth peer name cable netns peer
ip address add 10.77.0.1/24 dev cable
ip address add fd77::1/64 dev cable nodad
ip link set cable up
ip -n peer link set lo up
ip -n peer address add 10.77.0.2/24 dev cable
ip -n peer address add fd77::2/64 dev cable nodad
ip -n peer link set cable up
ip route add default via 10.77.0.2
ip -6 route add default via fd77::2
echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range`;

/** The pid, as this machine numbers it, of the shell that has set everything up. */
async function firstProcess(outer: ChildProcessWithoutNullStreams): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let said = '';
  outer.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  outer.stdout.once('data', () => resolve());
  outer.once('exit', (code) => reject(new Error(`no machine (exit code ${code}): ${said}`)));
  await promise;
  // nsenter became unshare, whose child is the first process.
  const [pid] = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'latin1').trim().split(' ').map(Number);
  if (!pid) throw new Error('the machine has no first process');
  return pid;
}
