import type { CgroupUsage } from '../linux/index.ts';
import type { PortMapping, PortSelection } from '../network/index.ts';
import type { ContainerConfig, HostConfig, OutputPiece, Resources, RestartPolicyName } from '../runtime/index.ts';
import type { Change, SocketSource, SocketTarget } from '../storage/index.ts';
import type { CheckpointPlace, CheckpointRequest } from './checkpoints/checkpoint-types.ts';
import type { ContainerView, CreateContainer } from './container-types.ts';
import type { Filters, PruneReport } from './filter-types.ts';
import type { PortReachReport } from './port-reach.ts';

export interface LogEntry {
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds, as conmon wrote it. */
  time: string;
  /** One line with its newline, or a part of one; many lines where that was asked for. */
  line: Uint8Array;
}

export interface LogOptions {
  follow: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Seconds since the epoch, with a fraction. */
  sinceSeconds?: number;
  untilSeconds?: number;
  /** Last so many lines; undefined: all. */
  tail?: number;
  /**
   * What stands next to each other from one stream may come as one entry, of many lines and without a time: several times as fast.
   * An entry's bytes are written over once the next is asked for. Not with `follow` or times.
   */
  joined?: boolean;
  signal?: AbortSignal;
  /** Called when the log's files are open: from then on it may be removed. */
  onOpen?: () => void;
}

/** A client's end of an attached container or exec; the face pumps bytes both ways. */
export interface AttachSession extends AsyncDisposable {
  tty: boolean;
  output: AsyncIterable<OutputPiece>;
  write(chunk: Uint8Array): Promise<void>;
  closeStdin(): void;
}

export interface AttachOptions {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  /** Replay the log first. */
  logs: boolean;
  /** Stay attached. */
  stream: boolean;
  /** e.g. `ctrl-p,ctrl-q`; '' the default. Detecting them ends `output`. */
  detachKeys: string;
}

export interface ExecConfig {
  tty: boolean;
  attachStdin: boolean;
  attachStdout: boolean;
  attachStderr: boolean;
  detachKeys: string;
  command: string[];
  env: string[];
  workingDir: string;
  user: string;
  privileged: boolean;
  consoleSize?: [rows: number, columns: number];
}

export interface ExecRecord {
  id: string;
  containerId: string;
  config: ExecConfig;
  running: boolean;
  /** null until it ended. */
  exitCode: number | null;
  pid: number;
  pidStartTicks: number;
  createdMs: number;
}

/** A container's figures at one moment. No limit is the host's memory, and 0 for processes. */
export interface StatsSample extends CgroupUsage {
  readMs: number;
  cpu: CgroupUsage['cpu'] & { hostNs: number; onlineCpus: number };
  networks: Record<
    string,
    {
      rxBytes: number;
      rxPackets: number;
      rxErrors: number;
      rxDropped: number;
      txBytes: number;
      txPackets: number;
      txErrors: number;
      txDropped: number;
    }
  >;
  cgroupVersion: 1 | 2;
}

export interface WaitResult {
  exitCode: number;
  error: string;
}

/** What `cp` learns of a path (docker's container-path-stat). */
export interface PathStat {
  name: string;
  sizeBytes: number;
  /** st_mode as the kernel has it. */
  mode: number;
  modifiedMs: number;
  linkTarget: string;
}

/** Bytes that may know a shorter way than through the main thread. */
export interface BulkBytes extends AsyncIterable<Uint8Array> {
  /** Instead of reading them: has them all written to a socket. Nothing else may be written there meanwhile. */
  sendTo?(socket: SocketTarget, signal: AbortSignal): Promise<void>;
}

/** A body that may come by a shorter way than through the main thread. */
export interface BulkSource extends AsyncIterable<Uint8Array> {
  /** Between two of its pieces: where the rest comes. It cannot be read here any more. */
  handOver?(): SocketSource;
}

export interface ContainerService {
  create(request: CreateContainer): Promise<{ id: string; warnings: string[] }>;
  /** @throws {TareError} NotModified: already running */
  start(ref: string, options?: { detachKeys?: string; checkpoint?: CheckpointPlace }): Promise<void>;
  /**
   * Writes the state of a running container's processes to disk.
   * @throws {TareError} InvalidArgument: the name or the folder; Conflict: it does not run; AlreadyExists; Unsupported: by its
   *   runtime; Internal with CRIU's reason: what a process holds cannot be written down
   */
  checkpoint(ref: string, request: CheckpointRequest): Promise<void>;
  /** Names of a container's checkpoints, ascending. */
  checkpoints(ref: string, directory?: string): Promise<string[]>;
  /** @throws {TareError} NotFound */
  removeCheckpoint(ref: string, place: CheckpointPlace): Promise<void>;
  /** @throws {TareError} NotModified: not running */
  stop(ref: string, options?: { timeoutSeconds?: number; signal?: string }): Promise<void>;
  restart(ref: string, options?: { timeoutSeconds?: number; signal?: string }): Promise<void>;
  kill(ref: string, signal?: string): Promise<void>;
  pause(ref: string): Promise<void>;
  unpause(ref: string): Promise<void>;
  rename(ref: string, name: string): Promise<void>;
  remove(ref: string, options?: { force?: boolean; volumes?: boolean }): Promise<void>;
  /** Removes a link, `/CONTAINER/ALIAS`, and leaves the containers. */
  removeLink(name: string): Promise<void>;
  wait(ref: string, condition: 'not-running' | 'next-exit' | 'removed', signal?: AbortSignal): Promise<WaitResult>;
  /** @throws {TareError} NotFound; Conflict: ambiguous prefix */
  inspect(ref: string, options?: { size?: boolean }): Promise<ContainerView>;
  list(options?: { all?: boolean; limit?: number; size?: boolean; filters?: Filters }): Promise<ContainerView[]>;
  top(ref: string, psArgs?: string): Promise<{ titles: string[]; processes: string[][] }>;
  /** One sample now, and one a second while `stream`. */
  stats(ref: string, options: { stream: boolean; signal?: AbortSignal }): AsyncIterable<StatsSample>;
  update(
    ref: string,
    change: Partial<Resources> & {
      restartPolicy?: { name: RestartPolicyName; maximumRetryCount: number };
      /** '' leaves one as it is, 'none' ends it. */
      networkBandwidth?: { in: string; out: string };
    },
  ): Promise<{ warnings: string[] }>;
  /**
   * Publishes more ports, of a running container at once.
   * @returns the new mappings; none for a container that does not run
   * @throws {TareError} Conflict: a port is taken (names the holder); the container has no network of its own
   */
  addPorts(ref: string, wanted: HostConfig['portBindings']): Promise<PortMapping[]>;
  /** Takes published ports back; open connections go on. @throws {TareError} NotFound: one is not published */
  removePorts(ref: string, ports: readonly PortSelection[]): Promise<void>;
  /** Who reaches a port, and through which rule. @throws {TareError} InvalidArgument: not a port */
  portReach(ref: string, port: number, protocol: PortMapping['protocol']): Promise<PortReachReport>;
  logs(ref: string, options: LogOptions): AsyncIterable<LogEntry>;
  /** The labels and variables that a container's log options choose: docker's details of each line. */
  logAttributes(ref: string): [string, string][];
  attach(ref: string, options: AttachOptions): Promise<AttachSession>;
  resize(ref: string, rows: number, columns: number): Promise<void>;
  changes(ref: string): Promise<Change[]>;
  /**
   * Makes an image of a container and returns its id. A running container stands still meanwhile unless `pause` is false.
   *
   * @param options.changes Dockerfile instructions
   * @param options.config instead of the container's; what it leaves open is the container's all the same
   */
  commit(
    ref: string,
    options: {
      reference?: string;
      author?: string;
      comment?: string;
      changes?: string[];
      pause?: boolean;
      config?: ContainerConfig;
    },
  ): Promise<string>;
  /** The container's whole file system as a tar. */
  export(ref: string): AsyncIterable<Uint8Array>;
  statPath(ref: string, path: string): Promise<PathStat>;
  /** A tar of the path; a directory comes with its name as the first entry. */
  readArchive(ref: string, path: string): Promise<{ stat: PathStat; tar: BulkBytes }>;
  /** Unpacks a tar (possibly compressed) into an existing directory. */
  writeArchive(
    ref: string,
    path: string,
    tar: BulkSource,
    options?: { noOverwriteDirNonDir?: boolean; copyUidGid?: boolean },
  ): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
}

export interface ExecService {
  create(containerRef: string, config: ExecConfig): Promise<string>;
  /** @throws {TareError} NotFound; Conflict: it ran already, or its container does not run */
  requireStartable(id: string): Promise<void>;
  /** Detached: resolves once it runs, with undefined. */
  start(
    id: string,
    options: { detach: boolean; tty?: boolean; consoleSize?: [rows: number, columns: number] },
  ): Promise<AttachSession | undefined>;
  inspect(id: string): Promise<ExecRecord>;
  resize(id: string, rows: number, columns: number): Promise<void>;
}
