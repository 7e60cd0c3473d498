export { buildRemotely, type DaemonConnections, type RemoteBuild, type RemoteResult } from './build-remotely.ts';
