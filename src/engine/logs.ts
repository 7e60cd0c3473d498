import { TareError } from '../errors/index.ts';
import type { Database } from '../state/index.ts';
import { parseLogOptions } from './log-options.ts';
import { readLog, readRuns } from './log-reader.ts';
import type { ContainerRecord, ContainerStatus, LogEntry, LogOptions } from './types.ts';

export interface LogDeps {
  db: Database;
  store: { get(ref: string): ContainerRecord };
}

const writing: ReadonlySet<ContainerStatus> = new Set(['running', 'paused']);

/**
 * A container's output so far and, with `follow`, until it ends: what a restart writes is another answer, for which docker's
 * clients ask when they hear of the start.
 *
 * @throws {TareError} NotFound; InvalidArgument: neither stream wanted; Unsupported: the container keeps no log
 */
export async function* containerLogs(deps: LogDeps, ref: string, options: LogOptions): AsyncGenerator<LogEntry> {
  const record = deps.store.get(ref);
  if (!options.stdout && !options.stderr) {
    throw new TareError('InvalidArgument', 'Bad parameters: you must choose at least one stream');
  }
  if (!parseLogOptions(record.host.logConfig).isReadable || record.logPath === '') {
    throw new TareError('Unsupported', 'configured logging driver does not support reading');
  }
  if (!options.follow || !writing.has(record.state.status)) {
    yield* options.joined === true
      ? readRuns(record.logPath, options)
      : readLog(record.logPath, { ...options, follow: false });
    return;
  }
  const ended = new AbortController();
  const left = new AbortController();
  abortWhenEnded(deps.db, record, ended, left.signal).catch(() => undefined); // it has aborted `ended` either way
  try {
    yield* readLog(record.logPath, options, ended.signal);
  } finally {
    left.abort();
  }
}

async function abortWhenEnded(
  db: Database,
  { id, state }: ContainerRecord,
  ended: AbortController,
  left: AbortSignal,
): Promise<void> {
  const query = "SELECT status, doc ->> '$.state.startedMs' AS startedMs FROM containers WHERE id = ?";
  try {
    for await (const _ of db.watch(left)) {
      const now = db.get<{ status: ContainerStatus; startedMs: number }>(query, id);
      if (now === undefined || !writing.has(now.status) || now.startedMs !== state.startedMs) return;
    }
  } finally {
    ended.abort();
  }
}
