export { buildRemotely } from './build-remotely.ts';
export type { DaemonConnections, RemoteBuild, RemoteResult } from './remote-build.ts';
