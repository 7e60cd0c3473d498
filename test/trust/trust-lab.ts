import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ImageLab } from '../../src/engine/image-archives.fixture.ts';
import { type ImageTrust, openTrust } from '../../src/engine/image-trust.ts';
import { type SigningParts, type SignRequest, signImage } from '../../src/engine/signing.ts';
import { openTestRegistries } from '../registry/pull-lab.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type SeededImage, startRegistry, type TestRegistry } from '../support/registry.ts';
import { tar } from '../support/tar.ts';

/** An image service with a signature policy, and a real registry to pull from. */
export interface TrustLab extends ImageLab {
  registry: TestRegistry;
  proxy: FaultProxy;
  /** Where registries.d is. */
  lookasides: string;
  /** `name` as a reference on the proxy. */
  at(name: string): string;
  /** An image of one small layer. @param tag undefined: by digest alone */
  seed(repository: string, tag: string | undefined, content?: string, arch?: string): Promise<SeededImage>;
  setPolicy(policy: object): void;
  pull(name: string): Promise<void>;
  /** What start asks about an image. @returns its refusal, '' when it may run */
  run(name: string): Promise<string>;
  sign(ref: string, request: Pick<SignRequest, 'key'> & Partial<SignRequest>): ReturnType<typeof signImage>;
  parts: SigningParts;
}

export const here = process.arch === 'arm64' ? 'arm64' : 'amd64';

export async function openTrustLab(): Promise<TrustLab> {
  const stack = new AsyncDisposableStack();
  onTestFinished(() => stack.disposeAsync());
  const registry = stack.use(await startRegistry());
  const proxy = stack.use(await startFaultProxy(registry));
  const registries = stack.use(openTestRegistries());
  // The lab makes the stores that the policy's keeper writes to.
  let opened: ImageTrust | undefined;
  const trust: ImageTrust = {
    checkPull: (...args) => opened!.checkPull(...args),
    checkLoad: (...args) => opened!.checkLoad(...args),
    checkRun: (...args) => opened!.checkRun(...args),
  };
  const lab = stack.use(await ImageLab.open(undefined, { registries: async () => registries, trust }));
  const [policy, lookasides] = [join(lab.root, 'policy.json'), join(lab.root, 'registries.d')];
  mkdirSync(lookasides);
  const settings = { signaturePolicy: policy, registriesFolder: lookasides };
  opened = openTrust(lab.content, settings);
  const parts: SigningParts = { registries: async () => registries, images: async () => lab.images, settings };
  const at = (name: string) => `${proxy.address}/${name}`;
  return Object.assign(lab, {
    ...{ registry, proxy, lookasides, at, parts },
    seed: (repository: string, tag: string | undefined, content = 'content', arch = here) =>
      registry.seed(repository, tag, {
        layers: [tar([{ path: 'file', content }])],
        platform: { architecture: arch, os: 'linux' },
      }),
    setPolicy: (document: object) => writeFileSync(policy, JSON.stringify(document)),
    pull: async (name: string) => {
      await Array.fromAsync(lab.images.pull(at(name)));
    },
    run: async (name: string) => {
      try {
        await lab.images.requireTrusted(lab.images.resolve(name).id, name);
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    },
    sign: (ref: string, request: Pick<SignRequest, 'key'> & Partial<SignRequest>) =>
      signImage(parts, ref, {
        ...{ keyName: 'key', annotations: {}, as: 'tag', stores: true, password: async () => 'none' },
        ...request,
      }),
  });
}
