import { readFileSync, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * A rename into the folder may come between two reads of the watcher's queue, or the queue may overflow; so the folder
 * is also read once in a while.
 */
const RESCAN_MS = 5_000;

/**
 * The exit code that conmon left for a container or exec.
 *
 * @returns undefined: it has not ended, or its conmon was killed before it could say
 */
export function readExit(exitDir: string, id: string): number | undefined {
  try {
    const text = readFileSync(join(exitDir, id), 'latin1').trim();
    return /^-?\d{1,9}$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** conmon writes `ID.XXXXXX` and renames it, so a name with a point is not an exit yet. */
const isExit = (name: string): boolean => !name.includes('.');

/** @returns undefined: there is no descriptor left to look with, which passes */
async function namesIn(exitDir: string): Promise<string[] | undefined> {
  try {
    return (await readdir(exitDir)).filter(isExit);
  } catch (error) {
    if (['EMFILE', 'ENFILE'].includes(String((error as { code?: unknown }).code))) return undefined;
    throw error;
  }
}

/**
 * Names of the exits in a folder: those there at the start, then each as it appears. A name comes at least once; it may
 * come again.
 */
export async function* watchExits(exitDir: string, signal?: AbortSignal): AsyncGenerator<string, void, undefined> {
  const seen = new Set<string>();
  let wake: (() => void) | undefined;
  let failure: unknown;
  const news = new Set<string>();
  const arrived = (name: string) => {
    if (isExit(name)) news.add(name);
    wake?.();
  };
  const watcher = watch(exitDir, (_event, name) => name !== null && arrived(name));
  const stop = () => {
    watcher.close();
    wake?.();
  };
  watcher.on('error', (error) => {
    failure = error;
    wake?.();
  });
  const rescan = setInterval(() => wake?.(), RESCAN_MS);
  signal?.addEventListener('abort', stop, { once: true });
  let lastScanMs = 0;
  const stopped = () => signal?.aborted === true;
  try {
    while (!stopped()) {
      if (performance.now() - lastScanMs >= RESCAN_MS || lastScanMs === 0) {
        lastScanMs = performance.now();
        const present = await namesIn(exitDir);
        if (present !== undefined) for (const name of seen) if (!present.includes(name)) seen.delete(name);
        for (const name of present ?? []) if (!seen.has(name)) news.add(name);
      }
      for (const name of news) {
        news.delete(name);
        seen.add(name);
        yield name;
      }
      if (failure !== undefined) throw failure;
      if (news.size > 0 || stopped()) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = undefined;
    }
  } finally {
    clearInterval(rescan);
    watcher.close();
    signal?.removeEventListener('abort', stop);
  }
}
