import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { type ExecuteOptions, execute, type Result } from './execute.ts';

/** What `Outside` needs of the engine it is joined to. */
interface Inside {
  readonly holderPid: number;
  run(argv: readonly string[]): Promise<Result>;
}

/** A network namespace that plays another host: joined to the engine's by a veth, and its way to the world. */
export class Outside implements AsyncDisposable {
  /** The engine's host as the other one sees it. */
  readonly insideAddress = '198.51.100.1';
  readonly insideAddress6 = '2001:db8:51::1';
  readonly address = '198.51.100.2';
  readonly address6 = '2001:db8:51::2';
  readonly #holder: ChildProcessWithoutNullStreams;
  readonly #children = new Set<ChildProcessWithoutNullStreams>();
  readonly #inside: Inside;

  private constructor(inside: Inside, holder: ChildProcessWithoutNullStreams) {
    this.#inside = inside;
    this.#holder = holder;
  }

  static async join(inside: Inside): Promise<Outside> {
    const holder = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up; echo ready; read -r _'], {
      stdio: 'pipe',
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    holder.stdout.once('data', () => resolve());
    holder.once('exit', (code) => reject(new Error(`no network namespace: exit code ${code}`)));
    await promise;
    const outside = new Outside(inside, holder);
    const here = ['ip', '-batch', '-'];
    await inside.run(['ip', 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', `${holder.pid}`]);
    for (const command of [
      ['ip', 'address', 'add', `${outside.insideAddress}/24`, 'dev', 'cable'],
      ['ip', 'address', 'add', `${outside.insideAddress6}/64`, 'dev', 'cable', 'nodad'],
      ['ip', 'link', 'set', 'cable', 'up'],
      ['ip', 'route', 'add', 'default', 'via', outside.address],
    ]) {
      await inside.run(command);
    }
    await outside.run(here, {
      input: [
        `address add ${outside.address}/24 dev cable`,
        `address add ${outside.address6}/64 dev cable nodad`,
        'link set cable up',
        '',
      ].join('\n'),
    });
    await inside.run(['ip', '-6', 'route', 'add', 'default', 'via', outside.address6]);
    return outside;
  }

  /** Runs a program on the other host; it sees the same files. */
  run(argv: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return execute(this.command(argv), options);
  }

  /** Starts a program on the other host, which ends with it at the latest. */
  spawn(argv: readonly string[]): ChildProcessWithoutNullStreams {
    const [program = '', ...args] = this.command(argv);
    const child = spawn(program, args, { stdio: 'pipe' });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** What runs a program on the other host. */
  command(argv: readonly string[]): string[] {
    return ['nsenter', '--target', String(this.#holder.pid), '--net', '--', ...argv];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    // Not left to the namespace's end, which the kernel takes its time for.
    await this.#inside.run(['ip', 'link', 'delete', 'cable']);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#holder.once('exit', () => resolve());
    this.#holder.stdin.end('\n');
    await promise;
  }
}
