import type { Duplex } from 'node:stream';
import type { BuildRequest, BuildResult } from '../../../build/index.ts';
import type { BuildOutcome } from '../../../engine/index.ts';
import type { ServedSession } from './serve-session.ts';

/** A build for a daemon, with the session that it may ask. */
export interface RemoteBuild extends ServedSession {
  request: Omit<BuildRequest, 'session' | 'ref' | 'drive' | 'onFailure'>;
  /** The daemon is asked how it was made. */
  wantsProvenance?: boolean;
}

/** What comes back of a build. */
export interface RemoteResult extends Pick<BuildResult, 'exporterResponse' | 'metadata'> {
  provenance?: NonNullable<BuildOutcome['provenance']>;
}

/** A way to a daemon: connections that it turns into HTTP/2. */
export interface DaemonConnections {
  open(path: '/grpc' | '/session', headers: Readonly<Record<string, string | readonly string[]>>): Promise<Duplex>;
}
