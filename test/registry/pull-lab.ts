import { onTestFinished } from 'vitest';
import { ImageLab } from '../../src/engine/image-archives.fixture.ts';
import { loadRegistriesConf, openRegistries, type Registries } from '../../src/image/index.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';

/** The client's bounds, so small that a test need not wait. */
const limits = {
  connectTimeoutMs: 2000,
  headersTimeoutMs: 1000,
  idleTimeoutMs: 500,
  progressWindowMs: 1000,
  attempts: 3,
  backoffMs: 10,
  maxBackoffMs: 20,
  maxRetryAfterMs: 2000,
  resumptions: 2,
};

/** An image service that reaches a real registry through a proxy that may harm what passes. */
export interface PullLab extends ImageLab {
  registry: TestRegistry;
  proxy: FaultProxy;
  /** `name` as a reference on the proxy. */
  at(name: string): string;
  /** Pulls, and gives the statuses. */
  pull(name: string, options?: Parameters<ImageLab['images']['pull']>[1]): Promise<string[]>;
}

export function openTestRegistries(overrides: Partial<typeof limits> = {}): Registries & Disposable {
  return openRegistries({
    conf: loadRegistriesConf({ home: '/nonexistent', systemRoot: '/nonexistent', env: {} }),
    limits: { ...limits, ...overrides },
    env: {},
  });
}

export async function openPullLab(): Promise<PullLab> {
  const stack = new AsyncDisposableStack();
  onTestFinished(() => stack.disposeAsync());
  const registry = stack.use(await startRegistry());
  const proxy = stack.use(await startFaultProxy(registry));
  const registries = stack.use(openTestRegistries());
  const lab = stack.use(await ImageLab.open(undefined, { registries: async () => registries }));
  const at = (name: string) => `${proxy.address}/${name}`;
  return Object.assign(lab, {
    registry,
    proxy,
    at,
    pull: async (name: string, options?: Parameters<ImageLab['images']['pull']>[1]) => {
      const messages = await Array.fromAsync(lab.images.pull(at(name), options));
      return messages.map(({ id, status }) => (id === undefined ? status! : `${id}: ${status}`));
    },
  });
}

/** What was asked for blobs and manifests, in order: `GET blob 0123456789ab`. */
export const askedFor = (proxy: FaultProxy): string[] =>
  proxy.requests
    .map(({ method, path, headers }) => ({ method, path, range: headers.range }))
    .flatMap(({ method, path, range }) => {
      const found = /\/(blobs|manifests)\/(?:sha256:)?([^?]{1,12})/.exec(path);
      return found === null ? [] : [`${method} ${found[1]} ${found[2]}${range === undefined ? '' : ` ${range}`}`];
    });
