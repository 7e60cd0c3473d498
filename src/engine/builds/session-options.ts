/** A secret of the one who builds: a file of his, an environment variable, or the bytes themselves. */
export type SecretSource = { file: string } | { variable: string } | { bytes: Uint8Array };

/** What an exporter writes at the one who builds. */
export type OutputDestination =
  | { folder: string }
  | { file: string }
  | { write(chunk: Uint8Array): Promise<void>; end(): Promise<void> };

/** What a build may ask of who asked for it: the session of one process's own build is made of this. */
export interface SessionOptions {
  /** Same from build to build of one folder: then only what changed is read again. */
  sharedKey?: string;
  /** Its folders are not those of the build before, whatever their times say. */
  isOneTime?: boolean;
  /** Folders by the names that the frontend knows: `context`, `dockerfile`, named contexts. */
  folders?: Readonly<Record<string, string>>;
  /** By id. */
  secrets?: Readonly<Record<string, SecretSource>>;
  /** Agents by id: the path of an agent's socket; undefined: `SSH_AUTH_SOCK`. */
  sshAgents?: Readonly<Record<string, string | undefined>>;
  /** By exporter id, its position among the exporters. */
  outputs?: Readonly<Record<string, OutputDestination>>;
  /** Bodies by id: a context or a Dockerfile on standard input. Each is read once. */
  uploads?: Readonly<Record<string, AsyncIterable<Uint8Array>>>;
  /** OCI layouts by store id: folders. Those of caches are made when they are written to. */
  contentStores?: Readonly<Record<string, string>>;
  /** By registry, `HOST[:PORT]` or `docker.io`. */
  registryAuth?: Readonly<Record<string, { username: string; secret: string }>>;
  /** The user's stored credentials are used for registries that `registryAuth` has nothing for. */
  asUser?: boolean;
}
