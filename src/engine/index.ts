export {
  type CopyOptions,
  type CopyProgress,
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
export {
  type ConfigFlags,
  configuredHosts,
  DEFAULT_DATA_ROOT,
  DEFAULT_EXEC_ROOT,
  type EngineConfig,
  instanceName,
  loadConfig,
} from './config.ts';
export { Engine, type OpenOptions } from './engine.ts';
export { parseDuration, parseTime } from './filters.ts';
export { healthTimes, nextProbeMs } from './health.ts';
export type { ImageMount, ImageMountService } from './image-mounts.ts';
export { tryBecomeKeeper } from './keeper-process.ts';
export { openConfiguredRegistries, type RegistryAccess } from './registries.ts';
export { defaultEcosystems, OSV_URL, type ScanDatabaseUpdate, updateScanDatabase } from './scan-database.ts';
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
export { planSync, type SyncPlan, type SyncRequest, type SyncStep } from './sync-plan.ts';
export { type InspectedImage, inspectSource, nameOf } from './transport-inspect.ts';
export { type CopyRequest, Transports } from './transports.ts';
export * from './types.ts';
export { version } from './version.ts';
