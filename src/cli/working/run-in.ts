import { constants } from 'node:os';
import { resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import type { RunningCommand, RunOptions } from '../../engine/index.ts';
import { agentOf, secretOf } from '../build/read-flags.ts';
import type { Context } from '../command.ts';
import { createOptions } from '../create-options.ts';
import { parseUlimit } from '../grammar/devices.ts';
import { readEnvironment } from '../grammar/environment.ts';
import { parseSize } from '../grammar/sizes.ts';
import { UsageError } from '../grammar/usage-error.ts';
import type { Option, Values } from '../option.ts';

type Flags = Values<typeof createOptions> & {
  secret: string[];
  ssh: string[];
  detach: boolean;
  'add-history': boolean;
};

/** What of a container's options a command in a working container has. */
const known = new Set([
  ...['add-host', 'cap-add', 'cap-drop', 'device', 'env', 'env-file', 'hostname', 'interactive', 'isolation', 'mount'],
  ...['network', 'net', 'privileged', 'shm-size', 'tty', 'ulimit', 'user', 'volume', 'workdir'],
]);

/** `tare run --in CONTAINER COMMAND`. @returns the command's exit code */
export async function runIn(context: Context, name: string, flags: Flags, command: readonly string[]): Promise<number> {
  const options = readRunFlags(flags);
  const { withWorking } = await import('../local/working.ts');
  return await withWorking(context.globals, name, async (container) => {
    return await container.run(command, { ...options, attend: (running) => attend(running, flags) });
  });
}

/** @throws {UsageError}: an option that only containers have, or what it says is none */
function readRunFlags(flags: Flags): RunOptions {
  refuseOthers(flags);
  const networks = [...flags.network, ...flags.net];
  const user = flags.user;
  return {
    env: readEnvironment(flags['env-file'], flags.env).filter((entry) => entry.includes('=')),
    ...(user === undefined ? {} : { user }),
    ...(flags.workdir === undefined ? {} : { workingDir: flags.workdir }),
    ...(flags.hostname === undefined ? {} : { hostname: flags.hostname }),
    mounts: flags.mount,
    binds: flags.volume.map(bindOf),
    network: networkOf(networks),
    capabilities: { add: flags['cap-add'], drop: flags['cap-drop'] },
    isPrivileged: flags.privileged,
    extraHosts: flags['add-host'].map(hostOf),
    ulimits: flags.ulimit.map((text) => {
      const { Name: name, Soft, Hard } = parseUlimit(text);
      return { name, soft: BigInt(Soft), hard: BigInt(Hard) };
    }),
    devices: flags.device,
    ...(flags['shm-size'] === undefined ? {} : { shmSizeBytes: parseSize(flags['shm-size'], '--shm-size') }),
    secrets: Object.fromEntries(flags.secret.map((text) => secretOf(text, process.env))),
    sshAgents: Object.fromEntries(flags.ssh.map(agentOf)),
    terminal: flags.tty,
    stdin: flags.interactive,
    addsHistory: flags['add-history'],
  };
}

function refuseOthers(flags: Flags): void {
  if (flags.detach)
    throw new UsageError('--detach and --in exclude each other: what runs in a working container is waited for');
  for (const [name, option] of Object.entries(createOptions) as [keyof typeof createOptions, Option][]) {
    if (known.has(name)) continue;
    const value: unknown = flags[name];
    const isGiven = Array.isArray(value)
      ? value.length > 0
      : value !== (option.default ?? (option.type === 'bool' ? false : undefined));
    if (isGiven)
      throw new UsageError(`--${name} and --in exclude each other: a working container is no container that runs`);
  }
  const isolation = flags.isolation ?? '';
  if (!['', 'default', 'oci'].includes(isolation))
    throw new UsageError(`invalid value ${JSON.stringify(isolation)} for --isolation with --in: only oci is there`);
}

function networkOf(networks: readonly string[]): NonNullable<RunOptions['network']> {
  const [network = 'default'] = networks;
  if (networks.length <= 1 && (network === 'default' || network === 'none' || network === 'host')) return network;
  throw new UsageError(`invalid network ${JSON.stringify(networks.join(','))} for --in: one of default, none, host`);
}

/** `SOURCE:TARGET[:ro]`, a folder or file of this machine. */
function bindOf(text: string): NonNullable<RunOptions['binds']>[number] {
  const [source = '', target = '', options = '', ...more] = text.split(':');
  const words = options === '' ? [] : options.split(',');
  const isPath = /^[./]/.test(source);
  if (!isPath || !target.startsWith('/') || more.length > 0)
    throw new UsageError(
      `invalid volume ${JSON.stringify(text)} for --in: want /SOURCE:/TARGET[:ro], a path of this machine`,
    );
  // Words about labels mean nothing where there are none.
  const unknown = words.find((word) => !['ro', 'rw', 'z', 'Z'].includes(word));
  if (unknown !== undefined)
    throw new UsageError(`invalid option ${JSON.stringify(unknown)} in volume ${text}: want ro or rw`);
  return { source: resolve(source), target, isReadOnly: words.includes('ro') };
}

function hostOf(text: string): { host: string; ip: string } {
  const [, host, ip] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
  if (host === undefined || ip === undefined) throw new UsageError(`bad format for add-host: ${JSON.stringify(text)}`);
  return { host, ip: ip.replace(/^\[(.*)\]$/, '$1') };
}

const forwarded = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const;

/** Joins our standard streams, our terminal and the signals that we get to a command, until it has ended. */
async function attend(running: RunningCommand, { tty, interactive }: Flags): Promise<void> {
  using undo = new DisposableStack();
  for (const name of forwarded) {
    const pass = () => void running.signal(constants.signals[name]);
    process.on(name, pass);
    undo.defer(() => void process.off(name, pass));
  }
  if (tty && interactive && process.stdin.isTTY) {
    const { rawMode } = await import('../terminal.ts');
    undo.use(rawMode());
  }
  if (tty) {
    const resize = () => process.stdout.rows && running.resize(process.stdout.rows, process.stdout.columns);
    resize();
    process.stdout.on('resize', resize);
    undo.defer(() => void process.stdout.off('resize', resize));
  }
  if (interactive && running.stdin !== undefined) {
    // It may have ended before it has read all.
    running.stdin.on('error', () => {});
    process.stdin.pipe(running.stdin);
    undo.defer(() => {
      process.stdin.unpipe();
      process.stdin.pause();
    });
  }
  const pass = async (from: NodeJS.ReadableStream, to: NodeJS.WritableStream): Promise<void> => {
    from.pipe(to, { end: false });
    await finished(from).catch(() => undefined);
  };
  await Promise.all([
    pass(running.stdout, process.stdout),
    ...(running.stderr === undefined ? [] : [pass(running.stderr, process.stderr)]),
  ]);
}
