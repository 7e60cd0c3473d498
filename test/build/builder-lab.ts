import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BuilderParts, BuildSession, OperationContext, StepNetwork, Tree } from '../../src/build/index.ts';
import { TareError } from '../../src/errors/index.ts';
import { removeCgroup } from '../../src/linux/index.ts';
import { openRuntime, type RuntimeBinary, readHostFacts, SeccompCache } from '../../src/runtime/index.ts';
import { Database, Locks } from '../../src/state/index.ts';
import { type LayerStore, openContentStore, openLayerStore } from '../../src/storage/index.ts';
import { busyboxImage } from '../support/image.ts';

const nothing: StepNetwork = {
  path: undefined,
  resolvConf: '',
  spoil: () => undefined,
  async [Symbol.asyncDispose]() {},
};

/** The stores and the runtime that a builder works with, with no engine around them. */
export class BuilderLab implements AsyncDisposable {
  readonly root: string;
  readonly parts: BuilderParts;
  /** Of the busybox image. */
  readonly busybox: Tree;
  /** With the places that every step's mounts need on top of it, so that a step's layer shows what the step itself did. */
  readonly base: Tree;
  readonly #resources: AsyncDisposableStack;
  /** What fails where nobody waits. */
  readonly reports: string[] = [];

  private constructor(
    root: string,
    parts: BuilderParts,
    { busybox, base }: { busybox: Tree; base: Tree },
    resources: AsyncDisposableStack,
  ) {
    this.root = root;
    this.parts = parts;
    this.busybox = busybox;
    this.base = base;
    this.#resources = resources;
  }

  /** @param root of another lab, to be a second process beside it */
  static async open(root = mkdtempSync(join(tmpdir(), 'tare-build-'))): Promise<BuilderLab> {
    await using resources = new AsyncDisposableStack();
    for (const name of ['run', 'build', 'run/builds']) mkdirSync(join(root, name), { recursive: true, mode: 0o700 });
    const db = resources.use(await Database.open(join(root, 'tare.db')));
    const content = resources.use(await openContentStore(join(root, 'content')));
    const layers = resources.use(
      await openLayerStore({
        directory: join(root, 'layers'),
        snapshotDirectory: join(root, 'snapshots'),
        driver: 'overlay',
      }),
    );
    const busybox: Tree = { layers: [(await layers.apply({ path: busyboxImage().rootfs })).diffID] };
    const base = await withPlaces(layers, busybox);
    const runtime = resources.use(openRuntime({ execRoot: join(root, 'run') }));
    const binary: RuntimeBinary = { name: 'crun', path: '/usr/bin/crun', args: [] };
    // The same in every process of a lab.
    const instance = `tare-lab-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;
    resources.defer(() => void removeCgroup(`/${instance}`));
    const unknown = () => Promise.reject(new TareError('Unsupported', 'the lab has no registries'));
    const lab: { reports: string[] } = { reports: [] };
    const parts: BuilderParts = {
      directory: join(root, 'build'),
      execDirectory: join(root, 'run/builds'),
      ...{ instance, version: '0', db, content, layers, runtime },
      locks: new Locks(join(root, 'run/locks')),
      runtimeBinary: () => binary,
      facts: readHostFacts(),
      seccomp: new SeccompCache(join(root, 'run/seccomp')),
      images: { resolve: unknown, pull: unknown, repository: unknown, record: unknown } as never,
      network: async (mode) => (mode === 'host' ? nothing : { ...nothing, resolvConf: 'nameserver 192.0.2.1\n' }),
      cgroupParent: `/${instance}`,
      holdContent: async () => ({ async [Symbol.asyncDispose]() {} }),
      now: Date.now,
      report: (subject, error) => void lab.reports.push(`${subject}: ${error}`),
    };
    return new BuilderLab(root, parts, { busybox, base }, resources.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

async function withPlaces(layers: LayerStore, { layers: parents }: Tree): Promise<Tree> {
  const key = `places-${process.pid}`;
  await layers.prepare(key, parents, { isTransient: true, isBare: true });
  const root = layers.mount(key, { volatile: true });
  for (const name of ['dev', 'etc', 'proc', 'sys']) mkdirSync(join(root, name), { recursive: true });
  for (const name of ['hosts', 'resolv.conf']) writeFileSync(join(root, 'etc', name), '');
  layers.unmount(key);
  return { layers: [...parents, await layers.freeze(key)] };
}

/** What an operation is given, with all that it says. */
export function operationContext(
  how: {
    secrets?: Record<string, string>;
    session?: Partial<BuildSession>;
    allowed?: string[];
    signal?: AbortSignal;
    keepsFailures?: boolean;
  } = {},
): OperationContext & { output(): string } {
  let output = '';
  const session = {
    secret: async (id: string) => {
      const text = how.secrets?.[id];
      if (text === undefined) throw new TareError('NotFound', `no secret ${id}`);
      return Buffer.from(text);
    },
    requireSshAgent: async (id: string) => {
      throw new TareError('NotFound', `no agent ${id}`);
    },
    ...how.session,
  } as BuildSession;
  return {
    signal: how.signal ?? new AbortController().signal,
    progress: {
      log: (_stream, bytes) => {
        output += Buffer.from(bytes).toString();
      },
      status: () => undefined,
      warn: () => undefined,
    },
    sessions: () => [session],
    allows: (entitlement) => how.allowed?.includes(entitlement) ?? false,
    keepsFailures: () => how.keepsFailures === true,
    output: () => output,
  };
}
