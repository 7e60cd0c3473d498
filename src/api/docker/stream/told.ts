/** Of what waits to be read, as far as its maker says how long it is. */
const MAX_WAITING_BYTES = 8 << 20;

/**
 * What work tells while it goes on, for a reader of its own pace. Output that is not read in time is left out; the rest is kept.
 *
 * @param work ends the iteration, or fails it; a reader that goes away aborts its signal
 * @param sizeOf bytes of what may be left out; 0: never
 * @param instead of what was left out
 */
export async function* told<T>(
  work: (tell: (item: T) => void, signal: AbortSignal) => Promise<void>,
  { sizeOf, instead, signal }: { sizeOf(item: T): number; instead: T; signal: AbortSignal },
): AsyncGenerator<T, void, void> {
  const waiting: T[] = [];
  let waitingBytes = 0;
  let isLossy = false;
  let wake = () => {};
  const gone = new AbortController();
  const tell = (item: T) => {
    const size = sizeOf(item);
    if (size > 0 && waitingBytes + size > MAX_WAITING_BYTES) {
      if (!isLossy) waiting.push(instead);
      isLossy = true;
    } else {
      isLossy = false;
      waitingBytes += size;
      waiting.push(item);
    }
    wake();
  };
  let isOver = false;
  const done = work(tell, AbortSignal.any([signal, gone.signal])).finally(() => {
    isOver = true;
    wake();
  });
  done.catch(() => {}); // shown to whoever reads
  try {
    for (;;) {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
        waitingBytes -= sizeOf(item);
        yield item;
      }
      if (isOver) break;
      await new Promise<void>((resolve) => (wake = resolve));
    }
    await done;
  } finally {
    gone.abort();
    await done.catch(() => {});
  }
}
