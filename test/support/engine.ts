import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { built, cache } from './built.ts';
import { type ExecuteOptions, eventually, execute, type Result } from './execute.ts';
import { busybox, busyboxImage } from './image.ts';
import { Namespaces } from './namespaces.ts';
import { Outside } from './outside.ts';

/** How a command reaches the engine: docker's client, ours through the daemon, ours with no daemon. */
export type Face = 'docker' | 'tare' | 'in-process';
export const faces: Face[] = ['docker', 'tare', 'in-process'];

export interface EngineOptions {
  /** Default: a daemon is started. `in-process` starts none. */
  face?: Face;
  /** More flags for `tare serve`. */
  serve?: string[];
  /** Load the busybox image. Default true. */
  image?: boolean;
}

/** Where docker's client and its plug-ins were unpacked by scripts/bootstrap. */
export const dockerClient = join(cache, 'docker-client');
/** An older one, with the first buildx that is still in use: 0.13. */
export const olderDockerClient = join(cache, 'docker-client-26');

/** The last one that asks for builds with BuildKit by itself. */
export const oldDockerClient = join(cache, 'docker-client-20/usr/bin/docker');

/**
 * An engine in a mount and a network namespace of its own, with its own roots. Nothing it does is seen by the host, and
 * disposing ends every process that lives in the namespaces, whatever state a test left it in.
 */
export class TestEngine implements AsyncDisposable {
  readonly face: Face;
  readonly root: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly socket: string;
  /** Name of the engine's cgroups, firewall table and links, as derived from its data root. */
  readonly instance: string;
  readonly home: string;
  readonly #space: Namespaces;
  #daemon: ChildProcessWithoutNullStreams | undefined;
  #daemonLog = '';

  private constructor(face: Face, space: Namespaces, home: string) {
    this.face = face;
    this.root = space.root;
    this.dataRoot = dataRootOf(space.root);
    this.execRoot = join(space.root, 'run');
    this.socket = join(this.execRoot, 'tare.sock');
    this.instance = instanceOf(this.dataRoot);
    this.#space = space;
    this.home = home;
  }

  static async start(options: EngineOptions = {}): Promise<TestEngine> {
    const { face = 'docker', serve = [], image = true } = options;
    const home = built();
    const space = await Namespaces.open((root) => instanceOf(dataRootOf(root)));
    const engine = new TestEngine(face, space, home);
    try {
      for (const folder of [engine.dataRoot, engine.execRoot, join(engine.root, 'docker-config')]) {
        mkdirSync(folder, { mode: 0o700 });
      }
      symlinkSync(
        join(dockerClient, 'usr/libexec/docker/cli-plugins'),
        join(engine.root, 'docker-config', 'cli-plugins'),
      );
      // The machine may have networks of CNI, which are none of ours here.
      await engine.run(['sh', '-c', '[ ! -d /etc/cni ] || mount -t tmpfs tmpfs /etc/cni']);
      if (face !== 'in-process') await engine.serve(serve);
      if (image) await engine.cli(['load', '--quiet', '--input', busyboxImage().docker]);
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      throw error;
    }
    return engine;
  }

  /** Process that holds the namespaces. */
  get holderPid(): number {
    return this.#space.pid;
  }

  get daemonPid(): number {
    if (this.#daemon?.pid === undefined) throw new Error('no daemon runs');
    return this.#daemon.pid;
  }

  /** What the daemon printed so far. */
  get daemonLog(): string {
    return this.#daemonLog;
  }

  /** Starts the daemon and waits until its socket answers. */
  async serve(flags: string[] = []): Promise<void> {
    const roots = ['--data-root', this.dataRoot, '--exec-root', this.execRoot];
    const daemon = this.spawn([this.#program, 'serve', ...roots, '-H', `unix://${this.socket}`, ...flags]);
    this.#daemon = daemon;
    const note = (chunk: Buffer) => {
      this.#daemonLog = (this.#daemonLog + chunk.toString()).slice(-100_000);
    };
    daemon.stdout.on('data', note);
    daemon.stderr.on('data', note);
    await eventually(
      `the daemon answers on ${this.socket}`,
      async () => {
        if (daemon.exitCode !== null || daemon.signalCode !== null) throw new Error('the daemon ended');
        if (!existsSync(this.socket)) return false;
        const { code } = await execute(
          ['curl', '--silent', '--fail', '--unix-socket', this.socket, 'http://tare/_ping'],
          {
            expect: 'any',
          },
        );
        return code === 0;
      },
      20_000,
    ).catch((error: unknown) => {
      throw new Error(`the daemon did not start; it printed:\n${this.#daemonLog}`, { cause: error });
    });
  }

  /** Ends the daemon and waits for it. Its containers are not touched. */
  async stopDaemon(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    this.#daemon = undefined;
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    daemon.once('exit', () => resolve());
    process.kill(daemon.pid!, signal);
    await promise;
  }

  /** Runs a command through this engine's face: `['ps', '-a']`. */
  cli(args: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.face === 'docker' ? this.docker(args, options) : this.tare(args, options);
  }

  /** The same, to talk to while it runs. */
  spawnCli(args: readonly string[], env?: Record<string, string>): ChildProcessWithoutNullStreams {
    return this.spawn(this.command(args), { ...this.clientEnvironment, ...env });
  }

  /** The command line of `cli`. */
  command(args: readonly string[]): string[] {
    return this.face === 'docker' ? [this.#docker, ...args] : this.tareCommand(args);
  }

  /** Runs our command line: through the daemon when there is one, in its own process when not. */
  tare(args: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.run(this.tareCommand(args), options);
  }

  docker(args: readonly string[], options: ExecuteOptions = {}): Promise<Result> {
    return this.run([this.#docker, ...args], { ...options, env: { ...this.#dockerEnvironment, ...options.env } });
  }

  /** Runs any program inside the engine's namespaces. */
  run(argv: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.#space.run(argv, options);
  }

  /** Starts any program inside the engine's namespaces. */
  spawn(argv: readonly string[], env?: Record<string, string>): ChildProcessWithoutNullStreams {
    return this.#space.spawn(argv, env);
  }

  /** The body of a request to the API. `path` starts with a slash. */
  async api<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    const sent = body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)];
    const { stdout } = await execute([
      'curl',
      '--silent',
      '--unix-socket',
      this.socket,
      '-X',
      method,
      '-w',
      '\n%{http_code}',
      ...sent,
      `http://tare${path}`,
    ]);
    const end = stdout.lastIndexOf('\n');
    const text = stdout.slice(0, end);
    return { status: Number(stdout.slice(end + 1)), body: (text === '' ? undefined : JSON.parse(text)) as T };
  }

  /** Another host, joined to this one by a cable. */
  outside(): Promise<Outside> {
    return Outside.join(this);
  }

  /** Every process that lives in the engine's mount namespace: daemon, keeper, monitors, commands. */
  processes(): { pid: number; command: string }[] {
    return this.#space.processes();
  }

  /** @throws what the host still shows of the engine */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#space[Symbol.asyncDispose]();
  }

  get #program(): string {
    return join(this.home, 'bin/tare');
  }

  get #docker(): string {
    return join(dockerClient, 'usr/bin/docker');
  }

  /** What this face's client must find in its environment. */
  get clientEnvironment(): Record<string, string> {
    // Ours would take DOCKER_HOST for a daemon that must answer.
    return this.face === 'docker' ? this.#dockerEnvironment : {};
  }

  get #dockerEnvironment(): Record<string, string> {
    return { DOCKER_HOST: `unix://${this.socket}`, DOCKER_CONFIG: join(this.root, 'docker-config') };
  }

  /** The command line of `tare`. */
  tareCommand(args: readonly string[]): string[] {
    return [this.#program, '--data-root', this.dataRoot, '--exec-root', this.execRoot, ...args];
  }
}

const dataRootOf = (root: string) => join(root, 'data');

/** The name that an engine of this data root gives what it makes in the kernel. */
function instanceOf(dataRoot: string): string {
  return `tare-${createHash('sha256').update(dataRoot).digest('hex').slice(0, 8)}`;
}

export { busybox };
