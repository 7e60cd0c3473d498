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
 * @param figure of all rounds of a contender; the median unless given
 * @returns name → figure, of times in milliseconds
 */
export async function interleaved<Name extends string>(
  contenders: Partial<Record<Name, () => Promise<unknown>>>,
  rounds: number,
  figure: (values: readonly number[]) => number = median,
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
  return Object.fromEntries([...times].map(([name, values]) => [name, figure(values)])) as Partial<
    Record<Name, number>
  >;
}

/** The contenders that are there. */
export function present<Name extends string, T>(contenders: Record<Name, T | undefined>): Partial<Record<Name, T>> {
  return Object.fromEntries(Object.entries(contenders).filter(([, run]) => run !== undefined)) as Partial<
    Record<Name, T>
  >;
}
