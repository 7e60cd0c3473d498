export {
  type CopyOptions,
  type CopyResult,
  canonical,
  canonicalName,
  loadRegistriesConf,
  openCredentials,
  parseManifest,
  parsePlatform,
  parseReference,
  parseScope,
  parseTransport,
  removeLogin,
  removeLogins,
  type StoredLogin,
  storeLogin,
} from '../image/index.ts';
export { BodyDecoder, bodyState } from '../storage/index.ts';
export { cacheQuestion } from './builds/cache-filters.ts';
export { type ClientSide, openClientSide } from './builds/client-side.ts';
export { frontendCalls, frontendGateway } from './builds/frontend-calls.ts';
export { type Caller, formatCaller, peerOf } from './callers.ts';
export { type EngineConfig, loadConfig, type ServeSettings, serveSettings } from './config.ts';
export { Engine } from './engine.ts';
export { healthTimes, nextProbeMs } from './health.ts';
export type { ImageMount } from './image-mounts.ts';
export { tryBecomeKeeper } from './keeper-process.ts';
export { openConfiguredRegistries } from './registries.ts';
export { RepeatedFailure } from './repeated-failure.ts';
export { currentRequest, type RequestContext, withinRequest } from './request-context.ts';
export { makeNamespaces } from './rootless/make-namespaces.ts';
export { type ScanDatabaseUpdate, updateScanDatabase } from './scan-database.ts';
export {
  type MadeSignature,
  newSigningKeys,
  type SigningParts,
  type SignRequest,
  signImage,
  type Verification,
  type VerifyRequest,
  verifyImage,
} from './signing.ts';
export type { Startable } from './start-order.ts';
export { planSync, type SyncRequest, type SyncStep } from './sync-plan.ts';
export { inspectSource, nameOf } from './transport-inspect.ts';
export { Transports } from './transports.ts';
export * from './types.ts';
