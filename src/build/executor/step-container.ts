import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { TareError } from '../../errors/index.ts';
import { type CDIDevice, type Meta, type Mount, NetMode, type SecretEnv, SecurityMode } from '../../protocol/index.ts';
import {
  type AttendedProcess,
  buildExecProcess,
  type OciSpec,
  requireRootFolders,
  resolveUserIn,
  type SpecMount,
} from '../../runtime/index.ts';
import type { BuilderParts, NetworkMode, StepNetwork } from '../builder-parts.ts';
import type { OperationContext } from '../operation.ts';
import { emulatorFor } from '../platforms.ts';
import { allowsDevice } from '../solver/entitlements.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { MountTargets } from './mount-targets.ts';
import { secretVariables } from './secrets.ts';
import { removeStepFolder } from './step-folder.ts';
import { type MountFiles, type PreparedMounts, prepareMounts } from './step-mounts.ts';
import { addDevices, stepCgroup, stepEnvironment, stepHosts, stepSpec } from './step-spec.ts';

/** Where a command, or several one after the other, are to run. */
export interface StepContainerRequest {
  mounts: readonly Mount[];
  /** Trees that mounts name by number. */
  inputs: readonly Tree[];
  /** Where relative mount targets begin. */
  cwd?: string;
  network: NetMode;
  devices?: readonly CDIDevice[];
  /** Architecture of its programs, as Go calls it; '' for the host's. */
  architecture: string;
  /** A snapshot that is the root, whose changes stay in it; undefined: a new one over the root's input. */
  rootSnapshot?: string;
  /** Of such a root: a file that names the places made in it for mounts while they are there. @see MountTargets */
  rootNotes?: string;
  /** Folders and files of the host, over all other mounts. */
  binds?: readonly SpecMount[];
}

/** A command. The first one that runs is the container's own, with its settings; those beside it share them. */
export interface StepProcess {
  meta: Meta;
  security: SecurityMode;
  secretEnv: readonly SecretEnv[];
  terminal: boolean;
  /** Whether something is written to its standard input. */
  stdin: boolean;
  /** More or less than steps have, by name: `NET_ADMIN`, `ALL`. */
  capabilities?: { add: readonly string[]; drop: readonly string[] };
}

/** A command that runs. Its streams are the caller's to read, or to destroy. */
export interface RunningStep {
  readonly stdout: Readable;
  /** None with a terminal. */
  readonly stderr: Readable | undefined;
  readonly stdin: Writable | undefined;
  /** Exit code, 128 + signal when one ended it. @throws {TareError} CommandNotFound, NotExecutable … */
  readonly ended: Promise<number>;
  /** @returns false: there is nothing to signal (yet) */
  signal(number: number): boolean;
  kill(): Promise<void>;
  resize(rows: number, columns: number): void;
}

/** A root with mounts in which commands run. Disposing ends what runs, and leaves nothing. */
export interface StepContainer extends AsyncDisposable {
  start(process: StepProcess): Promise<RunningStep>;
  /**
   * Makes trees of what was changed, one for each output. Nothing may run any more, nor after it.
   * New layers are nobody's until the caller has recorded them.
   */
  commit(): Promise<readonly Tree[]>;
  /** The same of all mounts, by their position: of those that show no tree, undefined. */
  keep(): Promise<readonly (Tree | undefined)[]>;
}

type StepContext = Pick<OperationContext, 'signal' | 'sessions' | 'allows' | 'limits'>;

const modes: Readonly<Record<number, NetworkMode>> = {
  [NetMode.UNSET]: 'sandbox',
  [NetMode.HOST]: 'host',
  [NetMode.NONE]: 'none',
};

/**
 * Prepares a root and its mounts.
 *
 * @throws {TareError} Forbidden: the build was not allowed what it asks for; InvalidArgument, NotFound: its mounts; Unsupported: a
 *   platform that nothing runs here
 */
export async function openStepContainer(
  parts: BuilderParts,
  request: StepContainerRequest,
  context: StepContext,
): Promise<StepContainer> {
  const mode = modes[request.network];
  if (mode === undefined) throw new TareError('InvalidArgument', `unknown network mode ${request.network}`);
  if (mode === 'host') requireAllowed(context, 'network.host');
  for (const { name } of request.devices ?? []) {
    if (!allowsDevice((entitlement) => context.allows(entitlement), name)) requireAllowed(context, `device=${name}`);
  }
  const emulator = emulatorFor(request.architecture, parts.facts.architecture);
  context.signal.throwIfAborted();

  await using undo = new AsyncDisposableStack();
  const id = `step${randomBytes(14).toString('hex')}`;
  // Whoever looks for leftovers spares what is locked under its id: cgroup, snapshots, bundle.
  undo.use(parts.locks.tryAcquire(`container:${id}`));
  const directory = join(parts.execDirectory, id);
  undo.defer(() => removeStepFolder(directory));
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const network = parts.network(mode, context.signal);
  undo.defer(async () => {
    const lent = await network.catch(() => undefined);
    await lent?.[Symbol.asyncDispose]();
  });
  network.catch(() => undefined);
  const prepared = await prepareMounts(
    {
      ...{ entries: parts, layers: parts.layers, id, directory, signal: context.signal },
      sessions: () => context.sessions(),
      rootSnapshot: request.rootSnapshot,
    },
    request.mounts,
    request.inputs,
    request.cwd ?? '/',
    undo,
  );
  // What is made here is lost with the step when power goes; what is somebody's is not.
  const rootfs = parts.layers.mount(prepared.root.snapshot, { volatile: request.rootSnapshot === undefined });
  const step = new OpenStep({
    parts,
    context,
    request,
    id,
    directory,
    rootfs,
    prepared,
    emulator,
    mode,
    network: await network,
  });
  context.signal.throwIfAborted();
  step.own(undo.move());
  return step;
}

function requireAllowed(context: StepContext, entitlement: string): void {
  if (context.allows(entitlement)) return;
  throw new TareError('Forbidden', `${entitlement} is not allowed: build with --allow ${entitlement}`);
}

interface OpenStepState {
  parts: BuilderParts;
  context: StepContext;
  request: StepContainerRequest;
  id: string;
  directory: string;
  rootfs: string;
  prepared: PreparedMounts;
  emulator: string | undefined;
  mode: NetworkMode;
  network: StepNetwork;
}

interface FirstProcess {
  process: AttendedProcess;
  spec: OciSpec;
}

class OpenStep implements StepContainer {
  readonly #state: OpenStepState;
  readonly #targets: MountTargets;
  readonly #running = new Set<AttendedProcess>();
  /** The runtime is about to begin them. */
  readonly #starting = new Set<Promise<AttendedProcess>>();
  #first: FirstProcess | undefined;
  #owned: AsyncDisposableStack | undefined;
  #entered = 0;
  #isClean = false;
  #removesStubsRecursively = true;
  #disposal: Promise<void> | undefined;

  constructor(state: OpenStepState) {
    this.#state = state;
    this.#targets = new MountTargets(state.rootfs, state.request.rootNotes);
  }

  /** What is undone after everything in here has ended. */
  own(undo: AsyncDisposableStack): void {
    this.#owned = undo;
  }

  async start(process: StepProcess): Promise<RunningStep> {
    const { parts, context } = this.#state;
    this.#requireUse();
    if (process.security === SecurityMode.INSECURE) requireAllowed(context, 'security.insecure');
    if (process.meta.args.length === 0) throw new TareError('InvalidArgument', 'a command has no arguments');
    const secretEnv = await secretVariables(() => context.sessions(), process.secretEnv);
    context.signal.throwIfAborted();
    this.#requireUse();
    const runtime = parts.runtimeBinary();
    const common = { runtime, terminal: process.terminal, stdin: process.stdin };
    const attended = await this.#follow(
      this.#first === undefined
        ? this.#startFirst(process, secretEnv, common)
        : this.#startBeside(this.#first, process, secretEnv, common),
    );
    const stop = () => void attended.kill();
    context.signal.addEventListener('abort', stop, { once: true });
    if (context.signal.aborted) stop();
    const ended = attended.ended.finally(() => {
      context.signal.removeEventListener('abort', stop);
      this.#running.delete(attended);
      if (this.#first?.process === attended) this.#first = undefined;
    });
    ended.catch(() => undefined);
    const { stdout, stderr, stdin } = attended;
    const controls = {
      signal: (number: number) => attended.signal(number),
      kill: () => attended.kill(),
      resize: (rows: number, columns: number) => attended.resize(rows, columns),
    };
    return { stdout, stderr, stdin, ended, ...controls };
  }

  #requireUse(): void {
    if (this.#isClean) throw new TareError('Conflict', 'the step has ended');
  }

  /** Whoever ends the step waits for what is being started, and then ends that as well. */
  async #follow(starting: Promise<AttendedProcess>): Promise<AttendedProcess> {
    this.#starting.add(starting);
    try {
      const attended = await starting;
      this.#running.add(attended);
      return attended;
    } finally {
      this.#starting.delete(starting);
    }
  }

  async #startFirst(
    process: StepProcess,
    secretEnv: readonly string[],
    common: { runtime: ReturnType<BuilderParts['runtimeBinary']>; terminal: boolean; stdin: boolean },
  ): Promise<AttendedProcess> {
    const { parts, context, id, directory, rootfs, prepared, request, network, emulator } = this.#state;
    const { meta } = process;
    if (process.security === SecurityMode.INSECURE) network.spoil();
    this.#removesStubsRecursively = meta.removeMountStubsRecursive;
    const user = resolveUserIn(rootfs, meta.user);
    const cwd = posix.resolve('/', meta.cwd);
    this.#targets.makeFolder(cwd, user);
    const mounts: SpecMount[] = [...prepared.mounts, ...(request.binds ?? [])];
    if (emulator !== undefined) {
      mounts.push({ type: 'bind', source: emulator, destination: emulator, readOnly: true, isFile: true });
    }
    this.#makeTargets(mounts);
    const files = { hosts: join(directory, 'hosts'), resolvConf: join(directory, 'resolv.conf') };
    // In a step as BuildKit has them; who works in a snapshot of his own may write to them, as with buildah.
    const given = { ...files, areReadOnly: request.rootSnapshot === undefined };
    writeFileSync(files.hosts, stepHosts(meta.hostname, meta.extraHosts), { mode: 0o644 });
    writeFileSync(files.resolvConf, network.resolvConf, { mode: 0o644 });
    const spec = stepSpec({
      ...{ id, meta: { ...meta, cwd }, security: process.security, user, rootfs, mounts, secretEnv, files: given },
      capabilities: process.capabilities,
      network: { mode: request.network, path: network.path },
      isReadOnlyRoot: prepared.root.isReadOnly,
      cgroupsPath: stepCgroup(meta.cgroupParent || parts.cgroupParent || `/${parts.instance}`, id),
      limits: context.limits?.(),
      terminal: process.terminal,
      runtime: common.runtime,
      facts: parts.facts,
    });
    await addDevices(spec, request.devices ?? []);
    parts.seccomp.embed(spec, common.runtime);
    writeFileSync(join(directory, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
    const attended = await parts.runtime.run({
      id,
      directory,
      program: meta.args[0]!,
      held: prepared.lockFds,
      ...common,
    });
    this.#first = { process: attended, spec };
    return attended;
  }

  async #startBeside(
    first: FirstProcess,
    process: StepProcess,
    secretEnv: readonly string[],
    common: { runtime: ReturnType<BuilderParts['runtimeBinary']>; terminal: boolean; stdin: boolean },
  ): Promise<AttendedProcess> {
    const { parts, id, directory, rootfs } = this.#state;
    const { meta } = process;
    const user = meta.user === '' ? undefined : resolveUserIn(rootfs, meta.user);
    const settings = {
      ...{ command: meta.args, env: [], workingDir: meta.cwd, tty: process.terminal },
      privileged: process.security === SecurityMode.INSECURE,
    };
    const entering = buildExecProcess(first.spec.process, settings, user, parts.facts.capabilities);
    entering.env = stepEnvironment(meta, secretEnv, user?.home ?? '/', process.terminal);
    this.#entered += 1;
    const folder = join(directory, `process${this.#entered}`);
    mkdirSync(folder, { mode: 0o700 });
    if ((await first.process.identity()) === undefined) throw new TareError('Conflict', 'the step has ended');
    return await parts.runtime.enter({ containerId: id, process: entering, directory: folder, ...common });
  }

  /**
   * Places for mounts, but for those that lie in another mount: they are the runtime's to make there. What every container needs stays in
   * the layer of a root that lacked it, as other builders leave it.
   */
  #makeTargets(mounts: readonly SpecMount[]): void {
    const isInner = (path: string) => mounts.some(({ destination }) => path.startsWith(`${destination}/`));
    requireRootFolders(this.#state.rootfs);
    for (const path of ['/proc', '/dev', '/sys']) this.#targets.makeFolder(path, { uid: 0, gid: 0 });
    const targets = [
      ...['/etc/hosts', '/etc/resolv.conf'].map((path) => ({ path, isFile: true })),
      ...mounts.map(({ destination, isFile = false }) => ({ path: destination, isFile })),
    ];
    for (const target of targets) {
      const isOfTheHost = /^\/(proc|dev|sys)\//.test(target.path);
      if (!isOfTheHost && !isInner(target.path)) this.#targets.make(target);
    }
  }

  async #clean(): Promise<void> {
    if (this.#isClean) return;
    this.#isClean = true;
    const end = () => Promise.allSettled([...this.#running].map((one) => Promise.all([one.kill(), one.ended])));
    await Promise.all([end(), Promise.allSettled(this.#starting)]);
    await end();
    this.#targets.takeBack(this.#removesStubsRecursively);
  }

  async commit(): Promise<readonly Tree[]> {
    await this.#clean();
    const trees: Tree[] = [];
    for (const output of this.#state.prepared.outputs) trees[output.index] = await this.#freeze(output);
    return Array.from(trees, (tree) => tree ?? emptyTree);
  }

  async keep(): Promise<readonly (Tree | undefined)[]> {
    await this.#clean();
    const trees: (Tree | undefined)[] = [];
    for (const files of this.#state.prepared.files) trees.push(files && (await this.#freeze(files)));
    return trees;
  }

  async #freeze(files: MountFiles): Promise<Tree> {
    if ('tree' in files) return files.tree;
    const { layers } = this.#state.parts;
    layers.unmount(files.snapshot);
    return { layers: [...files.base.layers, await layers.freeze(files.snapshot)] };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    const hasEnded = this.#first === undefined && this.#running.size + this.#starting.size === 0;
    await this.#clean();
    const { parts, id } = this.#state;
    // A runtime that was killed half-way has cleared nothing away.
    if (!hasEnded) await parts.runtime.delete(id, parts.runtimeBinary(), true);
    await this.#owned?.disposeAsync();
  }
}
