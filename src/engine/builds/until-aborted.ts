/** What a stream gives until the signal fires, which is not waited for: who writes it may never go on. @throws the signal's reason */
export async function* untilAborted(
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  const iterator = stream[Symbol.asyncIterator]();
  let isAtEnd = false;
  try {
    for (;;) {
      const { value, done } = await nextOf(iterator, signal);
      isAtEnd = done === true;
      if (isAtEnd) return;
      yield value;
    }
  } finally {
    // It may be at work on what nobody wants any more.
    if (!isAtEnd) void iterator.return?.().catch(() => {});
  }
}

async function nextOf<T>(iterator: AsyncIterator<T>, signal: AbortSignal): Promise<IteratorResult<T>> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<T>>();
  const stop = () => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    iterator.next().then(resolve, reject);
    return await promise;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
