import { busybox } from '../test/support/image.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { interleaved, present } from './measure.ts';
import type { Row } from './report.ts';

const lineBytes = 100;
const lines = 10_000_000;
const writer = ['sh', '-c', `yes "$(head -c ${lineBytes - 1} /dev/zero | tr '\\0' x)" | head -n ${lines}`];
/** Neither engine cuts it. */
const whole = ['--log-driver', 'json-file', '--log-opt', 'max-size=8g'];

/** `logs` of 1 GB in lines of 100 bytes, all of it and its last lines, to nowhere. */
export async function logs({ tare, docker, rounds, long }: Bench): Promise<Row[]> {
  for (const contender of [tare, docker]) {
    await contender?.cli(['run', '--detach', '--name', 'wordy', '--network', 'none', ...whole, busybox, ...writer]);
    await contender?.cli(['wait', 'wordy'], { timeoutMs: 600_000 });
  }
  const measure = (args: string[], times: number) => {
    const once = (contender: Contender | undefined) => contender && (() => contender.time(args));
    return interleaved(present({ Tare: once(tare), Docker: once(docker) }), times);
  };
  const all = await measure(['logs', 'wordy'], Math.min(long, 3));
  const tail = await measure(['logs', '--tail', '100', 'wordy'], rounds);
  for (const contender of [tare, docker]) await contender?.cli(['rm', '--volumes', 'wordy']);
  const promises = [{ who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' }] as const;
  return [
    { what: `logs of 1 GB, lines of ${lineBytes} bytes`, unit: 'ms', values: all, promises: [...promises] },
    { what: 'logs --tail 100 of it', unit: 'ms', values: tail, promises: [] },
  ];
}
