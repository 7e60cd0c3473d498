/**
 * Waits for the first element, so that what fails before it can still be answered with a status.
 *
 * @throws whatever the source throws before its first element
 */
export async function begin<T>(source: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = source[Symbol.asyncIterator]();
  let first: IteratorResult<T> | undefined = await iterator.next();
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
