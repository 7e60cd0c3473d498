import { expect, test } from 'vitest';
import { busybox, TestEngine } from '../support/engine.ts';

/** One family of Prometheus' text format, read strictly. */
function readFamilies(text: string): Map<string, Map<string, number>> {
  const families = new Map<string, Map<string, number>>();
  let current: [name: string, type: string] | undefined;
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const declared = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
    if (declared) {
      if (declared[1] === 'HELP') expect(families.has(declared[2]!)).toBe(false);
      else current = [declared[2]!, declared[3]!];
      families.set(declared[2]!, families.get(declared[2]!) ?? new Map());
      continue;
    }
    const sample = /^([a-z_]+)((?:\{[a-z_]+="[^"\\]*"(?:,[a-z_]+="[^"\\]*")*\})?) (\d+(?:\.\d+)?(?:e[+-]\d+)?)$/.exec(
      line,
    );
    if (!sample || !current) throw new Error(`no sample: ${line}`);
    const suffix = current[1] === 'histogram' ? '(?:_bucket|_sum|_count)' : '';
    expect(sample[1]).toMatch(new RegExp(`^${current[0]}${suffix}$`));
    const samples = families.get(current[0])!;
    expect(samples.has(sample[1]! + sample[2]!)).toBe(false);
    samples.set(sample[1]! + sample[2]!, Number(sample[3]));
  }
  return families;
}

test('Prometheus finds docker’s figures, as many series before work as after it', async () => {
  await using engine = await TestEngine.start({ serve: ['--metrics-addr', '127.0.0.1:9323'] });
  const scrape = async () => readFamilies((await engine.run(['curl', '-sSf', 'http://127.0.0.1:9323/metrics'])).stdout);
  const before = await scrape();
  for (let round = 0; round < 3; round++) await engine.docker(['run', '-d', busybox, 'sleep', '1000']);
  await engine.docker(['run', '--rm', busybox, 'true']);
  await engine.docker(['info']);
  const after = await scrape();
  const series = (families: typeof before) =>
    [...families].filter(([name]) => name !== 'tare_api_answers_total').flatMap(([, samples]) => [...samples.keys()]);
  expect(series(after)).toEqual(series(before));
  const of = (family: string, sample: string) => after.get(family)?.get(sample);
  const actions = 'engine_daemon_container_actions_seconds';
  expect(of(actions, `${actions}_count{action="create"}`)).toBe(4);
  expect(of(actions, `${actions}_bucket{action="start",le="+Inf"}`)).toBe(4);
  const states = 'engine_daemon_container_states_containers';
  expect(of(states, `${states}{state="running"}`)).toBe(3);
  expect(of('engine_daemon_events_total', 'engine_daemon_events_total')).toBeGreaterThan(8);
  const memory = 'tare_process_resident_memory_bytes';
  expect(of(memory, `${memory}{process="monitors"}`)).toBeGreaterThan(1e6);
});
