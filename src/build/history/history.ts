import { EventEmitter, once } from 'node:events';
import { clone, create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { TareError } from '../../errors/index.ts';
import { control, status } from '../../protocol/index.ts';
import type { Digest } from '../../storage/index.ts';
import type { BuildRequest, BuildResult } from '../build-types.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { ProgressSink } from '../progress.ts';
import { BuildTrace, TRACE_TYPE } from './build-trace.ts';
import { describedRequest } from './described-request.ts';
import { statusOf } from './error-status.ts';
import { type RecordFilter, recordFilter } from './history-filter.ts';
import {
  changeRecord,
  findRecord,
  hasOldRecords,
  putRecord,
  recordedBuilds,
  removeRecord,
  trimRecords,
  unfinishedBuilds,
} from './history-records.ts';
import type { BuildHistory, HistoryQuestion } from './history-types.ts';
import { resultOf } from './recorded-result.ts';
import { StatusFeed } from './status-feed.ts';
import { LOG_TYPE, readStatusLog, StatusLog } from './status-log.ts';
import { statusMessage } from './status-message.ts';

/** As clients look for it; the document is a predicate alone. */
const IN_TOTO_TYPE = 'application/vnd.in-toto+json';
const ERROR_TYPE = 'application/vnd.googeapis.google.rpc.status+proto';
const ABORTED = 10;
const WRITING = 'writing the log of a build';
/** A client asks for the progress of what it begins on another stream of the same connection. */
const BEGIN_WAIT_MS = 15_000;
/** A short build that is not recorded may be over before its client asks for its progress. */
const LINGER_MS = 10_000;

export interface HistoryParts extends Pick<BuilderParts, 'db' | 'locks' | 'content' | 'now' | 'report'> {
  /** Told that blobs may be left that nothing keeps. */
  freed(): void;
}

type Event = control.BuildHistoryEvent;

/** What was written down while a build ran; whoever has it commits the log and disposes it. */
interface Written {
  trace: BuildTrace;
  log: StatusLog;
}

/** Builds of this process while they run, and the records of all. */
export class History implements BuildHistory {
  readonly #parts: HistoryParts;
  readonly #feeds = new Map<string, StatusFeed>();
  readonly #begun = new EventEmitter().setMaxListeners(0);

  constructor(parts: HistoryParts) {
    this.#parts = parts;
  }

  get content(): BuildHistory['content'] {
    return this.#parts.content;
  }

  /**
   * Runs a build so that it can be watched, and is on record; somebody holds the content meanwhile.
   * @param isCanceled whether who asked for it gave it up
   * @throws what the build throws; {TareError} AlreadyExists: a build of this name runs
   */
  async record<T extends BuildResult>(
    request: BuildRequest,
    progress: ProgressSink,
    isCanceled: () => boolean,
    build: (told: ProgressSink) => Promise<T>,
  ): Promise<T> {
    const { ref } = request;
    const record = describedRequest(request);
    using _lock = this.#claim(ref);
    const feed = new StatusFeed();
    this.#feeds.set(ref, feed);
    this.#begun.emit(begin(ref));
    const run = () =>
      build((told) => {
        feed.tell(told);
        progress(told);
      });
    try {
      return request.isInternal === true ? await run() : await this.#recorded(record, feed, isCanceled, run);
    } finally {
      feed.end();
      setTimeout(() => this.#feeds.get(ref) === feed && this.#feeds.delete(ref), LINGER_MS).unref();
    }
  }

  async *events(question: HistoryQuestion, signal: AbortSignal): AsyncGenerator<Event, void> {
    const { ref, filters = [], limit = 0, onlyRunning = false, follows } = question;
    const { db, now } = this.#parts;
    const passes = recordFilter(filters, now());
    const isAsked = (name: string) => !ref || name === ref;
    await this.settle();
    let known = recordedBuilds(db);
    const running = unfinishedBuilds(db);
    yield* this.#told(running.filter(isAsked), passes, running.length);
    const over = [...known.keys()].filter((name) => isAsked(name) && !running.includes(name));
    if (!onlyRunning) yield* this.#told(over, passes, limit > 0 ? limit : over.length);
    if (!follows) return;
    for await (const _ of db.watch(signal)) {
      const before = known;
      known = recordedBuilds(db);
      const changed = [...known.keys()].filter((name) => isAsked(name) && before.get(name) !== known.get(name));
      yield* this.#told(changed, passes, changed.length);
      for (const name of before.keys()) if (isAsked(name) && !known.has(name)) yield removal(name);
    }
  }

  async *status(ref: string, signal: AbortSignal, over?: AbortSignal): AsyncGenerator<control.StatusResponse, void> {
    const { db, content } = this.#parts;
    if (!this.#feeds.has(ref)) await this.settle();
    const record = findRecord(db, ref);
    if (record?.CompletedAt !== undefined) {
      if (record.logs !== undefined) yield* readStatusLog(content, record.logs.digest as Digest);
      return;
    }
    if (record !== undefined && !this.#feeds.has(ref)) {
      const problem = `build ${ref} runs in another process: its log is there once it is over`;
      throw new TareError('Unavailable', problem);
    }
    const feed = this.#feeds.get(ref) ?? (await this.#awaited(ref, signal, over));
    if (feed === undefined) return;
    for await (const batch of feed.watch(signal)) yield statusMessage(batch);
  }

  async pin(ref: string, isPinned: boolean): Promise<void> {
    await this.#requireOver(ref);
    const change = (record: control.BuildHistoryRecord) => {
      record.pinned = isPinned;
    };
    if (!(await this.#parts.db.write((tx) => changeRecord(tx, ref, change)))) throw unknownBuild(ref);
  }

  async remove(ref: string): Promise<void> {
    await this.#requireOver(ref);
    if (!(await this.#parts.db.write((tx) => removeRecord(tx, ref)))) throw unknownBuild(ref);
    this.#parts.freed();
  }

  /** Ends records of builds whose process died. */
  async settle(): Promise<void> {
    const { db, locks, now } = this.#parts;
    for (const ref of unfinishedBuilds(db)) {
      using lock = locks.tryAcquire(lockName(ref));
      if (lock === undefined) continue;
      await db.write((tx) => {
        const record = findRecord(tx, ref);
        if (record === undefined || record.CompletedAt !== undefined) return;
        record.CompletedAt = timestampFromMs(now());
        record.error = create(status.StatusSchema, { code: ABORTED, message: 'the process that built it has died' });
        record.Generation += 1;
        putRecord(tx, record);
      });
    }
  }

  /** Forgets records that are old. @returns whether any went */
  async trim(): Promise<boolean> {
    const { db, now } = this.#parts;
    await this.settle();
    return hasOldRecords(db, now()) && (await db.write((tx) => trimRecords(tx, now()))) > 0;
  }

  /** How these builds are on record, at most so many. */
  *#told(refs: readonly string[], passes: RecordFilter, most: number): Generator<Event, void> {
    let left = most;
    for (const ref of refs) {
      if (left === 0) return;
      const record = findRecord(this.#parts.db, ref);
      if (record === undefined || !passes(record)) continue;
      left -= 1;
      const { STARTED, COMPLETE } = control.BuildHistoryEventType;
      const type = record.CompletedAt === undefined ? STARTED : COMPLETE;
      yield create(control.BuildHistoryEventSchema, { type, record });
    }
  }

  #claim(ref: string): Disposable {
    const lock = this.#parts.locks.tryAcquire(lockName(ref));
    if (lock === undefined) throw new TareError('AlreadyExists', `a build named ${ref} runs already`);
    return lock;
  }

  async #recorded<T extends BuildResult>(
    record: control.BuildHistoryRecord,
    feed: StatusFeed,
    isCanceled: () => boolean,
    run: () => Promise<T>,
  ): Promise<T> {
    const { db, now } = this.#parts;
    const startMs = now();
    record.CreatedAt = timestampFromMs(startMs);
    await db.write((tx) => putRecord(tx, record));
    const writing = this.#write(feed);
    const completed = async (outcome: { result: BuildResult } | { failure: unknown }) => {
      feed.end();
      record.CompletedAt = timestampFromMs(now());
      await this.#complete(record, startMs, writing, outcome, isCanceled());
    };
    try {
      const result = await run();
      await completed({ result });
      return result;
    } catch (failure) {
      await completed({ failure });
      throw failure;
    }
  }

  /** Follows a build to its end. @returns undefined: its log could not be written */
  async #write(feed: StatusFeed): Promise<Written | undefined> {
    const trace = new BuildTrace();
    try {
      await using undo = new AsyncDisposableStack();
      const log = undo.use(await StatusLog.open(this.#parts.content));
      for await (const batch of feed.watch(new AbortController().signal)) {
        trace.add(batch);
        await log.add(batch);
      }
      undo.move();
      return { trace, log };
    } catch (error) {
      this.#parts.report(WRITING, error);
      return undefined;
    }
  }

  /** What goes wrong here is no failure of the build. */
  async #complete(
    record: control.BuildHistoryRecord,
    startMs: number,
    writing: Promise<Written | undefined>,
    outcome: { result: BuildResult } | { failure: unknown },
    isCanceled: boolean,
  ): Promise<void> {
    const { db, content, now, report } = this.#parts;
    const blobs = new Set<Digest>();
    const kept = async (mediaType: string, bytes: Uint8Array) => {
      const { digest, sizeBytes } = await content.put(bytes);
      blobs.add(digest);
      return create(control.DescriptorSchema, { mediaType, digest, size: BigInt(sizeBytes) });
    };
    try {
      const failure = 'failure' in outcome ? statusOf(outcome.failure, isCanceled) : undefined;
      const addFailure = async () => {
        if (failure === undefined) return;
        record.externalError = await kept(ERROR_TYPE, toBinary(status.StatusSchema, failure));
        record.error = create(status.StatusSchema, { code: failure.code, message: failure.message });
      };
      const addLog = async () => {
        const written = await writing;
        if (written === undefined) return;
        await using log = written.log;
        const ends = { startMs, endMs: now(), error: failure?.message };
        const lines = written.trace.lines({ ref: record.Ref, ...ends });
        const [committed, traced] = await Promise.allSettled([log.commit(), kept(TRACE_TYPE, lines)]);
        if (committed.status === 'rejected') report(WRITING, committed.reason);
        else {
          const { digest, sizeBytes } = committed.value;
          blobs.add(digest);
          record.logs = create(control.DescriptorSchema, { mediaType: LOG_TYPE, digest, size: BigInt(sizeBytes) });
        }
        if (traced.status === 'rejected') throw traced.reason;
        record.trace = traced.value;
        const { steps } = log;
        record.numCachedSteps = steps.cached;
        record.numCompletedSteps = steps.completed;
        record.numTotalSteps = steps.total;
        record.numWarnings = steps.warnings;
      };
      const addResult = async () => {
        if (!('result' in outcome)) return;
        const { exporterResponse } = outcome.result;
        record.ExporterResponse = { ...exporterResponse };
        const result = await resultOf(content, record.Exporters, outcome.result);
        record.Result = result.info;
        for (const digest of result.documents) blobs.add(digest);
        await this.#addProvenance(record, outcome.result, kept);
      };
      // Side by side, for each waits for the disk; all of them, for who fails lets go of the content.
      for (const added of await Promise.allSettled([addFailure(), addLog(), addResult()]))
        if (added.status === 'rejected') throw added.reason;
      await db.write((tx) => putRecord(tx, record, blobs));
    } catch (error) {
      report(`recording the build ${record.Ref}`, error);
    }
  }

  /**
   * The whole of it, whatever attestations the user wanted: it stays here. Clients look for it in the one result, or by platform
   * where there is no such one.
   */
  async #addProvenance(
    record: control.BuildHistoryRecord,
    { provenance, isMultiPlatform }: BuildResult,
    kept: (mediaType: string, bytes: Uint8Array) => Promise<control.Descriptor>,
  ): Promise<void> {
    for (const [platformID, { predicateType, predicate }] of provenance) {
      const descriptor = await kept(IN_TOTO_TYPE, Buffer.from(JSON.stringify(predicate('max'), undefined, 2)));
      descriptor.annotations['in-toto.io/predicate-type'] = predicateType;
      const info = isMultiPlatform ? clone(control.BuildResultInfoSchema, record.Result!) : record.Result!;
      info.Attestations.push(descriptor);
      if (isMultiPlatform) record.Results[platformID] = info;
    }
    if (isMultiPlatform) delete record.Result;
  }

  /** @returns undefined: it will not begin */
  async #awaited(ref: string, signal: AbortSignal, over?: AbortSignal): Promise<StatusFeed | undefined> {
    const ends = [signal, AbortSignal.timeout(BEGIN_WAIT_MS), ...(over === undefined ? [] : [over])];
    await once(this.#begun, begin(ref), { signal: AbortSignal.any(ends) }).catch(() => {});
    const feed = this.#feeds.get(ref);
    if (feed === undefined && over?.aborted !== true) throw new TareError('NotFound', `no such job ${ref}`);
    return feed;
  }

  async #requireOver(ref: string): Promise<void> {
    await this.settle();
    const record = findRecord(this.#parts.db, ref);
    if (record === undefined) throw unknownBuild(ref);
    if (record.CompletedAt === undefined)
      throw new TareError('Conflict', `build ${ref} runs: cancel it, or wait until it is over`);
  }
}

function removal(ref: string): Event {
  const record = create(control.BuildHistoryRecordSchema, { Ref: ref });
  return create(control.BuildHistoryEventSchema, { type: control.BuildHistoryEventType.DELETED, record });
}

/** Clients choose these: no lock of something else is called so. */
const lockName = (ref: string) => `build-named ${ref}`;
const begin = (ref: string) => `begin ${ref}`;
const unknownBuild = (ref: string) => new TareError('NotFound', `no record of a build ${ref}: "history ls" lists them`);
