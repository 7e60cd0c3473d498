import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { gateway } from '../../protocol/index.ts';
import type { FrontendCalls } from './frontend-calls.ts';

/**
 * `moby.buildkit.v1.frontend.LLBBridge`.
 *
 * @param callsOf the frontend that a call is of
 */
export function bridgeService(
  callsOf: (context: HandlerContext) => FrontendCalls | Promise<FrontendCalls>,
): Partial<ServiceImpl<typeof gateway.LLBBridge>> {
  return {
    ping: async (request, context) => (await callsOf(context)).ping(request),
    inputs: async (request, context) => (await callsOf(context)).inputs(request),
    resolveImageConfig: async (request, context) => (await callsOf(context)).resolveImageConfig(request),
    resolveSourceMeta: async (request, context) => (await callsOf(context)).resolveSourceMeta(request),
    solve: async (request, context) => (await callsOf(context)).solve(request),
    readFile: async (request, context) => (await callsOf(context)).readFile(request),
    readDir: async (request, context) => (await callsOf(context)).readDir(request),
    statFile: async (request, context) => (await callsOf(context)).statFile(request),
    evaluate: async (request, context) => (await callsOf(context)).evaluate(request),
    return: async (request, context) => (await callsOf(context)).return(request),
    newContainer: async (request, context) => (await callsOf(context)).newContainer(request),
    releaseContainer: async (request, context) => (await callsOf(context)).releaseContainer(request),
    async *execProcess(messages, context) {
      yield* (await callsOf(context)).execProcess(messages);
    },
    warn: async (request, context) => (await callsOf(context)).warn(request),
  };
}
