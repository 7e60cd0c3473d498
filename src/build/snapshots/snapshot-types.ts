import type { RunningStep } from '../executor/step-container.ts';
import type { BuildSession } from '../session.ts';

/** Where the paths of a copy lead. */
export type CopyOrigin =
  /** This machine's files, by absolute paths, as whoever runs this process sees them. */
  | { host: true }
  /** A folder of the session's, without what patterns as in `.dockerignore` name. */
  | { folder: string; excludePatterns: readonly string[] }
  | { image: string }
  | { snapshot: string };

/** Files to be copied into a snapshot. */
export interface CopyInto {
  snapshot: string;
  session: BuildSession;
  platform: { os: string; architecture: string; variant?: string };
  origin: CopyOrigin;
  /** Paths, with patterns as COPY has them; with `isAdd` also addresses of files and git repositories. */
  sources: readonly string[];
  /** Absolute; a slash at its end means a folder. */
  destination: string;
  /** As ADD: addresses are fetched, archives unpacked. */
  isAdd: boolean;
  /** `sha256:…` of the only source, which is an address; of a repository, its commit. */
  checksum?: string;
  /** `user`, `user:group`, by number or by the names of the snapshot; none: root's, or of another tree as it is there. */
  owner?: string;
  /** Octal, or as chmod takes it. */
  mode?: string;
  /** Of what lies beneath a source. */
  excludePatterns?: readonly string[];
}

/** A command to be run in a snapshot. */
export interface RunIn {
  snapshot: string;
  /** A file that is there while places for mounts are in the snapshot that are to be taken back. @see takeBackMountPlaces */
  notes: string;
  session: BuildSession;
  platform: { os: string; architecture: string; variant?: string };
  command: readonly string[];
  env: readonly string[];
  /** '' and numbers as in an image's config. */
  user: string;
  /** Absolute. */
  directory: string;
  hostname?: string;
  /** Each as `RUN --mount` has it, with images for `from`; a bind without `from` is of this machine. */
  mounts: readonly string[];
  /** Folders and files of this machine, by absolute paths. */
  binds: readonly { source: string; target: string; isReadOnly: boolean }[];
  network: 'default' | 'none' | 'host';
  capabilities?: { add: readonly string[]; drop: readonly string[] };
  isPrivileged?: boolean;
  extraHosts?: readonly { host: string; ip: string }[];
  ulimits?: readonly { name: string; soft: bigint; hard: bigint }[];
  devices?: readonly string[];
  shmSizeBytes?: number;
  terminal: boolean;
  stdin: boolean;
  /** Reads what it says, and may write and signal to it, until it has ended. */
  attend(running: RunningStep): Promise<void>;
}
