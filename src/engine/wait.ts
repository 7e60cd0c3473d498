import { existsSync, watch } from 'node:fs';
import { join } from 'node:path';
import { readExit } from '../runtime/index.ts';
import { isContainerAlive } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, WaitResult } from './types.ts';

/** Waits for one run of a container to end, by its exit file or its process. */
export interface ExitWait extends Disposable {
  /** @returns whether it ended within that time; undefined waits for ever */
  within(timeoutMs: number | undefined): Promise<boolean>;
  /** Its exit code, once the file is there. */
  code(): number | undefined;
}

const POLL_MS = 50;

/** Starts to watch at once, so that an exit between this call and `within` is seen. */
export function waitForExit(parts: Pick<EngineParts, 'config' | 'store'>, record: ContainerRecord): ExitWait {
  const exitDir = join(parts.config.execRoot, 'exits');
  const file = join(exitDir, record.id);
  const code = () => readExit(exitDir, record.id);
  const hasEnded = () => {
    if (existsSync(file)) return true;
    const current = parts.store.find(record.id);
    return current === undefined || current.state.pid !== record.state.pid || !isContainerAlive(record);
  };
  let wake: () => void = () => {};
  const watcher = watch(exitDir, () => wake());
  watcher.on('error', () => {});
  return {
    code,
    async within(timeoutMs) {
      const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs;
      while (!hasEnded()) {
        const leftMs = deadline - Date.now();
        if (leftMs <= 0) return false;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(leftMs, POLL_MS));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      return true;
    },
    [Symbol.dispose]: () => watcher.close(),
  };
}

interface Glance {
  status: string;
  finished: number;
}

/**
 * docker's wait.
 *
 * @param condition `next-exit` counts from now on; `removed` ends when the record is gone
 */
export async function waitContainer(
  parts: EngineParts,
  ref: string,
  condition: 'not-running' | 'next-exit' | 'removed',
  signal?: AbortSignal,
): Promise<WaitResult> {
  const first = parts.store.get(ref);
  const { id } = first;
  for await (const _ of parts.db.watch(signal)) {
    const now = parts.db.get<Glance>(
      "SELECT status, json_extract(doc, '$.state.finishedMs') AS finished FROM containers WHERE id = ?",
      id,
    );
    if (now === undefined) return lastExit(parts, id);
    const isOver =
      condition === 'not-running'
        ? !['running', 'paused', 'restarting', 'removing'].includes(now.status)
        : condition === 'next-exit' && now.finished !== first.state.finishedMs;
    if (isOver) {
      const record = parts.store.find(id);
      if (record !== undefined) return { exitCode: record.state.exitCode, error: record.state.error };
    }
  }
  signal?.throwIfAborted();
  return lastExit(parts, id);
}

/** The exit code of a container that is gone, from its last `die`. */
function lastExit(parts: EngineParts, id: string): WaitResult {
  const row = parts.db.get<{ attributes: string }>(
    "SELECT attributes FROM events WHERE actor_id = ? AND type = 'container' AND action = 'die' ORDER BY id DESC LIMIT 1",
    id,
  );
  const attributes = row === undefined ? {} : (JSON.parse(row.attributes) as Record<string, string>);
  return { exitCode: Number(attributes['exitCode'] ?? 0), error: '' };
}
