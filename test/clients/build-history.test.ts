import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { control } from '../../src/protocol/index.ts';
import { type BuildkitClient, buildkitClient, readBlob } from '../support/buildkit-client.ts';
import { Buildx, isSleeping, longSleep } from '../support/buildx.ts';
import { shows } from '../support/compatibility.ts';
import { exitOf, printed } from '../support/compose.ts';
import { eventually, execute } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

const { STARTED, COMPLETE, DELETED } = control.BuildHistoryEventType;

describe('builds on record', { ...shows({ client: 'docker buildx' }), timeout: 120_000 }, () => {
  const engine = withEngine();
  let buildx: Buildx;
  let client: BuildkitClient;
  const history = async (...args: string[]): Promise<string> => (await buildx.run(['history', ...args])).stdout;
  const listed = async (): Promise<{ ref: string; status: string }[]> =>
    (await history('ls', '--format', '{{.Ref}} {{.Status}}'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({ ref: line.split(' ')[0]!.split('/').at(-1)!, status: line.split(' ')[1]! }));
  const newest = async (): Promise<string> => (await listed())[0]!.ref;
  const record = async (ref: string): Promise<control.BuildHistoryRecord> => {
    for await (const { record: found } of client.control.listenBuildHistory({ Ref: ref, EarlyExit: true }))
      if (found) return found;
    throw new Error(`no record of ${ref}`);
  };
  /** A build that waits for a file in the context's cache mount, and ends then. */
  const begin = (folder: string) => {
    const child = engine().spawn([buildx.program, 'build', '--progress', 'plain', folder], buildx.environment);
    return { child, said: printed(child) };
  };

  beforeAll(() => {
    buildx = new Buildx(engine());
    client = buildkitClient(join(engine().execRoot, 'buildkitd.sock'));
  });

  test('a build is listed, inspected, and its log is printed again', async () => {
    const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nARG WHO\nRUN echo hello $WHO\n' });
    const how = ['--build-arg', 'WHO=you', '--build-arg', 'FROM=https://me:secret@host/x', '--label', 'a=b'];
    await buildx.build([...how, '-t', 'kept:test', folder]);
    const [{ ref, status } = { ref: '', status: '' }] = await listed();
    expect(status).toBe('Completed');
    const inspected = JSON.parse(await history('inspect', '--format', 'json', ref));
    expect(inspected).toMatchObject({
      ...{ Ref: ref, Dockerfile: 'Dockerfile', Status: 'completed' },
      BuildArgs: [
        { Name: 'FROM', Value: 'https://me:xxxxx@host/x' },
        { Name: 'WHO', Value: 'you' },
      ],
      Labels: [{ Name: 'a', Value: 'b' }],
      Materials: [{ URI: expect.stringContaining('busybox') }],
    });
    expect(inspected.NumCompletedSteps).toBe(inspected.NumTotalSteps);
    expect((await buildx.run(['history', 'logs', ref])).stderr).toMatch(/RUN echo hello you\n#\d+ [\d.]+ hello you\n/);
    expect(await history('inspect', 'attachment', '--type', 'provenance', ref)).toContain('"buildType"');
    const archive = join(folder, 'build.dockerbuild');
    await history('export', '--output', archive, ref);
    expect((await execute(['tar', '-tf', archive])).stdout).toContain('index.json');
    const lines = (await readBlob(client, (await record(ref)).trace!.digest)).toString().trim().split('\n');
    const spans = lines.map((line) => JSON.parse(line));
    expect(spans.map(({ Name }) => Name)).toEqual(
      expect.arrayContaining(['moby.buildkit.v1.Control/Solve', '[2/2] RUN echo hello you']),
    );
    expect(new Set(spans.map(({ SpanContext }) => SpanContext.TraceID)).size).toBe(1);
  });

  test('a build that failed tells why, with the lines of its file and its last output', async () => {
    const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nRUN echo before; exit 3\n' });
    await buildx.build([folder], { expect: 1 });
    const ref = await newest();
    expect((await listed())[0]).toEqual({ ref, status: 'Error' });
    const text = await history('inspect', ref);
    expect(text).toMatch(/2 \| >>> RUN echo before; exit 3/);
    expect(text).toMatch(/> before/);
    expect(text).toContain('exit code: 3');
    const filters = [[`ref==${ref}`], [`ref==${ref},status==error`], ['duration>1h', `ref~=^${ref.slice(0, 8)}`]];
    for (const filter of filters) {
      const found: string[] = [];
      for await (const event of client.control.listenBuildHistory({ EarlyExit: true, Filter: filter }))
        found.push(event.record!.Ref);
      expect(found).toEqual([ref]);
    }
    await expect(
      client.control
        .listenBuildHistory({ EarlyExit: true, Filter: ['colour==red'] })
        [Symbol.asyncIterator]()
        .next(),
    ).rejects.toThrow(/invalid filter "colour==red"/);
  });

  test('a running build is followed from its beginning; interrupted, it leaves no process', async () => {
    const { child, said } = begin(
      buildx.folder({ Dockerfile: `FROM busybox:test\nRUN echo begun; exec ${longSleep}\n` }),
    );
    await eventually('the step runs', () => /#\d+ [\d.]+ begun/.test(said()), 60_000);
    await eventually('it sleeps', isSleeping, 60_000);
    const [{ ref, status } = { ref: '', status: '' }] = await listed();
    expect(status).toBe('Running');
    const follower = engine().spawn([buildx.program, 'history', 'logs', ref], buildx.environment);
    const followed = printed(follower);
    await eventually('the follower has seen it too', () => followed().includes('begun'), 60_000);
    const { stderr } = await buildx.run(['history', 'rm', ref], { expect: 1 });
    expect(stderr).toContain(`build ${ref} runs`);
    child.kill('SIGINT');
    expect(await exitOf(child)).toBe(130);
    await exitOf(follower);
    await eventually('the record is complete', async () => (await record(ref)).CompletedAt !== undefined, 60_000);
    expect(await history('inspect', ref)).toMatch(/Status:\s+Canceled/);
    expect(
      engine()
        .processes()
        .filter(({ command }) => command.includes('4242')),
    ).toEqual([]);
  });

  test('events: a build begins, is over, is pinned, is removed', async () => {
    const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nRUN echo events\n' });
    await buildx.build([folder]);
    const before = await newest();
    const stop = new AbortController();
    const events: { type: control.BuildHistoryEventType; ref: string; pinned: boolean }[] = [];
    const listening = (async () => {
      for await (const { type, record: told } of client.control.listenBuildHistory({}, { signal: stop.signal }))
        events.push({ type, ref: told!.Ref, pinned: told!.pinned });
    })().catch(() => undefined);
    await eventually('what was is told', () => events.some((event) => event.ref === before));
    await buildx.build([folder]);
    const ref = await newest();
    const told = () => events.filter((event) => event.ref === ref);
    await eventually('its end is told', () => told().some(({ type }) => type === COMPLETE));
    await client.control.updateBuildHistory({ Ref: ref, Pinned: true });
    await eventually('it is pinned', () => told().at(-1)?.pinned);
    await history('rm', ref);
    await eventually('it is gone', () => told().at(-1)?.type === DELETED);
    stop.abort();
    await listening;
    expect([...new Set(told().map(({ type }) => type))]).toEqual([STARTED, COMPLETE, DELETED]);
    const { stderr } = await buildx.run(['history', 'rm', ref], { expect: 1 });
    expect(stderr).toContain(`no record of a build ${ref}`);
  });

  test('what a record needs outlives its image, counts for none, and goes with the record', async () => {
    const imageBytes = async () =>
      (await engine().api<{ LayersSize: number }>('GET', '/system/df?type=image')).body.LayersSize;
    const before = await imageBytes();
    const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nRUN echo outlives > /f\n' });
    await buildx.build(['-t', 'outlived:test', folder]);
    const ref = await newest();
    const { logs, Result: result } = await record(ref);
    const made = result!.Results['0']!.digest;
    await engine().docker(['rmi', 'outlived:test']);
    await engine().docker(['builder', 'prune', '--all', '--force']);
    expect(await imageBytes()).toBeLessThanOrEqual(before);
    expect((await client.content.info({ digest: logs!.digest })).info!.size).toBe(logs!.size);
    expect(JSON.parse((await readBlob(client, made)).toString())).toMatchObject({ schemaVersion: 2 });
    await history('rm', ref);
    for (const digest of [logs!.digest, made]) {
      await eventually(`${digest} is gone`, async () =>
        client.content.info({ digest }).then(
          () => false,
          (error: { code: number }) => error.code === 5,
        ),
      );
    }
  });

  test('a build of another process is on record too; when that is killed, the build has failed', async () => {
    const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nRUN echo in-process\n' });
    await engine().tare(['build', folder]);
    expect((await buildx.run(['history', 'logs', await newest()])).stderr).toContain('in-process');
    const doomed = buildx.folder({ Dockerfile: `FROM busybox:test\nRUN echo doomed; ${longSleep}\n` });
    const child = engine().spawn(engine().tareCommand(['build', doomed]));
    const said = printed(child);
    await eventually('the step runs', () => /#\d+ [\d.]+ doomed/.test(said()), 60_000);
    const [{ ref, status } = { ref: '', status: '' }] = await listed();
    expect(status).toBe('Running');
    expect((await buildx.run(['history', 'logs', ref], { expect: 1 })).stderr).toContain('runs in another process');
    child.kill('SIGKILL');
    await exitOf(child);
    expect((await listed())[0]).toEqual({ ref, status: 'Error' });
    expect(await history('inspect', ref)).toContain('the process that built it has died');
    await history('rm', '--all');
    expect(await listed()).toEqual([]);
  });
});
