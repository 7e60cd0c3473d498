import type { Duplex } from 'node:stream';

/** An entry of a client's folder, as fsutil's `Stat` has it. */
export interface SentEntry {
  /** Relative, slash-separated, clean; parents come before what is in them, siblings in byte order. */
  path: string;
  /** As in st_mode. */
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  /** Nanoseconds since the epoch. */
  modifiedNs: bigint;
  /** Target of a symbolic link; of a hard link, the path of the entry that it is linked to. */
  linkname?: string;
  deviceMajor?: number;
  deviceMinor?: number;
  xattrs?: Readonly<Record<string, Uint8Array>>;
}

/** An entry that need not be looked into by who has its bytes already. */
export interface PackedEntry {
  /** Of one kind, equal bytes are equal entries. */
  readonly bytes: Uint8Array;
  /** Call it before the next batch is asked for. @throws {TareError} InvalidArgument: the bytes are no entry */
  unpack(): SentEntry;
}

/** What of a folder is wanted; patterns as in `.dockerignore`. */
export interface FolderFilter {
  includePatterns?: readonly string[];
  excludePatterns?: readonly string[];
  /** Paths whose symbolic links are followed, so that what they lead to is sent. */
  followPaths?: readonly string[];
  /** A single file is asked for, and its absence is no error. */
  isOptional?: boolean;
}

/** A client's folder while it is sent. Its entries are hostile: the receiver checks paths, types and sizes. */
export interface SentFolder extends AsyncDisposable {
  /** Read once, wholly, before or while contents are asked for. */
  readonly entries: AsyncIterable<SentEntry>;
  /** The same, several at a time: one of both is read. What their bytes are depends on the kind. */
  readonly packed?: { readonly kind: string; readonly batches: AsyncIterable<readonly PackedEntry[]> };
  /** Content of the regular file at this position among the entries; several may be open at once. */
  read(index: number): AsyncIterable<Uint8Array>;
  /** Where it lies on this machine, for a receiver that may read the files by itself: entries' paths are relative to it. */
  readonly directory?: string;
}

/** Credentials for a registry. */
export interface SessionCredentials {
  username: string;
  secret: string;
}

/** Where an exporter sends what it makes. */
export interface ExportSink extends AsyncDisposable {
  write(chunk: Uint8Array): Promise<void>;
  /** All is written. @throws what the client says */
  close(): Promise<void>;
}

/**
 * The client's side of a build, wherever it is: over a hijacked connection or in this process. All of it is as hostile as a network.
 * A session may end at any moment; what is asked then throws `Unavailable`.
 */
export interface BuildSession {
  readonly id: string;
  /** A key that stays the same for one client and folder from build to build, so that only what changed is sent. */
  readonly sharedKey: string;
  /** Whom the client belongs to, where clients are told apart: what is kept for one is not shown to another, whatever its keys are. */
  readonly owner?: string | undefined;
  /** Its folders are not those of the build before, whatever their times say: nothing of them is kept for the next. */
  readonly isOneTime?: boolean;
  /** Fires when the client is gone. */
  readonly ended: AbortSignal;
  /**
   * Another session by its id, which none can guess: builds that a client begins together take their folders from one session.
   * @throws {TareError} NotFound: it is not there, and did not come in time
   */
  sibling?(id: string, signal: AbortSignal): Promise<BuildSession>;
  /** @param name `context`, `dockerfile`, or what the client calls it @throws {TareError} NotFound: it has no such folder */
  folder(name: string, filter: FolderFilter, signal: AbortSignal): Promise<SentFolder>;
  /** @throws {TareError} NotFound: the client has no such secret; at most 500 KiB */
  secret(id: string): Promise<Uint8Array>;
  /** @throws {TareError} NotFound: no agent of this id */
  requireSshAgent(id: string): Promise<void>;
  /** A new connection to the client's agent. */
  sshAgent(id: string): Promise<Duplex>;
  /** What the client has stored for a registry; undefined: nothing. */
  credentials(host: string): Promise<SessionCredentials | undefined>;
  /** A file that the client takes (an archive), by exporter id. */
  fileSink(exporterID: string, metadata: Readonly<Record<string, string>>): Promise<ExportSink>;
  /** A folder that the client fills with what it is sent, by exporter id. */
  sendFolder(exporterID: string, folder: SentFolder, signal: AbortSignal): Promise<void>;
  /** A body that the client offers by id: a context on its standard input, at the address `http://buildkit-session/ID`. */
  upload(id: string): AsyncIterable<Uint8Array>;
  /** A content store at the client: OCI layouts as named contexts, caches of type local. */
  contentStore(storeID: string): SessionContentStore;
}

export interface SessionContentStore {
  info(digest: string): Promise<{ digest: string; sizeBytes: number; labels: Readonly<Record<string, string>> }>;
  /** @throws {TareError} NotFound */
  read(digest: string, offset?: number): AsyncIterable<Uint8Array>;
  /** Writes a blob; nothing when it is there. @param ref names the attempt */
  write(ref: string, expected: { digest: string; sizeBytes: number }, bytes: AsyncIterable<Uint8Array>): Promise<void>;
}
