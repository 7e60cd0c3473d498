import { node } from '../test/support/built.ts';
import { execute } from '../test/support/execute.ts';
import type { Bench } from './bench.ts';
import { interleaved } from './measure.ts';
import type { Row } from './report.ts';

/** The command line's own start, against Node.js doing nothing. */
export async function startup({ tare, rounds }: Bench): Promise<Row[]> {
  const { engine } = tare;
  const [program] = engine.tareCommand([]);
  const times = await interleaved(
    {
      node: () => execute([node, '-e', '0']),
      version: () => execute([program!, '--version']),
      ps: () => execute(engine.tareCommand(['ps'])),
    },
    2 * rounds,
  );
  const row = (what: string, ms: number, limit: number): Row => ({
    what,
    unit: 'ms',
    values: { floor: times.node!, Tare: ms },
    promises: [{ who: 'Tare', bound: 'at most', times: limit, than: 'floor' }],
    note: 'floor: node -e 0',
  });
  return [row('tare --version', times.version!, 1.2), row('tare ps, through the daemon', times.ps!, 2)];
}
