import type { BuildService } from './builds/build-service.ts';
import type { ContainerService, ExecService } from './container-service.ts';
import type { EgressService } from './egress-types.ts';
import type { EventService } from './event-types.ts';
import type { ImageService } from './image-types.ts';
import type { NetworksService } from './network-types.ts';
import type { SystemService } from './system-types.ts';
import type { VolumeService } from './volume-types.ts';

export type * from './builds/build-options.ts';
export type * from './builds/build-service.ts';
export type * from './builds/instruction-events.ts';
export type * from './builds/session-options.ts';
export type {
  ClearedList,
  CommitOptions as WorkingCommitOptions,
  ConfigChanges,
  CopyOptions,
  FromOptions,
  RunningCommand,
  RunOptions,
  WorkingContainer,
  WorkingContainerView,
  WorkingMount,
} from './builds/working/working-types.ts';
export * from './checkpoints/checkpoint-types.ts';
export * from './container-service.ts';
export * from './container-types.ts';
export * from './egress-types.ts';
export * from './event-types.ts';
export * from './filter-types.ts';
export * from './image-types.ts';
export * from './network-types.ts';
export * from './system-types.ts';
export * from './verify-types.ts';
export * from './volume-types.ts';

/** The product's verbs, by what they are about. */
export interface EngineServices {
  containers: ContainerService;
  execs: ExecService;
  images: ImageService;
  volumes: VolumeService;
  networks: NetworksService;
  egress: EgressService;
  events: EventService;
  system: SystemService;
  builds: BuildService;
}
