import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startDockerd } from '../test/support/dockerd.ts';
import { TestEngine } from '../test/support/engine.ts';
import { type ExecuteOptions, execute, type Result } from '../test/support/execute.ts';
import { Namespaces } from '../test/support/namespaces.ts';
import { client, Timer } from './timer.ts';

/** An engine that commands are measured against, in namespaces of its own. */
export interface Contender extends AsyncDisposable {
  readonly version: string;
  /** Where its API is served; Podman has none here. */
  readonly socket?: string;
  /** Its containers' cgroups are below it. */
  readonly cgroup: string;
  /** The host of its containers. */
  readonly host: { readonly holderPid: number; run(argv: readonly string[]): Promise<Result> };
  cli(args: readonly string[], options?: ExecuteOptions): Promise<Result>;
  /** Runs it to its end. @returns milliseconds */
  time(args: readonly string[]): Promise<number>;
  spawn(args: readonly string[]): ChildProcessWithoutNullStreams;
  /** Starts another program in its namespaces; it ends with them. */
  beside(argv: readonly string[]): ChildProcessWithoutNullStreams;
  /** Times another program there. @returns milliseconds */
  timeBeside(argv: readonly string[]): Promise<number>;
  /** The engine's own processes: not the containers', not the clients'. */
  processes(): { pid: number; command: string }[];
}

const isClient = (command: string) =>
  /bin\/docker |docker-registry|^nsenter |\bpodman run\b|bench\/stopwatch/.test(command);

/** Docker's client against our daemon; with `face` our own command line without one. */
export async function openTare(face: 'docker' | 'in-process'): Promise<Contender & { engine: TestEngine }> {
  const engine = await TestEngine.start({ face, image: false });
  const timer = new Timer((argv) => engine.spawn(argv));
  const command = (args: readonly string[]) => (face === 'docker' ? [client, ...args] : engine.tareCommand(args));
  return {
    engine,
    version: `Tare ${(await engine.tare(['--version'])).stdout.trim().split(' ').pop()}`,
    ...(face === 'docker' && { socket: engine.socket }),
    cgroup: engine.instance,
    host: engine,
    cli: (args, options) => engine.cli(args, options),
    time: (args) => timer.time(command(args), engine.clientEnvironment),
    spawn: (args) => engine.spawn(command(args), engine.clientEnvironment),
    beside: (argv) => engine.spawn(argv),
    timeBeside: (argv) => timer.time(argv),
    processes: () => engine.processes().filter(({ command }) => !isClient(command)),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/**
 * dockerd from Debian with a containerd of its own. Undefined where it is not installed or does not run.
 * @param flags more of them for dockerd
 */
export async function openDocker(flags: readonly string[] = []): Promise<Contender | undefined> {
  if (!existsSync('/usr/sbin/dockerd')) return undefined;
  await using undo = new AsyncDisposableStack();
  try {
    const { space, socket, cgroup, env } = await startDockerd('tare-bench-docker', () => flags);
    undo.use(space);
    const timer = new Timer((argv) => space.spawn(argv));
    const cli: Contender['cli'] = (args, options) =>
      space.run([client, ...args], { ...options, env: { ...env, ...options?.env } });
    const version = (await cli(['version', '--format', '{{.Server.Version}}'])).stdout.trim();
    undo.move();
    return {
      version: `Docker ${version}`,
      socket,
      cgroup,
      host: { holderPid: space.pid, run: (argv) => space.run(argv) },
      cli,
      spawn: (args) => space.spawn([client, ...args], env),
      beside: (argv) => space.spawn(argv),
      timeBeside: (argv) => timer.time(argv),
      time: (args) => timer.time([client, ...args], env),
      processes: () => space.processes().filter(({ command }) => !isClient(command)),
      [Symbol.asyncDispose]: () => space[Symbol.asyncDispose](),
    };
  } catch (error) {
    console.error(`Docker is not measured: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** Podman from Debian, with crun, as root. Undefined where it is not installed or does not run. */
export async function openPodman(): Promise<Contender | undefined> {
  if (!existsSync('/usr/bin/podman')) return undefined;
  const space = await Namespaces.open(() => 'tare-bench-podman');
  const { root } = space;
  await space.run(['mount', '-t', 'tmpfs', 'tmpfs', '/run']);
  const podman = [
    'podman',
    '--root',
    join(root, 'data'),
    '--runroot',
    '/run/podman',
    '--cgroup-manager',
    'cgroupfs',
    '--runtime',
    'crun',
    '--events-backend',
    'file',
  ];
  const argv = (args: readonly string[]) =>
    // Its own defaults are above what this machine may allow; cgroups where disposal finds them.
    args[0] === 'run' || args[0] === 'create'
      ? [
          ...podman,
          args[0],
          '--ulimit',
          'nofile=1024:1024',
          '--ulimit',
          'nproc=1024:1024',
          '--cgroup-parent',
          '/tare-bench-podman',
          ...args.slice(1),
        ]
      : [...podman, ...args];
  const timer = new Timer((command) => space.spawn(command));
  try {
    return {
      version: `Podman ${/[\d.]+/.exec((await execute(['podman', '--version'])).stdout)?.[0]}`,
      cgroup: 'tare-bench-podman',
      host: { holderPid: space.pid, run: (command) => space.run(command) },
      cli: (args, options) => space.run(argv(args), options),
      time: (args) => timer.time(argv(args)),
      spawn: (args) => space.spawn(argv(args)),
      beside: (command) => space.spawn(command),
      timeBeside: (command) => timer.time(command),
      processes: () => space.processes().filter(({ command }) => !isClient(command)),
      [Symbol.asyncDispose]: () => space[Symbol.asyncDispose](),
    };
  } catch (error) {
    await space[Symbol.asyncDispose]();
    console.error(`Podman is not measured: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** Bytes of memory that these processes are responsible for: shared pages count by their share. */
export function proportionalBytes(processes: readonly { pid: number }[]): number {
  return processes.reduce((total, { pid }) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return total + Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024;
  }, 0);
}
