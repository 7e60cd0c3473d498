export type { BuildAuditEntry } from './audit.ts';
export { type BuildApi, type BuildApiOptions, openBuildApi } from './build-api.ts';
