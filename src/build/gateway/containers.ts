import { create } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { type gateway, type HostIP, HostIPSchema, type Meta, MetaSchema } from '../../protocol/index.ts';
import type { RunningStep, StepContainer, StepProcess } from '../executor/step-container.ts';
import type { BridgeRef, FrontendBridge } from '../frontend.ts';
import { MAX_MOUNTS } from '../solver/graph.ts';

/** Containers that one frontend may have at once. */
const MAX_CONTAINERS = 64;

interface Held {
  container: StepContainer;
  /** Of all that runs in it. */
  hostname: string;
  extraHosts: readonly HostIP[];
}

/** Containers that a frontend asked for, by the names that it gave them. */
export class FrontendContainers implements AsyncDisposable {
  readonly #bridge: FrontendBridge;
  readonly #held = new Map<string, Promise<Held>>();
  #isOver = false;

  constructor(bridge: FrontendBridge) {
    this.#bridge = bridge;
  }

  /** @param find a result by its id */
  async open(request: gateway.NewContainerRequest, find: (id: string) => BridgeRef): Promise<void> {
    const { ContainerID: id } = request;
    if (id === '') throw new TareError('InvalidArgument', 'a container without an id');
    if (this.#isOver) throw new TareError('Unavailable', 'the frontend has ended');
    if (this.#held.has(id)) throw new TareError('AlreadyExists', `container ${id} exists already`);
    if (this.#held.size >= MAX_CONTAINERS)
      throw new TareError('InvalidArgument', `a frontend with more than ${MAX_CONTAINERS} containers: release some`);
    const opening = this.#open(request, find);
    this.#held.set(id, opening);
    try {
      await opening;
    } catch (error) {
      this.#held.delete(id);
      throw error;
    }
  }

  async #open(request: gateway.NewContainerRequest, find: (id: string) => BridgeRef): Promise<Held> {
    const { Mounts, Network, hostname, extraHosts, platform } = request;
    if (Mounts.length > MAX_MOUNTS)
      throw new TareError('InvalidArgument', `a container with ${Mounts.length} mounts: at most ${MAX_MOUNTS}`);
    const mounts = Mounts.map((mount) => ({ mount, ref: mount.resultID === '' ? undefined : find(mount.resultID) }));
    const architecture = platform?.Architecture ?? '';
    const container = await this.#bridge.openContainer({ mounts, network: Network, architecture });
    return { container, hostname, extraHosts };
  }

  /** Runs a command in one; the first is the container's own, others join it. */
  async start(init: gateway.InitMessage): Promise<RunningStep> {
    const held = this.#held.get(init.ContainerID);
    if (held === undefined)
      throw new TareError(
        'NotFound',
        `container ${JSON.stringify(init.ContainerID)} previously released or not created`,
      );
    const { container, hostname, extraHosts } = await held;
    return await container.start(processOf(init, hostname, extraHosts));
  }

  /** Ends what runs in it. Of one that is not there: nothing. */
  async release(id: string): Promise<void> {
    const held = this.#held.get(id);
    this.#held.delete(id);
    const opened = await held?.catch(() => undefined);
    await opened?.container[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.all([...this.#held.keys()].map((id) => this.release(id)));
  }
}

function processOf(init: gateway.InitMessage, hostname: string, extraHosts: readonly HostIP[]): StepProcess {
  const { Meta: meta, Fds, Tty, Security, secretenv } = init;
  const { args, env, cwd, user, removeMountStubsRecursive }: Meta = meta ?? create(MetaSchema);
  if (args.length === 0) throw new TareError('InvalidArgument', 'a process without arguments');
  const hosts = extraHosts.map((host) => create(HostIPSchema, host));
  return {
    meta: create(MetaSchema, {
      args,
      env,
      cwd: cwd || '/',
      user,
      hostname,
      extraHosts: hosts,
      removeMountStubsRecursive,
    }),
    ...{ security: Security, secretEnv: secretenv, terminal: Tty, stdin: Fds.includes(0) },
  };
}
