import type { NetworkService } from '../network/index.ts';
import type { HostFacts, Runtime, RuntimeBinary, SeccompCache } from '../runtime/index.ts';
import type { Database, Locks } from '../state/index.ts';
import type { DiffID, LayerStore, Platform } from '../storage/index.ts';
import type { CallerGuard } from './caller-policy.ts';
import type { EngineConfig } from './config.ts';
import type { ContainerStore } from './container-store.ts';
import type { HeldPorts } from './held-ports.ts';
import type { ImageCommit } from './image-commit.ts';
import type { Intents } from './intents.ts';
import type { NamesStandIn } from './name-stand-in.ts';
import type { ImageRecord } from './types.ts';
import type { Volumes } from './volumes.ts';

/** What the lifecycle needs of the image side. */
export interface ImageSource {
  /** @param platform wanted; undefined: the one that was chosen when the image came @throws {TareError} NotFound */
  resolve(ref: string, platform?: Platform): ImageRecord;
  /** Layers of an image, base first, unpacked again when they were lost. */
  ensureUnpacked(imageID: string): Promise<DiffID[]>;
  /** Asks the signature policy. @param asked the user's word for it @throws {TareError} Forbidden */
  requireTrusted(imageID: string, asked: string): Promise<void>;
  /** A container of this image is gone: if the image was removed before, what only that container needed goes. */
  release(imageID: string): Promise<void>;
  /** Keeps all blobs and layers until it is disposed. */
  hold(): Promise<AsyncDisposable>;
  /** Makes an image of another one and a layer above it. @returns its id */
  commit(request: ImageCommit): Promise<string>;
}

/** Sessions that attached before the start, and the one who joins them to the container. */
export interface PendingAttachments {
  /** Joins waiting sessions to the attach socket in this bundle, and ends the input there; between the runtime's create and start. */
  connect(containerID: string, bundle: string, endsInput: boolean): Promise<void>;
  /** The container did not start: ends waiting sessions. */
  fail(containerID: string): void;
}

/** What the use-cases of a container's life work with. */
export interface EngineParts {
  config: EngineConfig;
  /** See `instanceName`. */
  instance: string;
  db: Database;
  locks: Locks;
  intents: Intents;
  store: ContainerStore;
  images: ImageSource;
  layers: LayerStore;
  volumes: Volumes;
  networks: NetworkService;
  runtime: Runtime;
  facts: HostFacts;
  seccomp: SeccompCache;
  attachments: PendingAttachments;
  heldPorts: HeldPorts;
  names: NamesStandIn;
  guard: CallerGuard;
  /** Removes the records and folders of a container's execs. */
  forgetExecs(containerID: string): Promise<void>;
  /** Told of what fails where no caller waits. */
  onError(subject: string, error: unknown): void;
  /** Makes sure that the keeper runs. */
  wakeKeeper(): void;
  /** @throws {TareError} InvalidArgument: no runtime has this name */
  runtimeFor(name: string): RuntimeBinary;
}
