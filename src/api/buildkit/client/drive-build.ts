import type { ClientHttp2Session } from 'node:http2';
import { create, fromBinary } from '@bufbuild/protobuf';
import type { FailedCommand } from '../../../build/index.ts';
import { messageOf } from '../../../errors/index.ts';
import { gateway, status } from '../../../protocol/index.ts';
import { CallFailed } from '../session/grpc-call.ts';
import { bridgeOf, type DrivenBuild } from './driven-build.ts';
import type { RemoteBuild, RemoteResult } from './remote-build.ts';
import { remoteCommand } from './remote-command.ts';
import { RemoteBuildFailed } from './remote-failure.ts';
import { solve, solveRequest } from './solve.ts';

const UNKNOWN = 2;

/**
 * A build in which this end does what a frontend does: it asks for the result, and hands it back to be exported. So a question to a
 * frontend gets its answer, and a command that failed can be looked into before the build is over.
 */
export async function driveBuild(
  http2: ClientHttp2Session,
  build: RemoteBuild,
  ref: string,
  signal: AbortSignal,
  onFailure?: (failed: FailedCommand) => Promise<void>,
): Promise<RemoteResult> {
  const { frontend = '', frontendOptions } = build.request;
  const driven = solveRequest(build, ref);
  driven.Frontend = '';
  driven.FrontendAttrs = {};
  const running = solve(http2, driven, signal);
  running.catch(() => {}); // told below
  const bridge = bridgeOf(http2, ref, signal);
  const { solve: ask, return: giveBack } = gateway.LLBBridge.method;
  let result: gateway.Result | undefined;
  try {
    const question = { Frontend: frontend, FrontendOpt: { ...frontendOptions }, Evaluate: onFailure !== undefined };
    const answer = await bridge.call(ask, { ...question, allowResultReturn: true, allowResultArrayRef: true });
    result = answer.result;
  } catch (error) {
    if (onFailure !== undefined && error instanceof CallFailed) await lookInto(bridge, error, onFailure);
    const { details } = statusOf(error);
    await bridge.call(giveBack, { error: { code: UNKNOWN, message: messageOf(error), details } }).catch(() => {});
    throw error;
  }
  await bridge.call(giveBack, { result: result ?? create(gateway.ResultSchema) });
  const { ExporterResponse } = await running;
  return { exporterResponse: ExporterResponse, metadata: new Map(Object.entries(result?.metadata ?? {})) };
}

async function lookInto(
  bridge: DrivenBuild,
  failure: CallFailed,
  onFailure: (failed: FailedCommand) => Promise<void>,
): Promise<void> {
  const command = remoteCommand(bridge, new RemoteBuildFailed(failure), statusOf(failure).details);
  if (command === undefined) return;
  await using failed = command;
  await onFailure(failed);
}

function statusOf(error: unknown): status.Status {
  const text = error instanceof CallFailed ? error.status : undefined;
  try {
    return fromBinary(status.StatusSchema, Buffer.from(text ?? '', 'base64'));
  } catch {
    // Somebody else's words.
    return create(status.StatusSchema);
  }
}
