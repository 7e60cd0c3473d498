import { duplexPair } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { type RequestContext, withinRequest } from '../../engine/index.ts';
import { RunningBuilds } from './running-builds.ts';
import { Sessions } from './sessions.ts';

const { signal } = new AbortController();
const user = (uid: number): RequestContext => ({ caller: { kind: 'user', uid, gid: uid, pid: 1 } });
const certificate: RequestContext = { caller: { kind: 'certificate', name: 'ci', subject: 'CN=ci', address: '::1' } };

test('a build that runs is its caller’s: others who know its name cannot speak for it', async () => {
  const running = new RunningBuilds();
  const build = { calls: new Promise<never>(() => {}) };
  using _entry = withinRequest(user(1000), () => running.add('listed', build));
  const found = (context: RequestContext) => withinRequest(context, () => running.find('listed', 10, signal));
  expect(await found(user(1000))).toBe(build);
  for (const other of [user(1001), certificate, {}]) expect(await found(other)).toBeUndefined();
});

test('so is a session; of who is unknown anybody may use it', async () => {
  const sessions = new Sessions();
  onTestFinished(() => sessions.close());
  const open = (id: string, context: RequestContext) => {
    const [connection] = duplexPair();
    void withinRequest(context, () => sessions.serve(connection, { 'x-docker-expose-session-uuid': id }));
  };
  open('own', user(1000));
  open('anybody', { caller: { kind: 'address', address: '10.0.0.1' } });
  const found = (id: string, context: RequestContext) => withinRequest(context, () => sessions.find(id, signal));
  expect((await found('own', user(1000))).id).toBe('own');
  await expect(found('own', user(1001))).rejects.toThrow(/no active session for own/);
  expect((await found('anybody', user(1001))).id).toBe('anybody');
});
