import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import type { control } from '../../protocol/index.ts';
import { Database, Locks } from '../../state/index.ts';
import { type ContentStore, type Digest, openContentStore } from '../../storage/index.ts';
import type { BuildRequest, BuildResult } from '../build-types.ts';
import type { BuildProgress, VertexState } from '../progress.ts';
import { History } from './history.ts';
import { readStatusLog, StatusLog } from './status-log.ts';

const HOUR_MS = 3_600_000;
const never = new AbortController().signal;
const nothing = () => false;
const result: BuildResult = {
  exporterResponse: {},
  metadata: new Map(),
  provenance: new Map(),
  isMultiPlatform: false,
};
const vertex = (digest: string, state: Partial<VertexState> = {}): VertexState => ({
  ...{ digest, inputs: [], name: `vertex ${digest}`, isCached: false },
  ...state,
});
const progress = (given: BuildProgress): Required<BuildProgress> => ({
  ...{ vertices: [], statuses: [], logs: [], warnings: [] },
  ...given,
});
const log = (digest: string, text: string) => ({
  ...{ vertex: digest, timestampMs: 5, stream: 1, bytes: Buffer.from(text) },
});

describe('the history of builds', () => {
  let stack: AsyncDisposableStack;
  let root: string;
  let db: Database;
  let content: ContentStore;
  let nowMs: number;
  let freed: number;
  let reports: string[];

  /** A process on the same records. */
  const open = () =>
    new History({
      ...{ db, content, locks: new Locks(join(root, 'locks')) },
      now: () => nowMs,
      report: (subject, error) => void reports.push(`${subject}: ${error}`),
      freed: () => {
        freed += 1;
      },
    });
  const request = (ref: string, more: Partial<BuildRequest> = {}): BuildRequest =>
    ({
      ref,
      exporters: [],
      cacheExports: [],
      cacheImports: [],
      entitlements: [],
      session: {},
      ...more,
    }) as BuildRequest;
  const records = async (history: History, question = {}): Promise<control.BuildHistoryRecord[]> => {
    const found: control.BuildHistoryRecord[] = [];
    for await (const { record } of history.events({ follows: false, ...question }, never)) found.push(record!);
    return found;
  };
  const build = (history: History, ref: string) =>
    history.record(request(ref), nothing, nothing, async (tell) => {
      tell({ vertices: [vertex('sha256:a', { startedMs: 1, completedMs: 2, isCached: true })] });
      return result;
    });

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    root = mkdtempSync(join(tmpdir(), 'tare-history-'));
    stack.defer(() => rmSync(root, { recursive: true, force: true }));
    db = stack.use(await Database.open(join(root, 'tare.db')));
    content = stack.use(await openContentStore(join(root, 'content')));
    [nowMs, freed, reports] = [1_000_000_000_000, 0, []];
  });
  afterEach(async () => {
    await stack.disposeAsync();
    expect(reports).toEqual([]);
  });

  test('warnings that each bear a large file are told as far as there is room', async () => {
    const history = open();
    const source = { filename: 'Dockerfile', data: Buffer.alloc(1 << 20) };
    const warning = { vertex: 'sha256:a', level: 1, short: 'short', detail: [], ranges: [], source };
    await history.record(request('loud'), nothing, nothing, async (tell) => {
      for (let said = 0; said < 100; said += 1) tell({ warnings: [warning] });
      return result;
    });
    expect(await records(history)).toMatchObject([{ Ref: 'loud', numWarnings: 7 }]);
  });

  test('output in small pieces counts for what it takes', async () => {
    const history = open();
    let kept = 0;
    await history.record(request('small', { isInternal: true }), nothing, nothing, async (tell) => {
      for (let said = 0; said < 50_000; said += 1) tell({ logs: [log('sha256:a', 'x')] });
      for await (const { logs } of history.status('small', never)) {
        kept = logs.length;
        break;
      }
      return result;
    });
    expect(kept).toBeGreaterThan(5_000);
    expect(kept).toBeLessThan(20_000);
  });

  test('a build’s name keeps nobody from what else is locked by name', async () => {
    const locks = new Locks(join(root, 'locks'));
    await open().record(request('git-0'), nothing, nothing, async () => {
      using source = locks.tryAcquire('build git-0');
      expect(source).toBeDefined();
      return result;
    });
  });

  test('a build is on record while it runs and after, with counts and its log', async () => {
    const history = open();
    const { promise: gate, resolve: end } = Promise.withResolvers<void>();
    const building = history.record(request('one'), nothing, nothing, async (tell) => {
      tell({ vertices: [vertex('sha256:a', { startedMs: 1 }), vertex('sha256:b')], logs: [log('sha256:a', 'early ')] });
      await gate;
      tell({ vertices: [vertex('sha256:a', { startedMs: 1, completedMs: 2 })], logs: [log('sha256:a', 'late')] });
      return result;
    });
    const running = await records(history, { onlyRunning: true });
    expect(running.map(({ Ref, CompletedAt }) => [Ref, CompletedAt])).toEqual([['one', undefined]]);
    await expect(history.remove('one')).rejects.toMatchObject({ kind: 'Conflict' });
    await expect(build(history, 'one')).rejects.toMatchObject({ kind: 'AlreadyExists' });
    const watched: string[] = [];
    const watching = (async () => {
      for await (const { logs } of history.status('one', never))
        watched.push(...logs.map(({ msg }) => Buffer.from(msg).toString()));
    })();
    end();
    await Promise.all([building, watching]);
    expect(watched.join('')).toBe('early late');
    const [record] = await records(history);
    expect(record).toMatchObject({ numTotalSteps: 2, numCompletedSteps: 1, numCachedSteps: 0 });
    const kept: control.StatusResponse[] = [];
    for await (const message of open().status('one', never)) kept.push(message);
    expect(kept.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join('')).toBe('early late');
  });

  test('each stretch of a vertex’s work is told to its end, however late one looks', async () => {
    const history = open();
    const stretches = [1, 3].map((startedMs) => vertex('sha256:a', { startedMs, completedMs: startedMs + 1 }));
    await history.record(request('twice'), nothing, nothing, async (tell) => {
      tell({ vertices: [vertex('sha256:a')] });
      for (const { completedMs: _, ...begun } of stretches.slice(0, 1)) tell({ vertices: [begun] });
      tell({ vertices: stretches });
      return result;
    });
    const told: (number | undefined)[][] = [];
    for await (const { vertexes } of history.status('twice', never))
      told.push(...vertexes.map(({ started, completed }) => [started?.nanos, completed?.nanos]));
    expect(told).toEqual([
      [undefined, undefined],
      [1_000_000, 2_000_000],
      [3_000_000, 4_000_000],
    ]);
  });

  test('a failure is kept, one that its client gave up as such', async () => {
    const history = open();
    const fail = (ref: string, isCanceled: boolean) =>
      history.record(
        request(ref),
        nothing,
        () => isCanceled,
        () => Promise.reject(new TareError('Internal', `${ref} went wrong`)),
      );
    await expect(fail('bad', false)).rejects.toThrow('bad went wrong');
    await expect(fail('gone', true)).rejects.toThrow('gone went wrong');
    const byRef = new Map((await records(history)).map((record) => [record.Ref, record]));
    expect(byRef.get('bad')!.error).toMatchObject({ code: 2, message: 'bad went wrong' });
    expect(byRef.get('gone')!.error!.code).toBe(1);
    expect(byRef.get('bad')!.externalError!.size).toBeGreaterThan(0n);
    expect(await records(history, { filters: ['status==canceled'] })).toMatchObject([{ Ref: 'gone' }]);
  });

  test('a build of a process that died has failed, for everybody who looks', async () => {
    await build(open(), 'whole');
    await db.write((tx) =>
      tx.run('INSERT INTO build_history SELECT \'half\', created_ms, NULL, 0, \'{"Ref":"half"}\' FROM build_history'),
    );
    expect((await records(open())).find(({ Ref }) => Ref === 'half')?.error).toMatchObject({ code: 10 });
    await open().remove('half');
    expect(freed).toBe(1);
  });

  test('internal builds are watched, and not on record', async () => {
    const history = open();
    await history.record(request('inner', { isInternal: true }), nothing, nothing, async () => result);
    expect(await records(history)).toEqual([]);
    for await (const _ of history.status('inner', never)) throw new Error('it said nothing');
    await expect(history.status('inner2', AbortSignal.timeout(1)).next()).rejects.toMatchObject({ kind: 'NotFound' });
    const refused = history.status('inner3', never, AbortSignal.timeout(1));
    expect(await refused.next()).toMatchObject({ done: true });
  });

  test('what is old goes once there are many newer ones, but what is pinned stays', async () => {
    const history = open();
    for (const ref of ['pinned', 'old']) await build(history, ref);
    await history.pin('pinned', true);
    nowMs += 47 * HOUR_MS;
    for (let at = 0; at < 50; at++) await build(history, `new${at}`);
    expect(await history.trim()).toBe(false);
    nowMs += 2 * HOUR_MS;
    expect(await history.trim()).toBe(true);
    const left = (await records(history)).map(({ Ref }) => Ref);
    expect(left).toContain('pinned');
    expect(left).not.toContain('old');
    expect(left).toHaveLength(51);
    expect(await records(history, { limit: 3 })).toHaveLength(3);
    const blobs = db.all<{ n: number }>(
      'SELECT count(*) AS n FROM build_history_blobs WHERE ref NOT IN (SELECT ref FROM build_history)',
    );
    expect(blobs[0]!.n).toBe(0);
  });

  test.each(['', ' ', 'a b', 'a\u0000', 'x'.repeat(300)])('the name %j is refused', async (ref) => {
    await expect(build(open(), ref)).rejects.toMatchObject({ kind: 'InvalidArgument' });
  });

  test('logs are read as they were written, however the bytes come', async () => {
    const texts = fc.array(fc.array(fc.string({ maxLength: 40 }), { maxLength: 4 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(texts, fc.integer({ min: 1, max: 9 }), async (batches, pieceBytes) => {
        await using writing = await StatusLog.open(content);
        for (const batch of batches) await writing.add(progress({ logs: batch.map((text) => log('sha256:a', text)) }));
        const { digest } = await writing.commit();
        const inPieces = {
          ...content,
          open: async function* (of: Digest) {
            for await (const chunk of content.open(of))
              for (let at = 0; at < chunk.length; at += pieceBytes) yield chunk.subarray(at, at + pieceBytes);
          },
        };
        const read: string[][] = [];
        for await (const { logs } of readStatusLog(inPieces as never, digest))
          read.push(logs.map(({ msg }) => Buffer.from(msg).toString()));
        expect(read).toEqual(batches);
      }),
      { numRuns: 30 },
    );
  });

  test.each([[Buffer.from([9, 0, 0, 0, 1])], [Buffer.from([0xff, 0xff, 0xff, 0xff])], [Buffer.from([1])]])(
    'a damaged log is told as such',
    async (bytes) => {
      const { digest } = await content.put(bytes);
      const reading = async () => {
        for await (const _ of readStatusLog(content, digest));
      };
      await expect(reading()).rejects.toThrow(/is no log of a build/);
    },
  );
});
