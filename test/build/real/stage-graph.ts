/**
 * A Dockerfile of many stages, in which each takes the results of up to three earlier ones; the last takes all that nobody else did.
 *
 * @returns with what the image prints
 */
export function graphOf(stages: number, base: string): { dockerfile: string; expected: string } {
  const lines: string[] = [`FROM ${base} AS base`];
  const sums: bigint[] = [];
  const unused = new Set<number>();
  // Always the same numbers (a linear congruence), so that a failure can be looked at.
  let seed = 7;
  const draw = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  for (let stage = 0; stage < stages; stage += 1) {
    const inputs = stage === 0 ? [] : [...new Set(Array.from({ length: 3 }, () => draw(stage)))];
    lines.push(`FROM base AS stage${stage}`);
    for (const input of inputs) {
      lines.push(`COPY --from=stage${input} /sum${input} /`);
      unused.delete(input);
    }
    const terms = inputs.map((input) => `$(cat /sum${input})`).join(' + ');
    lines.push(`RUN echo $(( (${terms === '' ? '0' : terms} + ${stage}) % 1000003 )) > /sum${stage}`);
    sums.push((inputs.reduce((sum, input) => sum + sums[input]!, 0n) + BigInt(stage)) % 1000003n);
    unused.add(stage);
  }
  const last = [...unused].sort((a, b) => a - b);
  lines.push('FROM base', ...last.map((stage) => `COPY --from=stage${stage} /sum${stage} /`));
  lines.push(`CMD ["sh", "-c", "echo $(cat ${last.map((stage) => `/sum${stage}`).join(' ')})"]`, '');
  return { dockerfile: lines.join('\n'), expected: last.map((stage) => String(sums[stage])).join(' ') };
}
