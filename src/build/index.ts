export type * from './build-types.ts';
export { type BuilderOptions, openBuilder } from './builder.ts';
export type * from './builder-parts.ts';
export type { CacheLimits, CachePolicy, CacheRule, SpaceLimit } from './cache/policy.ts';
export { parseIgnoreFile } from './dockerfile/ignore-file.ts';
export {
  type InstructionList,
  type ListedInstruction,
  listInstructions,
  readDefinitionFile,
} from './dockerfile/instruction-list.ts';
export { reconcileSteps } from './executor/reconcile-steps.ts';
export type { RunningStep, StepProcess } from './executor/step-container.ts';
export type * from './exporter.ts';
export type * from './frontend.ts';
export { bridgeService } from './gateway/bridge-service.ts';
export { FrontendCalls } from './gateway/frontend-calls.ts';
export { errorInterceptor } from './gateway/grpc-error.ts';
export type * from './history/history-types.ts';
export type * from './operation.ts';
export type * from './progress.ts';
export { makeScratch, type Scratch } from './scratch.ts';
export type * from './session.ts';
export { takeBackMountPlaces } from './snapshots/run-in.ts';
export type * from './snapshots/snapshot-types.ts';
export type * from './source-error.ts';
export { openLocalFolder } from './sources/local/local-folder.ts';
export type * from './tree.ts';
export type * from './vertex-error.ts';
