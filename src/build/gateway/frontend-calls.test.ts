import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { gateway } from '../../protocol/index.ts';
import type { BridgeRef, FrontendBridge } from '../frontend.ts';
import { FrontendCalls } from './frontend-calls.ts';

const bridgeOf = (parts: Partial<FrontendBridge>): FrontendBridge =>
  ({ signal: new AbortController().signal, keepFailures: () => {}, sessionID: 's', ...parts }) as FrontendBridge;

test('a frontend asks only so often, and its names for what it asks are short', async () => {
  const names: string[] = [];
  await using calls = new FrontendCalls(
    bridgeOf({
      resolveImageConfig: async (ref, { logName }) => {
        names.push(logName);
        return { ref, digest: '', config: new Uint8Array() };
      },
    }),
  );
  const question = create(gateway.ResolveImageConfigRequestSchema, { Ref: 'x', LogName: 'y'.repeat(100_000) });
  const ask = async () => {
    for (let asked = 0; asked <= 20_000; asked += 1) await calls.resolveImageConfig(question);
  };
  await expect(ask()).rejects.toThrow(/asks more than 20000 questions/);
  expect(names.length).toBe(20_000);
  expect(names[0]!.length).toBe(1_000);
});

test('a question that is given no name is called by a short one, whatever it asks for', async () => {
  const names: string[] = [];
  const resolveImageConfig: FrontendBridge['resolveImageConfig'] = async (ref, { logName }) => {
    names.push(logName);
    return { ref, digest: '', config: new Uint8Array() };
  };
  await using calls = new FrontendCalls(bridgeOf({ resolveImageConfig }));
  const Ref = 'x'.repeat(100_000);
  await calls.resolveImageConfig(create(gateway.ResolveImageConfigRequestSchema, { Ref }));
  await calls.resolveSourceMeta(
    create(gateway.ResolveSourceMetaRequestSchema, { Source: { identifier: `docker-image://${Ref}` } }),
  );
  expect(names.map(({ length }) => length)).toEqual([1_000, 1_000]);
});

test('a container has so many mounts at most', async () => {
  await using calls = new FrontendCalls(bridgeOf({}));
  const Mounts = Array.from({ length: 1_001 }, () => ({ dest: '/m' }));
  const request = create(gateway.NewContainerRequestSchema, { ContainerID: 'c', Mounts });
  await expect(calls.newContainer(request)).rejects.toThrow('a container with 1001 mounts: at most 1000');
});

test('what a frontend says beside a definition counts as well, for the build keeps it', async () => {
  const solve: FrontendBridge['solve'] = async () => ({
    refs: new Map(),
    metadata: new Map(),
    attestations: new Map(),
  });
  await using calls = new FrontendCalls(bridgeOf({ solve }));
  const text = 'x'.repeat(8 << 20);
  const metadata = { one: { description: { 'llb.customname': text } } };
  const requests = [
    create(gateway.SolveRequestSchema, { Definition: { metadata } }),
    create(gateway.SolveRequestSchema, { Frontend: 'dockerfile.v0', FrontendOpt: { text } }),
  ];
  const ask = async () => {
    for (let asked = 0; asked < 40; asked += 1) await calls.solve(requests[asked % 2]!);
  };
  await expect(ask()).rejects.toThrow(/over \d+ bytes of definitions/);
});

test('a frontend that holds as much as it may solves nothing more, which the build would keep', async () => {
  let solved = 0;
  const solve: FrontendBridge['solve'] = async () => {
    solved += 1;
    const ref = { id: randomUUID(), definition: undefined } as BridgeRef;
    return { ref, refs: new Map(), metadata: new Map(), attestations: new Map() };
  };
  await using calls = new FrontendCalls(bridgeOf({ solve }));
  const request = create(gateway.SolveRequestSchema);
  for (let asked = 0; asked < 10_000; asked += 1) await calls.solve(request);
  await expect(calls.solve(request)).rejects.toThrow(/holds more than 10000 results/);
  expect(solved).toBe(10_000);
});
