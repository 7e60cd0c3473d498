/** What all of them give. If one fails, only once none is under way any more: what they work with may go then. */
export async function allEnded<T>(works: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(works);
  return await Promise.all(works);
}
