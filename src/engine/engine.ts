import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, TareError } from '../errors/index.ts';
import { tryFlock } from '../linux/index.ts';
import { type NameServer, type NetworkService, openNetworkService } from '../network/index.ts';
import { openRuntime, readHostFacts, SeccompCache, watchExits } from '../runtime/index.ts';
import { Database, Locks, trimEvents } from '../state/index.ts';
import { type Change, openContentStore, openLayerStore, openVolumeDirectories } from '../storage/index.ts';
import { AttachHub } from './attach-hub.ts';
import { createBuildService } from './builds/builds.ts';
import { reconcileBuilds } from './builds/reconcile-builds.ts';
import { workingUsersOf } from './builds/working/working-records.ts';
import { CallerGuard } from './caller-policy.ts';
import { compareRefs } from './compare.ts';
import { type EngineConfig, instanceName } from './config.ts';
import { containerSkeleton } from './container-mounts.ts';
import { ContainerStore } from './container-store.ts';
import { createContainerService } from './containers.ts';
import { createEgressService } from './egress.ts';
import { createEventService } from './event-stream.ts';
import { createExecService } from './exec.ts';
import { handleExit } from './exit.ts';
import { watchersLock } from './exit-command.ts';
import { probeContainer } from './health.ts';
import { beginLook, HeldPorts, noteLook } from './held-ports.ts';
import { type HousekeepingParts, keepBelowThreshold, keepBelowThresholdHourly } from './image-gc.ts';
import { createImageMountService, type ImageMountService } from './image-mounts.ts';
import { openTrust } from './image-trust.ts';
import { createImageService } from './images.ts';
import { Intents } from './intents.ts';
import { keeperLives, keeperStarter } from './keeper-process.ts';
import { KeeperWork } from './keeper-work.ts';
import { linkPassages, linksOf } from './links.ts';
import { rewriteNameFiles } from './live-name-files.ts';
import { isUp } from './liveness.ts';
import { rotateContainerLog, shipContainerLog, shippingDriverOf, watchLogSizes } from './log-keeping.ts';
import { neededNameServers } from './name-servers.ts';
import { openNameServer } from './name-service.ts';
import { NamesStandIn } from './name-stand-in.ts';
import { createNetworksService } from './networks.ts';
import { type ReconcileParts, reconcile, settleEnded } from './reconcile.ts';
import { LateRegistries } from './registries.ts';
import { applyConfig, reloadEvent } from './reload.ts';
import { RepeatedFailure } from './repeated-failure.ts';
import { enterEngineNetwork, keepEngineUplink } from './rootless/enter-network.ts';
import { limitedFacts, withoutCgroups } from './rootless/limited-host.ts';
import { watchRules } from './rule-watch.ts';
import { startContainer } from './start.ts';
import { startByPolicy } from './start-by-policy.ts';
import { type Startable, StartOrder } from './start-order.ts';
import { createSystemService, engineID } from './system.ts';
import type { ContainerRecord, EngineServices, ReloadReport } from './types.ts';
import { Volumes } from './volumes.ts';

export interface OpenOptions {
  /** Settle containers as they end, for as long as this engine is open. */
  watchesExits?: boolean;
  /** Compare everything with the records at once, as a daemon does; otherwise only when somebody died in the middle. */
  reconciles?: boolean;
  /** Start containers as their restart policies say, as a daemon does when it starts. */
  startsByPolicy?: boolean;
  /** Keep disk use below the user's threshold at once and every hour, as a daemon does; else after storing an image only. */
  housekeeps?: boolean;
  /**
   * Who opens it is who asks: registries and mirrors may be shown this user's stored credentials. Never for a daemon, whose
   * callers bring their own.
   */
  asUser?: boolean;
  /** How the configuration is read again, and whom to tell when it is in use; a daemon's. */
  reload?: { read(): EngineConfig; applied(report: ReloadReport): void };
  /** Told of what was done without being asked for. */
  notice?: (text: string) => void;
  /** Told of what fails where no caller waits. */
  report?: (subject: string, error: unknown) => void;
}

/**
 * One engine on one pair of roots. Several processes may have it open at once; what they share is on disk and in the
 * kernel. Disposing it leaves containers running.
 */
export class Engine implements EngineServices, AsyncDisposable {
  readonly config: EngineConfig;
  readonly containers: EngineServices['containers'];
  readonly execs: EngineServices['execs'];
  readonly images: EngineServices['images'];
  readonly volumes: EngineServices['volumes'];
  readonly networks: EngineServices['networks'];
  readonly egress: EngineServices['egress'];
  readonly events: EngineServices['events'];
  readonly system: EngineServices['system'];
  readonly builds: EngineServices['builds'];
  readonly imageMounts: ImageMountService;
  readonly #parts: ReconcileParts;
  readonly #resources: AsyncDisposableStack;
  readonly #report: (subject: string, error: unknown) => void;

  private constructor(
    parts: ReconcileParts,
    services: EngineServices,
    resources: AsyncDisposableStack,
    report: (subject: string, error: unknown) => void,
  ) {
    this.config = parts.config;
    this.containers = services.containers;
    this.execs = services.execs;
    this.images = services.images;
    this.volumes = services.volumes;
    this.networks = services.networks;
    this.egress = services.egress;
    this.events = services.events;
    this.system = services.system;
    this.builds = services.builds;
    this.imageMounts = createImageMountService(parts);
    this.#parts = parts;
    this.#resources = resources;
    this.#report = report;
  }

  /** Opens the stores, settles what has ended meanwhile, and finishes or undoes what a dead process left. */
  static async open(config: EngineConfig, options: OpenOptions = {}): Promise<Engine> {
    const report =
      options.report ?? ((subject, error) => process.stderr.write(`tare: ${subject}: ${messageOf(error)}\n`));
    await using opening = new AsyncDisposableStack();
    const isRootless = config.rootless !== undefined;
    if (config.rootless !== undefined) await enterEngineNetwork(config.rootless.namespaces);
    const { dataRoot, execRoot } = config;
    for (const folder of [dataRoot, execRoot, join(execRoot, 'exits')])
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    const instance = instanceName(dataRoot);
    const facts = isRootless ? limitedFacts(readHostFacts()) : readHostFacts();
    const db = opening.use(await Database.open(join(dataRoot, 'tare.db'), config.events));
    const locks = new Locks(join(execRoot, 'locks'));
    const store = new ContainerStore(db);
    const layers = opening.use(
      await openLayerStore({
        directory: join(dataRoot, 'layers'),
        snapshotDirectory: join(dataRoot, 'snapshots'),
        driver: config.storageDriver,
        userXattrs: isRootless,
        skeleton: containerSkeleton,
      }),
    );
    const content = opening.use(await openContentStore(join(dataRoot, 'content'), layers.tars));
    const networks: NetworkService & Disposable = opening.use(
      await openNetworkService({
        ...{ db, locks, execRoot, instance },
        ...(config.network.pools === undefined ? {} : { defaultPools: config.network.pools }),
        defaultNetwork: {
          ...config.network.defaultNetwork,
          ...(config.enableIPv6 ? { enableIPv6: true } : {}),
          ...(config.bridgeSubnet === undefined ? {} : { subnet: config.bridgeSubnet }),
        },
        ...(config.defaultBinding === undefined ? {} : { defaultBinding: config.defaultBinding }),
        ...{ cni: config.network.cni, ownsCni: config.network.ownsCni },
        defaultOptions: config.network.defaultOptions,
        containerName: (id) => store.find(id)?.name ?? id.slice(0, 12),
        passages: () => linkPassages({ db, store, networks }),
        report,
      }),
    );
    const runtime = opening.use(openRuntime({ execRoot, criuPath: config.criuPath }));
    const volumes = new Volumes({
      ...{ db, locks, store },
      mayUse: (volume) => guard.checkVolume(volume),
      directories: await openVolumeDirectories(join(dataRoot, 'volumes')),
    });
    const guard = new CallerGuard({ config, facts, store, volumes });
    const containersUsing = (imageID: string) =>
      store
        .all()
        .filter(({ imageId, mounts }) => imageId === imageID || mounts.some((mount) => mount.imageId === imageID))
        .map(({ id, name, state }) => ({ id, name, isRunning: isUp({ state }) }))
        .concat(workingUsersOf(db, imageID));
    const registries = opening.use(new LateRegistries(config, { anonymous: options.asUser !== true }));
    const images = createImageService({
      ...{ db, content, layers, locks, containersUsing, countContainers: () => store.countByImage() },
      registries: () => registries.get(),
      insecureRegistries: () => registries.get({ tlsVerify: false }),
      concurrentDownloads: config.maxConcurrentDownloads,
      concurrentUploads: config.maxConcurrentUploads,
      trust: openTrust(content, config.trust),
      guard,
      onStored: () => keepBelowThreshold(housekeeping),
    });
    const notice = options.notice ?? ((text) => void process.stderr.write(`tare: ${text}\n`));
    const housekeeping: HousekeepingParts = {
      get gc() {
        return config.imageGC;
      },
      trim: (gc) => images.trim(gc, dataRoot),
      ...{ notice, report },
    };
    const hub = new AttachHub(runtime);
    const runtimeFor = (name: string) => {
      const found = config.runtimes.find((candidate) => candidate.name === (name || config.defaultRuntime));
      if (found !== undefined) return isRootless ? withoutCgroups(found) : found;
      throw new TareError(
        'InvalidArgument',
        `unknown or invalid runtime name: ${name}: one of ${config.runtimes.map((one) => one.name).join(', ')}`,
      );
    };
    const wakeKeeper = keeperStarter(config);
    const execs = createExecService({ db, store, runtime, execRoot, runtimeFor, facts, guard });
    const parts: ReconcileParts = {
      ...{ config, instance, db, locks, store, images, layers, volumes, networks, runtime, facts, runtimeFor },
      guard,
      seccomp: new SeccompCache(join(execRoot, 'seccomp')),
      intents: new Intents(join(execRoot, 'intents')),
      attachments: hub,
      heldPorts: opening.use(new HeldPorts(db, execRoot)),
      names: opening.use(
        new NamesStandIn({
          openServer: () => openNameServer({ db, networks, report }, { isStandIn: true }),
          wakeKeeper,
        }),
      ),
      forgetExecs: (id) => execs.forgetExecs(id),
      wakeKeeper,
      reconcileImages: (isUsed) => images.reconcile(isUsed),
      reconcileBuilds: (settling) => reconcileBuilds(settling, images),
      reconcileExecs: () => execs.reconcileExecs(),
      onError: report,
    };
    const containers = createContainerService(parts, hub);
    const reload = async (): Promise<ReloadReport> => {
      if (options.reload === undefined)
        throw new TareError('Unsupported', 'there is no daemon to reload: each command reads the configuration itself');
      const report = applyConfig(config, options.reload.read());
      images.limitTransfers(config.maxConcurrentDownloads, config.maxConcurrentUploads);
      options.reload.applied(report);
      const id = await engineID(db);
      await db.write((tx) => tx.event(reloadEvent(id, config)));
      return report;
    };
    const builds = opening.use(
      createBuildService({
        ...{ parts, content, images, notice, asUser: options.asUser === true },
        settle: async () => {
          if (parts.intents.isReconcileDue) await reconcile(parts);
        },
      }),
    );
    const services: EngineServices = {
      ...{ builds, containers, execs, images, volumes },
      networks: createNetworksService({
        ...{ db, store, networks, locks, intents: parts.intents },
        addressesChanged: (record, endpoints) => rewriteNameFiles(parts, record, endpoints),
      }),
      egress: createEgressService(parts),
      events: createEventService(db),
      system: createSystemService({
        ...{ config, db, store, facts, layers, containers, images, volumes },
        reload,
      }),
    };
    const engine = new Engine(parts, services, opening.move(), report);
    await engine.#begin(options);
    if (options.housekeeps === true) {
      // Nobody waits for it: it may take long.
      void keepBelowThreshold(housekeeping);
      engine.#resources.use(keepBelowThresholdHourly(housekeeping));
      builds.keepCache();
    }
    return engine;
  }

  async #begin(options: OpenOptions): Promise<void> {
    if (options.watchesExits === true) this.watchExits();
    if (options.reconciles === true || this.#parts.intents.isReconcileDue) {
      await reconcile(this.#parts);
      await this.#parts.db.write((tx) => trimEvents(tx, this.config.events));
    } else {
      await settleEnded(this.#parts);
    }
    if (options.startsByPolicy === true) await startByPolicy(this.#parts);
    this.summonKeeper();
  }

  /** Makes sure that a keeper lives if a container needs one. Cheap while it does. */
  summonKeeper(): void {
    const { rootless } = this.config;
    if (rootless !== undefined) void keepEngineUplink(rootless.namespaces);
    if (keeperLives(this.config) || !this.needsKeeper()) return;
    this.#parts.wakeKeeper();
    this.#parts.names.cover(neededNameServers(this.#parts));
  }

  /** Settles containers as they end, and replaces a keeper that was killed, until the engine is disposed. */
  watchExits(): void {
    if (this.#watch !== undefined) return;
    const stop = new AbortController();
    this.#watch = stop;
    // Shared: every watcher holds it, and conmon's exit command sees whether any does.
    const lock = tryFlock(watchersLock(this.config.execRoot), 'shared');
    const settling = new Set<Promise<void>>();
    this.#resources.use(watchRules(this.#parts, this.#report));
    this.#resources.use(watchLogSizes(this.#parts, this.#report));
    const failure = new RepeatedFailure(this.#report, 'starting the keeper');
    const summon = () => {
      try {
        this.summonKeeper();
        failure.clear();
      } catch (error) {
        // No descriptors left, for one: that passes.
        failure.add(error);
      }
    };
    const summoning = setInterval(summon, KEEPER_CHECK_MS).unref();
    this.#resources.defer(async () => {
      stop.abort();
      clearInterval(summoning);
      // An end half recorded would be left to the next process, which then has to look at everything.
      await Promise.all(settling);
      lock?.[Symbol.dispose]();
    });
    const watching = async () => {
      for await (const id of watchExits(join(this.config.execRoot, 'exits'), stop.signal)) {
        const settled = this.#settle(id, stop.signal).finally(() => settling.delete(settled));
        settling.add(settled);
      }
    };
    watching().catch((error: unknown) => this.report('watching for exits', error));
  }
  #watch: AbortController | undefined;
  #keeperWork: KeeperWork | undefined;

  /** Nobody else does it while this process watches: what fails, for want of space on the disk, is tried again. */
  async #settle(id: string, stopped: AbortSignal): Promise<void> {
    const failure = new RepeatedFailure(this.#report, `end of container ${id}`);
    while (!stopped.aborted) {
      try {
        return await this.handleExit(id);
      } catch (error) {
        failure.add(error);
        await sleep(SETTLE_AGAIN_MS, undefined, { signal: stopped, ref: false }).catch(() => undefined);
      }
    }
  }

  /** Settles a container if it has ended: conmon's exit command and the watchers call it. */
  async handleExit(id: string): Promise<void> {
    await handleExit(this.#parts, id);
  }

  /** Tells of a failure that no caller waits for. */
  report(subject: string, error: unknown): void {
    this.#report(subject, error);
  }

  /** Yields at once and after every change of the records, by any process. */
  changes(signal?: AbortSignal): AsyncIterable<void> {
    return this.#parts.db.watch(signal);
  }

  /** Runs the keeper's look at the records, and tells the others up to where it saw. */
  look(act: () => void): void {
    const event = beginLook(this.#parts.db);
    act();
    noteLook(this.config.execRoot, event);
  }

  /** Containers that need the keeper now. */
  keeperWork(): readonly ContainerRecord[] {
    this.#keeperWork ??= new KeeperWork(this.#parts.db, this.#parts.store);
    return this.#keeperWork.list();
  }

  /** Whether anything counts on a keeper: also a container that is just starting, and may ask for names at once. */
  needsKeeper(): boolean {
    return this.keeperWork().length > 0 || neededNameServers(this.#parts).length > 0;
  }

  /** Which of these containers, all waiting for their restart, may be started now. @see StartOrder */
  startable(ids: ReadonlySet<string>): Startable[] {
    const waiting = this.#parts.store.withStatus('restarting').filter(({ id }) => ids.has(id));
    return waiting.length === 0
      ? []
      : new StartOrder(this.#parts.store.shared(), linksOf(this.#parts.db)).startable(waiting);
  }

  /** Starts a container whose back-off is over; nothing happens when it no longer waits. */
  async restartByPolicy(id: string): Promise<void> {
    await startContainer(this.#parts, id, { byPolicy: true });
  }

  /**
   * Runs a container's health check once and records the result.
   *
   * @returns the record then; undefined: it is gone
   */
  async probeHealth(id: string): Promise<ContainerRecord | undefined> {
    const record = this.#parts.store.find(id);
    if (record?.state.status !== 'running') return record;
    await probeContainer(this.#parts, record);
    return this.#parts.store.find(id);
  }

  /** Rotates a container's log when it has grown beyond its limit. @returns whether it is to be looked at often */
  rotateLog(record: ContainerRecord): Promise<boolean> {
    return rotateContainerLog(this.#parts, record);
  }

  /** Whether a container's output goes to a collector. */
  shipsLog(record: ContainerRecord): boolean {
    return shippingDriverOf(record) !== undefined;
  }

  /** Sends a container's output to its collector until it has ended. @see shipContainerLog */
  async shipLog(id: string, stop: AbortSignal, report: (error: unknown) => void): Promise<void> {
    await shipContainerLog(this.#parts, id, stop, report);
  }

  /** What the second of two containers or images has more, less and otherwise. @see compareRefs */
  compare(before: string, after: string): AsyncIterable<Change> {
    return compareRefs(this.#parts, before, after);
  }

  /** Answers containers that ask for names, for as long as it lives. */
  openNameServer(): NameServer {
    return openNameServer({ ...this.#parts, report: this.#report }, { isStandIn: false });
  }

  /** Every published port of this engine. */
  publishedPorts() {
    return this.#parts.networks.publishedPorts();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/** How often a living engine sees to it that the keeper lives, too. */
const KEEPER_CHECK_MS = 250;
const SETTLE_AGAIN_MS = 2_000;
