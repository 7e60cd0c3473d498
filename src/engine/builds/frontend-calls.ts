import type { FrontendBridge, FrontendCalls } from '../../build/index.ts';

/** Calls of a client that is its own frontend, put to a build's bridge. */
export async function frontendCalls(bridge: FrontendBridge): Promise<FrontendCalls> {
  const { FrontendCalls } = await import('../../build/index.ts');
  return new FrontendCalls(bridge);
}

/** An error as BuildKit's clients read it. Loads the builder. */
export async function loadErrorStatus() {
  const { statusOf } = await import('../../build/index.ts');
  return statusOf;
}
