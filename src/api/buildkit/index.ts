export { type BuildApi, type BuildApiOptions, openBuildApi } from './build-api.ts';
export { listenForBuilds } from './listen.ts';
