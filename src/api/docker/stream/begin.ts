/**
 * Waits for the first element, so that what fails before it can still be answered with a status.
 *
 * @param opened ends the wait earlier: the source has what it needs, and its first element may be long in coming
 * @throws whatever the source throws before
 */
export async function begin<T>(source: AsyncIterable<T>, opened?: Promise<void>): Promise<AsyncIterable<T>> {
  const iterator = source[Symbol.asyncIterator]();
  let first: Promise<IteratorResult<T>> | undefined = iterator.next();
  first.catch(() => undefined); // shown to whoever reads
  await (opened === undefined ? first : Promise.race([first, opened]));
  return {
    [Symbol.asyncIterator]() {
      return {
        async next() {
          if (first) {
            const result = first;
            first = undefined;
            return result;
          }
          return await iterator.next();
        },
        async return() {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
