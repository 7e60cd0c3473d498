import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import type { BuildSession } from '../../build/index.ts';
import { planBuild } from './plan-build.ts';
import { sessionWithUploads } from './session-with-uploads.ts';

test('contexts that are called as the build’s own folders take no place of theirs', async () => {
  const contexts = { context: '/one', dockerfile: '/two', other: '/three' };
  const signal = new AbortController().signal;
  await using plan = await planBuild(undefined, { context: { folder: '/own' }, contexts }, signal);
  expect(plan.session.folders).toEqual({
    ...{ context: resolve('/own'), dockerfile: resolve('/own') },
    ...{ _context: '/one', _dockerfile: '/two', other: '/three' },
  });
  expect(plan.request.frontendOptions).toMatchObject({
    'context:context': 'local:_context',
    'context:dockerfile': 'local:_dockerfile',
    'context:other': 'local:other',
  });
});

test('who gives up a build waits for nobody who writes its context', async () => {
  const giveUp = new AbortController();
  const first = Promise.withResolvers<void>();
  async function* stalled(...chunks: Uint8Array[]) {
    yield* chunks;
    first.resolve();
    await new Promise(() => {});
  }
  const planned = planBuild(undefined, { context: { stream: stalled() } }, giveUp.signal);
  const packed = Buffer.alloc(600);
  packed.set([0x1f, 0x8b]);
  await using plan = await planBuild(undefined, { context: { stream: stalled(packed) } }, giveUp.signal);
  const [upload] = Object.values(plan.session.uploads!);
  const read = async () => {
    for await (const chunk of upload!) expect(chunk).toEqual(packed);
  };
  const reading = read();
  await first.promise;
  giveUp.abort(new Error('interrupted'));
  await expect(planned).rejects.toThrow('interrupted');
  await expect(reading).rejects.toThrow('interrupted');
});

test('a session with uploads is the client’s in all else', async () => {
  const other = {} as BuildSession;
  const client = { id: 'a', isOneTime: true, sibling: async () => other } as Partial<BuildSession> as BuildSession;
  const session = sessionWithUploads(client, {});
  expect(session.isOneTime).toBe(true);
  expect(await session.sibling?.('b', new AbortController().signal)).toBe(other);
});
