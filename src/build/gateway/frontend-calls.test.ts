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
