import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { FrontendCalls } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import type { gateway } from '../../protocol/index.ts';
import type { RunningBuilds } from './running-builds.ts';

const BUILD_WAIT_MS = 10_000;

/** `moby.buildkit.v1.frontend.LLBBridge` for clients that are their own frontends: each call names its build in a header. */
export function bridgeService(running: RunningBuilds): Partial<ServiceImpl<typeof gateway.LLBBridge>> {
  const callsOf = async ({ requestHeader, signal }: HandlerContext): Promise<FrontendCalls> => {
    const ref = requestHeader.get('buildkit-controlapi-buildid') ?? '';
    const build = await running.find(ref, BUILD_WAIT_MS, signal);
    if (!build) throw new TareError('NotFound', `no such job ${ref}`);
    const { promise: gone, reject } = Promise.withResolvers<never>();
    const giveUp = () => reject(new TareError('Unavailable', `the build ${ref} is over`));
    const timer = setTimeout(giveUp, BUILD_WAIT_MS);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await Promise.race([build.calls, gone]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    }
  };
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
    warn: async (request, context) => (await callsOf(context)).warn(request),
  };
}
