import { setImmediate } from 'node:timers/promises';

/** How long synchronous system calls may hold the event loop in one go. */
const SLICE_MS = 4;

/** Runs steps of synchronous work, letting the event loop turn every few milliseconds. */
export async function paced<T>(steps: Generator<unknown, T, void>, signal?: AbortSignal): Promise<T> {
  for (let until = performance.now() + SLICE_MS; ; ) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() < until) continue;
    await setImmediate();
    try {
      signal?.throwIfAborted();
    } catch (error) {
      steps.return(undefined as T);
      throw error;
    }
    until = performance.now() + SLICE_MS;
  }
}
