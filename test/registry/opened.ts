import type { RegistryLimits } from '../../src/image/index.ts';
import { type OpenRegistriesOptions, openRegistries, type Reference, type Registries } from '../../src/image/index.ts';

/** Bounds so small that every fault is met within a test. */
export const quick: Partial<RegistryLimits> = {
  connectTimeoutMs: 2000,
  headersTimeoutMs: 1000,
  idleTimeoutMs: 1000,
  progressWindowMs: 500,
  progressBytes: 1000,
  attempts: 3,
  backoffMs: 5,
  maxBackoffMs: 20,
  maxRetryAfterMs: 2000,
};

/** No registries.conf: every reference is where it says. */
export const plainConf: OpenRegistriesOptions['conf'] = {
  lookup: ({ domain, path, tag, digest }: Reference) => [
    {
      domain,
      path,
      ...(tag === undefined ? {} : { tag }),
      ...(digest === undefined ? {} : { digest }),
      insecure: false,
      isMirror: false,
    },
  ],
  isInsecure: () => false,
  refuseBlocked: () => {},
  candidates: () => [],
};

export function opened(options: Partial<OpenRegistriesOptions> = {}): Registries & Disposable {
  return openRegistries({ conf: plainConf, env: {}, ...options, limits: { ...quick, ...options.limits } });
}

export async function collected(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(bytes));
}
