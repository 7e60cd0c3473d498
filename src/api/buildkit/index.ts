export { type BuildApi, type BuildApiOptions, openBuildApi } from './build-api.ts';
