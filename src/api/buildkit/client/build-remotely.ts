import { randomUUID } from 'node:crypto';
import { type ClientHttp2Session, connect } from 'node:http2';
import type { Duplex } from 'node:stream';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { FailedCommand, ProgressSink } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import { control } from '../../../protocol/index.ts';
import { CallFailed, GrpcCall } from '../session/grpc-call.ts';
import { driveBuild } from './drive-build.ts';
import { progressOf } from './progress-of.ts';
import { recordedProvenance } from './recorded-provenance.ts';
import type { DaemonConnections, RemoteBuild, RemoteResult } from './remote-build.ts';
import { RemoteBuildFailed } from './remote-failure.ts';
import { serveSession, sessionMethods } from './serve-session.ts';
import { solve, solveRequest } from './solve.ts';

const SERVICE = '/moby.buildkit.v1.Control';
const WINDOW_BYTES = 4 << 20;
/** How long after a build's end the rest of its progress is waited for. */
const FAREWELL_MS = 3000;

/**
 * Has a daemon build. Whoever gives up by the signal cancels the build there.
 *
 * @param onFailure as in `BuildRequest`: the command's files are the daemon's
 * @throws {RemoteBuildFailed} with lines of files where the daemon tells of them; Unavailable: it is gone
 */
export async function buildRemotely(
  daemon: DaemonConnections,
  build: RemoteBuild,
  progress: ProgressSink,
  signal: AbortSignal,
  onFailure?: (failed: FailedCommand) => Promise<void>,
): Promise<RemoteResult> {
  signal.throwIfAborted();
  const { session, request } = build;
  const ref = randomUUID().replaceAll('-', '');
  using stack = new DisposableStack();
  const offered = await daemon.open('/session', {
    'x-docker-expose-session-uuid': session.id,
    'x-docker-expose-session-name': 'tare',
    // A folder's path, which may have signs that a header cannot.
    'x-docker-expose-session-sharedkey': encodeURIComponent(session.sharedKey),
    'x-docker-expose-session-grpc-method': sessionMethods,
  });
  /** What went wrong on this side: the daemon is told less of it. */
  const failures: unknown[] = [];
  stack.use(serveSession(offered, build, (error) => void failures.push(error)));
  const http2 = openHttp2(await daemon.open('/grpc', {}));
  stack.defer(() => http2.destroy());
  const told = followProgress(http2, ref, progress);
  const isQuestion = request.frontendOptions?.['requestid'] !== undefined;
  try {
    const isDriven = isQuestion || onFailure !== undefined;
    const result = isDriven
      ? await driveBuild(http2, build, ref, signal, onFailure)
      : await solved(http2, build, ref, signal);
    if (isQuestion || build.wantsProvenance !== true) return result;
    return { ...result, provenance: await recordedProvenance(http2, ref, signal) };
  } catch (error) {
    signal.throwIfAborted();
    if (failures.length > 0) throw failures[0];
    throw error instanceof CallFailed ? new RemoteBuildFailed(error) : error;
  } finally {
    await Promise.race([told, new Promise((resolve) => setTimeout(resolve, FAREWELL_MS).unref())]);
  }
}

async function solved(
  http2: ClientHttp2Session,
  build: RemoteBuild,
  ref: string,
  signal: AbortSignal,
): Promise<RemoteResult> {
  const { ExporterResponse } = await solve(http2, solveRequest(build, ref), signal);
  return { exporterResponse: ExporterResponse, metadata: new Map() };
}

function openHttp2(connection: Duplex): ClientHttp2Session {
  const session = connect('http://localhost', {
    createConnection: () => connection,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  });
  session.on('error', () => {}); // 'close' follows
  for (const gone of ['end', 'close']) connection.once(gone, () => session.destroy());
  return session;
}

/** Never fails: what becomes of a build is told by its own call. */
async function followProgress(http2: ClientHttp2Session, ref: string, progress: ProgressSink): Promise<void> {
  try {
    using call = new GrpcCall(http2, `${SERVICE}/Status`);
    await call.send(toBinary(control.StatusRequestSchema, create(control.StatusRequestSchema, { Ref: ref })));
    call.end();
    for await (const batch of call.batches())
      for (const message of batch) progress(progressOf(fromBinary(control.StatusResponseSchema, message)));
  } catch (error) {
    if (!(error instanceof TareError)) throw error;
  }
}
