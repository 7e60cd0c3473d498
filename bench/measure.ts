/** The middle of the values; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Runs every contender once a round, so that whatever else the machine does meanwhile meets them all alike.
 *
 * @param contenders name → one run; what it returns is its time in milliseconds, else the call is timed
 * @param rounds counted without the first, which warms the caches
 * @returns name → median in milliseconds
 */
export async function interleaved<Name extends string>(
  contenders: Partial<Record<Name, () => Promise<unknown>>>,
  rounds: number,
): Promise<Partial<Record<Name, number>>> {
  const times = new Map<Name, number[]>();
  const list = Object.entries(contenders) as [Name, () => Promise<unknown>][];
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of list) {
      const started = performance.now();
      const said = await run();
      const took = typeof said === 'number' ? said : performance.now() - started;
      if (round >= 0) times.set(name, [...(times.get(name) ?? []), took]);
    }
  }
  return Object.fromEntries([...times].map(([name, values]) => [name, median(values)])) as Partial<
    Record<Name, number>
  >;
}
