import type { ProgressSink } from '../../../build/index.ts';
import type { ImageProcessConfig } from '../../../image/index.ts';
import type { BuildOutput } from '../build-options.ts';
import type { BuildOutcome, BuildWatch } from '../build-service.ts';
import type { SecretSource } from '../session-options.ts';

/** What a working container begins with. */
export interface FromOptions {
  /** None: the image's name and `-working-container`, with a number when that is taken. */
  name?: string;
  /** `missing` unless said. */
  pull?: 'always' | 'missing' | 'never';
  /** `linux/arm64`; none: this machine's. */
  platform?: string;
  /** Folder of the files that ONBUILD instructions of the image copy; none: they have none. */
  contextFolder?: string;
  /** Told of what ONBUILD instructions do. */
  progress?: ProgressSink;
  signal?: AbortSignal;
}

/** A working container as lists show it. */
export interface WorkingContainerView {
  id: string;
  name: string;
  createdMs: number;
  /** What it was made of; undefined: of nothing. */
  base: { imageID: string; ref: string } | undefined;
  platform: { os: string; architecture: string; variant?: string };
  config: ImageProcessConfig;
  author: string;
  comment: string;
  annotations: Readonly<Record<string, string>>;
  /** Where its files are shown; undefined: they are not. */
  mountPath: string | undefined;
}

/** Lists that can be emptied before something is added to them. */
export type ClearedList = 'env' | 'labels' | 'ports' | 'volumes' | 'annotations' | 'onBuild';

/**
 * Changes of the config of the image to come. What is left out stays; null takes a value away. First what `clear` names is
 * emptied.
 */
export interface ConfigChanges {
  clear?: readonly ClearedList[];
  cmd?: readonly string[] | null;
  entrypoint?: readonly string[] | null;
  env?: Readonly<Record<string, string | null>>;
  labels?: Readonly<Record<string, string | null>>;
  /** `80`, `53/udp`, `8000-8010`: true to add, null to take away. */
  ports?: Readonly<Record<string, true | null>>;
  volumes?: Readonly<Record<string, true | null>>;
  annotations?: Readonly<Record<string, string | null>>;
  user?: string | null;
  workingDir?: string | null;
  stopSignal?: string | null;
  shell?: readonly string[] | null;
  healthcheck?: ImageProcessConfig['Healthcheck'] | null;
  /** Instructions to be added. */
  onBuild?: readonly string[];
  author?: string;
  comment?: string;
  /** What the history says made the layer. */
  createdBy?: string;
  /** What the history remarks at the layer. */
  historyComment?: string;
  architecture?: string;
  os?: string;
  variant?: string;
  osVersion?: string;
  osFeatures?: readonly string[];
  /** Entries in the history for what is changed. */
  addsHistory?: boolean;
}

/** How files come into a working container. */
export interface CopyOptions extends BuildWatch {
  /** An image, or another working container; undefined: this machine's files. */
  from?: string;
  /** `user`, `user:group`, by number or by names that the container knows. */
  chown?: string;
  /** Octal, or as chmod takes it. */
  chmod?: string;
  /** Patterns of what beneath a source is left out. */
  exclude?: readonly string[];
  /** Sources are beneath this folder, wherever links in it lead; undefined: anywhere. */
  contextFolder?: string;
  /** A file as `.dockerignore`, for `contextFolder`. */
  ignoreFile?: string;
  /** Of the only source, an address: `sha256:…`; of a repository, its commit. */
  checksum?: string;
  addsHistory?: boolean;
}

/** A command that runs in a working container. */
export interface RunningCommand {
  readonly stdout: NodeJS.ReadableStream;
  /** None with a terminal. */
  readonly stderr: NodeJS.ReadableStream | undefined;
  readonly stdin: NodeJS.WritableStream | undefined;
  /** Its exit code. */
  readonly ended: Promise<number>;
  /** @returns false: there is nothing to signal (yet) */
  signal(number: number): boolean;
  resize(rows: number, columns: number): void;
}

export interface RunOptions extends BuildWatch {
  /** As `user`, `user:group`; none: the config's. */
  user?: string;
  /** None: the config's. */
  workingDir?: string;
  /** `NAME=VALUE`, over the config's. */
  env?: readonly string[];
  hostname?: string;
  /** As `RUN --mount` has them; a bind without `from` is of this machine. */
  mounts?: readonly string[];
  /** Folders and files of this machine. */
  binds?: readonly { source: string; target: string; isReadOnly?: boolean }[];
  /** `default` unless said. */
  network?: 'default' | 'none' | 'host';
  capabilities?: { add?: readonly string[]; drop?: readonly string[] };
  /** As `RUN --security=insecure`. */
  isPrivileged?: boolean;
  extraHosts?: readonly { host: string; ip: string }[];
  ulimits?: readonly { name: string; soft: bigint; hard: bigint }[];
  /** CDI names. */
  devices?: readonly string[];
  shmSizeBytes?: number;
  secrets?: Readonly<Record<string, SecretSource>>;
  sshAgents?: Readonly<Record<string, string | undefined>>;
  terminal?: boolean;
  stdin?: boolean;
  /** Reads what it says until it has ended; without it that goes to this process's standard streams. */
  attend?(running: RunningCommand): Promise<void>;
  addsHistory?: boolean;
}

export interface CommitOptions {
  /** `oci` unless said. */
  format?: 'oci' | 'docker';
  /** One layer of all that the image holds, its base included. */
  squash?: boolean;
  /** The working container goes when the image is made. */
  remove?: boolean;
  /** Seconds since 1970: the time of the image and its history, and the latest of its new files. */
  timestamp?: number;
  /** Dockerfile instructions, over the config. */
  changes?: readonly string[];
  author?: string;
  message?: string;
  /** None: the image goes into the store. */
  outputs?: readonly BuildOutput[];
  progress?: ProgressSink;
  signal?: AbortSignal;
}

/** The files of a working container at a place of this machine; disposing takes this one mount back. */
export interface WorkingMount extends AsyncDisposable {
  readonly path: string;
}

/**
 * An image in the making without a Dockerfile: a tree that is changed, and a config. It lasts until it is removed, also without a
 * process; what several processes do to it, they do one after the other.
 */
export interface WorkingContainer {
  readonly id: string;
  readonly name: string;
  inspect(): Promise<WorkingContainerView>;
  /** @throws {TareError} InvalidArgument: naming the value; nothing is changed then */
  config(changes: ConfigChanges): Promise<void>;
  /** @param destination relative to the working folder; with a slash at its end a folder @throws {TareError} NotFound: a source */
  copy(sources: readonly string[], destination: string, options?: CopyOptions): Promise<void>;
  /** As `copy`, and fetches addresses, and unpacks archives that lie on this machine. */
  add(sources: readonly string[], destination: string, options?: CopyOptions): Promise<void>;
  /** @returns the command's exit code @throws {TareError} CommandNotFound, NotExecutable … */
  run(command: readonly string[], options?: RunOptions): Promise<number>;
  /** Shows its files, to be changed; a second mount shows the same. */
  mount(): Promise<WorkingMount>;
  /** Takes one mount back, or all. @throws {TareError} Conflict: it is not mounted */
  unmount(options?: { all?: boolean }): Promise<void>;
  /**
   * Makes an image of what it is now. It can be changed further; what changes then is a layer above.
   * @param name none: the image is known by its id
   * @throws {TareError} Conflict: its files are mounted, and a process is in them
   */
  commit(name?: string, options?: CommitOptions): Promise<BuildOutcome>;
  remove(): Promise<void>;
}
