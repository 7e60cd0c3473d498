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

test('a session with uploads is the client’s in all else', async () => {
  const other = {} as BuildSession;
  const client = { id: 'a', isOneTime: true, sibling: async () => other } as Partial<BuildSession> as BuildSession;
  const session = sessionWithUploads(client, {});
  expect(session.isOneTime).toBe(true);
  expect(await session.sibling?.('b', new AbortController().signal)).toBe(other);
});
