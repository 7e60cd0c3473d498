import type { HandlerContext } from '@connectrpc/connect';
import type { FrontendCalls } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import type { RunningBuilds } from './running-builds.ts';

const BUILD_WAIT_MS = 10_000;

/** The frontend that a call of `LLBBridge` is of, where a client is its own: each call names its build in a header. */
export function callsByHeader(running: RunningBuilds): (context: HandlerContext) => Promise<FrontendCalls> {
  return async ({ requestHeader, signal }) => {
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
}
