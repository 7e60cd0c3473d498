import { create } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { FrontendBridge, FrontendResult } from '../../build/index.ts';
import { type BuildService, frontendCalls } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import { control, worker } from '../../protocol/index.ts';
import { audited, type BuildAuditEntry } from './audit.ts';
import { buildRequestOf, pruneOf } from './from-wire.ts';
import type { RunningBuilds } from './running-builds.ts';
import type { Sessions } from './sessions.ts';
import { usageMessage, workerRecord } from './to-wire.ts';
import { tunnel } from './tunnel.ts';

export interface ControlParts {
  builds: BuildService;
  /** Ours, as `buildx inspect` shows it. */
  version: string;
  sessions: Sessions;
  running: RunningBuilds;
  /** Told of each build when it is over. */
  audit?: ((entry: BuildAuditEntry) => void) | undefined;
}

/** `moby.buildkit.v1.Control`. */
export function controlService(parts: ControlParts): Partial<ServiceImpl<typeof control.Control>> {
  const { builds, sessions, version } = parts;
  const buildkitVersion = create(worker.BuildkitVersionSchema, {
    package: 'tare',
    // The protocol's, by which clients decide what they may ask.
    version: 'v0.25.0',
    revision: version,
  });
  return {
    solve: (request, { signal }) => audited(parts.audit, () => solve(parts, request, signal)),

    async *status({ Ref }, { signal }) {
      // Who refused the build tells why; the end of this stream is what clients wait for before they show it.
      using over = parts.running.end(Ref);
      yield* (await builds.history()).status(Ref, signal, over.signal);
    },

    async *session(messages, context: HandlerContext) {
      const connection = tunnel(messages);
      const headers = Object.fromEntries(context.requestHeader);
      const served = sessions.serve(connection.duplex, headers);
      context.signal.addEventListener('abort', () => connection.duplex.destroy(), { once: true });
      try {
        for await (const data of connection.output) yield create(control.BytesMessageSchema, { data });
      } finally {
        connection.duplex.destroy();
        await served;
      }
    },

    info: () => create(control.InfoResponseSchema, { buildkitVersion }),

    listWorkers: async () =>
      create(control.ListWorkersResponseSchema, {
        record: [workerRecord(await builds.worker(), await builds.policy(), buildkitVersion)],
      }),

    async diskUsage({ filter }) {
      const record = (await builds.usage(filter)).map(usageMessage);
      return create(control.DiskUsageResponseSchema, { record });
    },

    async *listenBuildHistory({ Ref, ActiveOnly, EarlyExit, Filter, Limit }, { signal, responseHeader }) {
      // By this clients reckon how long a build has been running.
      responseHeader.set('buildkit-current-timestamp', new Date().toISOString());
      const question = { ref: Ref, onlyRunning: ActiveOnly, filters: Filter, limit: Limit, follows: !EarlyExit };
      yield* (await builds.history()).events(question, signal);
    },

    async updateBuildHistory({ Ref, Pinned, Delete, Finalize }) {
      const history = await builds.history();
      if (Delete) await history.remove(Ref);
      // A record is whole once its build is over, with its trace.
      else if (!Finalize) await history.pin(Ref, Pinned);
      return create(control.UpdateBuildHistoryResponseSchema);
    },

    async *prune(request) {
      for await (const usage of builds.prune(pruneOf(request))) yield usageMessage(usage);
    },
  };
}

async function solve(
  { builds, sessions, running }: ControlParts,
  request: control.SolveRequest,
  signal: AbortSignal,
): Promise<control.SolveResponse> {
  const { promise: calls, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<typeof frontendCalls>>>();
  calls.catch(() => {}); // nobody may wait for them
  using _entry = running.add(request.Ref, { calls });
  using _end = { [Symbol.dispose]: () => reject(new TareError('Unavailable', `the build ${request.Ref} is over`)) };
  const asked = buildRequestOf(request);
  const session = await sessions.find(request.Session, signal);
  // A client that names neither a frontend nor a graph is its own frontend.
  const isDriven = asked.frontend === undefined && (asked.definition?.def.length ?? 0) === 0;
  const drive = async (bridge: FrontendBridge): Promise<FrontendResult> => {
    await using frontend = await frontendCalls(bridge);
    resolve(frontend);
    return await frontend.returned;
  };
  // Who asks for its progress asks the history.
  const { exporterResponse } = await builds.solve({ ...asked, session, ...(isDriven && { drive }) }, () => {}, signal);
  return create(control.SolveResponseSchema, { ExporterResponse: { ...exporterResponse } });
}
