import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExecuteOptions, execute, type Result } from './execute.ts';

/**
 * A mount and a network namespace with a folder, for one engine. Nothing made inside is seen by the host, and disposing
 * ends every process that lives inside, whatever state it is in.
 */
export class Namespaces implements AsyncDisposable {
  readonly root: string;
  readonly #cgroup: string;
  readonly #holder: ChildProcessWithoutNullStreams;

  private constructor(root: string, cgroup: string, holder: ChildProcessWithoutNullStreams) {
    this.root = root;
    this.#cgroup = cgroup;
    this.#holder = holder;
  }

  /** @param cgroupOf name of the engine's cgroup, below which its containers live, from the new folder */
  static async open(cgroupOf: (root: string) => string): Promise<Namespaces> {
    const root = realpathSync(mkdtempSync(join(tmpdir(), 'tare-test-')));
    const cgroup = cgroupOf(root);
    const hold = join(import.meta.dirname, 'hold.sh');
    const holder = spawn('unshare', ['--mount', '--net', '--propagation', 'private', hold, root, cgroup], {
      stdio: 'pipe',
      // An interrupt from the terminal must not end what cleans up after it.
      detached: true,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let said = '';
    holder.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    holder.stdout.once('data', () => resolve());
    holder.once('exit', (code) => reject(new Error(`no namespaces (exit code ${code}); the tests need root: ${said}`)));
    holder.once('error', reject);
    await promise;
    return new Namespaces(root, cgroup, holder);
  }

  /** Process that holds the namespaces. */
  get pid(): number {
    return this.#holder.pid!;
  }

  /** Runs a program inside. */
  run(argv: readonly string[], options: ExecuteOptions = {}): Promise<Result> {
    return execute(this.#entered(argv, options.cwd), options);
  }

  /** Starts a program inside. */
  spawn(argv: readonly string[], env?: Record<string, string>): ChildProcessWithoutNullStreams {
    const [program, ...args] = this.#entered(argv);
    return spawn(program!, args, { stdio: 'pipe', env: { ...process.env, ...env } });
  }

  /** Every process of this mount namespace; containers have their own. */
  processes(): { pid: number; command: string }[] {
    const mine = readlinkSync(`/proc/${this.pid}/ns/mnt`);
    const found: { pid: number; command: string }[] = [];
    for (const name of pids()) {
      if (name === this.pid) continue;
      try {
        if (readlinkSync(`/proc/${name}/ns/mnt`) !== mine) continue;
        const command = commandOf(name);
        if (command !== '') found.push({ pid: name, command });
      } catch {
        // It ended while we looked.
      }
    }
    return found;
  }

  /**
   * Ends what lives inside, removes the folder and checks that the host shows no trace.
   *
   * @throws what is left, by name
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const holder = this.#holder;
    if (holder.exitCode === null && holder.signalCode === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      holder.once('exit', () => resolve());
      holder.stdin.on('error', () => {});
      holder.stdin.end('\n');
      await promise;
    }
    const left = this.#traces();
    if (left.length > 0) throw new Error(`the engine of ${this.root} left on the host: ${left.join(', ')}`);
  }

  #traces(): string[] {
    const left: string[] = [];
    if (existsSync(this.root)) left.push(`folder ${this.root}`);
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      if (line.includes(this.root)) left.push(`mount ${line.split(' ')[4]}`);
    }
    for (const hierarchy of hierarchies()) {
      if (existsSync(`${hierarchy}/${this.#cgroup}`)) left.push(`cgroup ${hierarchy}/${this.#cgroup}`);
    }
    for (const pid of pids()) {
      try {
        const command = commandOf(pid);
        if (command.includes(this.root) && pid !== process.pid) left.push(`process ${pid} (${command})`);
      } catch {
        // It ended while we looked.
      }
    }
    return left;
  }

  #entered(argv: readonly string[], cwd = this.root): string[] {
    return ['nsenter', '--target', String(this.pid), '--mount', '--net', `--wdns=${cwd}`, '--', ...argv];
  }
}

/** Where cgroup trees begin: on v2 the first alone, on v1 and hybrid hosts one a controller. */
export function hierarchies(): string[] {
  const top = '/sys/fs/cgroup';
  return [
    top,
    ...readdirSync(top, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [join(top, entry.name)] : [],
    ),
  ];
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
}
