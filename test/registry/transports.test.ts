import { afterAll, beforeAll } from 'vitest';
import { ImageLab } from '../../src/engine/image-archives.fixture.ts';
import { openDestination, openSource, parseTransport, type Registries } from '../../src/image/index.ts';
import { type TransportPlace, transportContract } from '../../src/image/transports/contract.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { opened } from './opened.ts';

// The contract of transports that are more than files; src/image/transports/files.test.ts has the others.

let registry: TestRegistry;
let registries: Registries & Disposable;
let count = 0;

beforeAll(async () => {
  registry = await startRegistry();
  registries = opened();
});
afterAll(async () => {
  registries[Symbol.dispose]();
  await registry[Symbol.asyncDispose]();
});

const none = () => Promise.reject(new Error('registries only'));

transportContract('docker', async (): Promise<TransportPlace> => {
  count += 1;
  const name = parseTransport(`docker://${registry.address}/contract/${count}:v1`);
  const parts = { registries: async () => registries, localSource: none, localDestination: none };
  return {
    source: () => openSource(name, parts),
    destination: () => openDestination(name, parts),
    [Symbol.asyncDispose]: async () => {},
  };
});

transportContract('local', async (): Promise<TransportPlace> => {
  const lab = await ImageLab.open();
  return {
    source: () => lab.images.openSource('contract:v1', { all: true }),
    destination: () => lab.images.openDestination('contract:v1', { all: true }),
    [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
  };
});
