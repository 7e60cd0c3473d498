import type { BuildRequest, TypedOptions } from '../../build/index.ts';
import type { SecretSource, SessionOptions } from './session-options.ts';

/** Where files of a build come from. */
export type ContextSource =
  | { folder: string }
  /** A tar, packed or not, or a single Dockerfile. */
  | { stream: AsyncIterable<Uint8Array> }
  /** A tar, packed or not, to which its ignore file was applied by whoever sends it. Unpacked before the build begins. */
  | { archive: AsyncIterable<Uint8Array> }
  /** The folder of a session that is not of this process. */
  | { ofSession: true }
  /** `https://…`, `git://…`, `https://….git#ref:folder`, fetched by the builder. */
  | { url: string };

/** What becomes of the result. */
export interface BuildOutput extends TypedOptions {
  /** For `local`, `tar`, `oci` and `docker`: where it goes; undefined for others. */
  destination?: NonNullable<SessionOptions['outputs']>[string];
}

/** A build in the words of its user. */
export interface BuildOptions {
  context: ContextSource;
  /** Path of the Dockerfile, inside a context folder or anywhere; in a stream or at a URL relative to its top. Or its bytes. */
  dockerfile?: { path: string } | { bytes: Uint8Array };
  target?: string;
  /** A missing value is taken from nowhere: the argument stays unset. */
  buildArgs?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  /** Names of the image. */
  tags?: readonly string[];
  /** `linux/amd64` …; none: the builder's own. */
  platforms?: readonly string[];
  /** Further contexts by name: a folder, or `docker-image://…`, `oci-layout://FOLDER[:TAG][@DIGEST]`, `https://…`, `target:…`. */
  contexts?: Readonly<Record<string, string>>;
  /** True: nothing is taken from the cache; names: not for these stages. */
  noCache?: boolean | readonly string[];
  /** Ask registries for newer images. */
  pull?: boolean;
  /** `default`, `none`, `host`. */
  network?: string;
  /** `NAME:ADDRESS`, `NAME=ADDRESS`. */
  extraHosts?: readonly string[];
  shmSizeBytes?: number;
  /** `nofile=1024:2048` */
  ulimits?: readonly string[];
  cgroupParent?: string;
  /** What each of its commands may use; of a step that is found in the cache, nothing is asked. */
  limits?: NonNullable<BuildRequest['limits']>;
  /** CDI names, or `vendor.com/class=device,required`. */
  devices?: readonly string[];
  /** `network.host`, `security.insecure` … */
  allow?: readonly string[];
  /** Credentials for registries, by `HOST[:PORT]` or `docker.io`; an identity token has no user. */
  registryAuth?: SessionOptions['registryAuth'];
  secrets?: Readonly<Record<string, SecretSource>>;
  sshAgents?: Readonly<Record<string, string | undefined>>;
  /** None: the image goes into the store. */
  outputs?: readonly BuildOutput[];
  cacheFrom?: readonly TypedOptions[];
  cacheTo?: readonly TypedOptions[];
  annotations?: readonly string[];
  /** `provenance`, `sbom` with their options; '' for none of their own. */
  attestations?: Readonly<Record<string, string>>;
  /** Seconds since 1970, for times in the image. */
  sourceDateEpoch?: number;
  /** A question instead of a build: `frontend.lint`, `frontend.outline`, `frontend.targets`. */
  question?: string;
}

/** A request of a builder, and what its session has to offer. */
export interface PlannedBuild {
  request: Omit<BuildRequest, 'session' | 'ref' | 'drive'>;
  session: SessionOptions;
}
