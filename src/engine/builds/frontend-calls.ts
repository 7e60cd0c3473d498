import type { FrontendBridge, FrontendCalls } from '../../build/index.ts';

/** Calls of a client that is its own frontend, put to a build's bridge. Dispose it when the client has no more to ask. */
export async function frontendCalls(bridge: FrontendBridge): Promise<FrontendCalls> {
  const { FrontendCalls } = await import('../../build/index.ts');
  return new FrontendCalls(bridge);
}

/** How calls of frontends are served over gRPC, and errors told there; it comes with the builder. */
export async function frontendGateway() {
  const { bridgeService, errorInterceptor } = await import('../../build/index.ts');
  return { bridgeService, errorInterceptor };
}
